"""A byte-pair vocabulary in CLIP's form, learned from the captions.

    python bpe.py tokenizer/      writes vocab.json, merges.txt and transformers' two configs
"""
import collections
import json
import os
import random
import re
import sys

SIZE = 1024  # 256 bytes, 256 bytes at a word's end, merges, start and end
TOKENS = 77
SEED = 11
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_")


def byte_alphabet():
    """CLIP's printable stand-in for each byte, in CLIP's order of ids."""
    keep = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    rest = [b for b in range(256) if b not in keep]
    table = {b: chr(b) for b in keep}
    table.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return {b: table[b] for b in keep + rest}


ALPHABET = byte_alphabet()


def split(text):
    return WORDS.findall(" ".join(text.lower().split()))


def pieces(word):
    letters = [ALPHABET[b] for b in word.encode()]
    return tuple(letters[:-1] + [letters[-1] + "</w>"])


def join(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def learn(texts, size):
    """The most frequent pair, again and again (Sennrich et al. 2016); ties by the alphabet."""
    counts = collections.Counter(w for t in texts for w in split(t))
    words = {pieces(w): n for w, n in counts.items()}
    merges = []
    while len(merges) < size - 514:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = {join(w, best): n for w, n in words.items()}
    return merges


class Tokenizer:
    def __init__(self, merges):
        base = list(ALPHABET.values())
        names = base + [b + "</w>" for b in base] + ["".join(m) for m in merges] + [START, END]
        self.merges = merges
        self.ids = {name: i for i, name in enumerate(names)}
        self.rank = {m: i for i, m in enumerate(merges)}
        self.start, self.end = self.ids[START], self.ids[END]
        self.cache = {}

    def word(self, text):
        if text not in self.cache:
            word = pieces(text)
            while len(word) > 1:
                pair = min(zip(word, word[1:]), key=lambda p: self.rank.get(p, 1 << 30))
                if pair not in self.rank:
                    break
                word = join(word, pair)
            self.cache[text] = [self.ids[p] for p in word]
        return self.cache[text]

    def encode(self, text, length=TOKENS):
        """Start, the text, end, and the end again as padding, as SD 1.x does."""
        ids = [i for w in split(text) for i in self.word(w)][:length - 2]
        ids = [self.start] + ids + [self.end]
        return ids + [self.end] * (length - len(ids))

    def save(self, folder):
        os.makedirs(folder, exist_ok=True)
        special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
        config = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "errors": "replace",
                  "model_max_length": TOKENS, **special}

        def dump(name, value, **options):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(value, f, ensure_ascii=False, **options)
                f.write("\n")
        dump("vocab.json", self.ids, separators=(",", ":"))
        dump("special_tokens_map.json", special, indent=2)
        dump("tokenizer_config.json", config, indent=2)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n")
            f.writelines(f"{a} {b}\n" for a, b in self.merges)


def load(folder):
    with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
        return Tokenizer([tuple(line.rstrip("\n").split(" ")) for line in f.readlines()[1:]])


def main(folder):
    import captions
    import scene
    s, r = scene.sample(40000, SEED), random.Random(SEED)
    texts = [captions.caption(r, captions.names(s, i)) for i in range(40000)]
    merges = learn(texts, SIZE)
    tokenizer = Tokenizer(merges)
    tokenizer.save(folder)
    lengths = sorted(len([i for w in split(t) for i in tokenizer.word(w)]) for t in texts)
    print(f"{len(tokenizer.ids)} tokens; a caption has {lengths[len(lengths) // 2]} "
          f"(median) to {lengths[-1]} of them")


if __name__ == "__main__":
    main(sys.argv[1])
