#!/usr/bin/env python3
"""Writes the fixtures of cleaned prompts with ftfy and Python's html module as the judges.

    make_clean_fixtures.py bpe_simple_vocab_16e6.txt.gz tests/unit/data/clean
    make_clean_fixtures.py --compare PROGRAM SEED N

The first form writes texts.txt: a text, a tab, and basic_clean and whitespace_clean of it (ftfy.fix_text,
html.unescape twice, white space), and ids.txt: all ids of a text, cut to 77, as the tokenizers with ftfy of
the original's environment have them (lower case, CLIP's pattern, byte pairs), in the form of
make_tokenizer_fixtures.py, which says what the escapes are. The second form compares N more texts with a program
that reads "length newline bytes" and writes the same of each cleaned text (tests/tools/clean_texts.c).
Run with ftfy 6.3, regex and Python 3.11."""
import html
import html.entities
import os
import random
import subprocess
import sys
import unicodedata

import ftfy
import ftfy.bad_codecs  # noqa: F401
import regex
from ftfy import chardata

from make_tokenizer_fixtures import EMOJI, SENTENCES, WORDS, byte_characters, clip_merges, escape, vocabulary

TOKENS = 77
N_TEXTS = 2150

LINES = (
    SENTENCES.split("\n")
    + """a cat’s “hat”
it’s the king’s gold…
rock ’n’ roll
&lt;3
ｆｕｌｌ ｗｉｄｔｈ
‘smart’ “quotes” – — … •
a photo of a café, déjà vu, à la mode; naïve façade
portrait of Zoë, “golden hour”, 35mm — f/1.8, 20 °C ± 1
5 € and 3 £, © 2023 Œuvre™, ½ cup & more
¿Qué tal? ¡Hola! São Paulo às nove
I ♥ NY ☕ 🎨 🐈‍⬛
ﬁne ﬂour, ﬃ ﬄ, ĳ Ĳ Ǆ ǅ ŉ ﬅ ﬆ
ＬＯＵＤ　ＮＯＩＳＥＳ ﾊﾝｶｸ ｶﾞ ﾡￂ
ΟΔΟΣ, ΣΙΣΥΦΟΣ. Ο ΦΑΡΟΣ’
‹Привет›, «мир» „und“ ‚Welt‘
a cat &amp; a dog, &quot;oil&quot; on canvas &#8212; 1890&#x2019;s
<b>bold</b> &amp; &copy;
&amp;amp;lt; &AMP; &NTILDE; &ntilde &notit; &fjlig; &nosuch; &#128; &#0; &#xD83D;
\x1b[1;36mblue\x1b[0m and \x1b[31mred\x1b[m
no\u00adbreak\ufeff and\u200b zero\u2060 width""".split("\n")
)

NAMES = sorted(html.entities.html5)
CAPITALS = sorted(name[1:] for name in chardata.HTML_ENTITIES)
HIGH = sorted({bytes([b]).decode(e) for e in chardata.CHARMAP_ENCODINGS for b in range(0x80, 0x100)})


# ---------------------------------------------------------------- texts


def mojibake(r, text):
    """UTF-8 read in a single-byte encoding, once or more often."""
    for _ in range(r.choice([1, 1, 1, 2, 2, 3])):
        try:
            text = text.encode("utf-8", "surrogatepass").decode(r.choice(chardata.CHARMAP_ENCODINGS))
        except UnicodeError:
            pass
    return text


def damage(r, text):
    """What other programs do to mojibake."""
    lose = r.choice(["\ufffd", "?"])
    return r.choice([
        text.replace("\xa0", " "), text.upper(), text.lower(), text[: len(text) // 2] + text[len(text) // 2 + 1 :],
        "".join(lose if ord(c) > 127 and r.random() < 0.2 else c for c in text),
    ])


def entity(r):
    number = r.choice([r.randint(0, 300), r.randint(0, 0x120000), 38, 59, 60, 0xD800, 128, 150, 13])
    return r.choice([
        "&" + r.choice(NAMES), "&" + r.choice(NAMES), "&" + r.choice(CAPITALS), f"&#{number}" + r.choice([";", ""]),
        f"&#x{number:x}" + r.choice([";", ""]), "&amp;" * r.randint(1, 3) + r.choice(["amp;", "lt;", "eacute;", "#233;"]),
        "&" + r.choice(NAMES)[: r.randint(1, 5)] + r.choice(["x", ";", "é", " ", "="]),
        r.choice(["&", "&&", "&#", "&#x", "&#;", "&;", "&ampx", "&notit;", "<", "<b>", "&#12a;"]),
    ])


def cesu8(text):
    units = text.encode("utf-16-be")
    pairs = "".join(chr(units[i] << 8 | units[i + 1]) for i in range(0, len(units), 2))
    return pairs.encode("utf-8", "surrogatepass")


def odd_bytes(r):
    """UTF-8 with bytes lost, CESU-8 and Java's zero, read in a single-byte encoding."""
    data = b""
    for _ in range(r.randint(1, 5)):
        whole = bytearray(r.choice(["é", "“", "”", "猫", "à", "Š", "Π", "😀"]).encode())
        broken = bytearray(whole)
        broken[r.randrange(1, len(broken))] = r.choice([0x1A, 0x3F, 0x20])
        data += r.choice([bytes(whole), bytes(broken), cesu8("😀"), cesu8("🎨")[: r.randint(1, 6)], b"\xc0\x80", b"a ", b"\xc3 "])
    return data.decode(r.choice(chardata.CHARMAP_ENCODINGS[:7]))


def scrap(r):
    line = r.choice(LINES)
    return r.choice([
        lambda: line, lambda: line, lambda: " ".join(r.choice(WORDS) for _ in range(r.randint(1, 9))),
        lambda: mojibake(r, line), lambda: mojibake(r, line), lambda: mojibake(r, line.split()[0]),
        lambda: damage(r, mojibake(r, line)), lambda: entity(r), lambda: entity(r),
        lambda: "".join(r.choice(HIGH) for _ in range(r.randint(1, 4))), lambda: r.choice(EMOJI),
        lambda: r.choice(["\x1b[0m", "\x1b[1;31m", "\x1b[", "\x1b", "\x1b[3q", "\x1b[K"]), lambda: odd_bytes(r),
        lambda: chr(r.choice([r.randint(1, 0xFF), r.randint(0xD800, 0xDFFF), r.randint(0xFF00, 0xFFFF), r.randint(0x2000, 0x2070)])),
        lambda: r.choice(["  ", "\n", "\t", "\r\n", "\r", "\x85", "\u2028", "\u3000", "\xa0", "\u200b", "\ufeff", ", "]),
        lambda: unicodedata.normalize("NFD", line), lambda: line[: r.randint(1, 9)] + r.choice(HIGH) + " " + r.choice(HIGH),
    ])()


def random_text(r):
    text = "".join(scrap(r) + r.choice(["", "", " "]) for _ in range(r.choice([1, 1, 1, 2, 2, 3])))
    if r.random() < 0.1:
        text = mojibake(r, text)
    if r.random() < 0.05:
        text = html.escape(text)
    return text.replace("\0", "")


def all_texts(seed, n, longest):
    r = random.Random(seed)
    texts = dict.fromkeys(LINES if seed == 1 else [])
    while len(texts) < n:
        text = random_text(r)
        if text and len(text) <= longest:
            texts[text] = None
    return list(texts)


# ---------------------------------------------------------------- the judges


def clean(text):
    """basic_clean and whitespace_clean of CLIP's simple_tokenizer.py, with lower()'s final sigma alone."""
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    text = regex.sub(r"\s+", " ", text).strip()
    marked = [c if c != "Σ" or not ends_word(text, i) else "ς" for i, c in enumerate(text)]
    return "".join(marked)


def ends_word(text, i):
    """Whether lower() takes the sigma at i for a final one."""
    return (text[:i] + "Σ" + text[i + 1 :]).lower()[len(text[:i].lower())] == "ς"


class Original:
    """Lower case, CLIP's pattern, byte pairs: what both tokenizers of the original's environment do."""

    def __init__(self, path):
        merges = clip_merges(path)
        self.ids, self.ranks = vocabulary(merges), {m: i for i, m in enumerate(merges)}
        self.bytes = byte_characters()
        self.pattern = regex.compile(
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
        )

    def word(self, text):
        parts = [self.bytes[b] for b in text.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            rank, at = min((self.ranks.get(pair, 1 << 30), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self.ids[p] for p in parts]

    def __call__(self, text):
        words = self.pattern.findall(text.lower())
        return [self.ids["<|startoftext|>"], *(i for w in words for i in self.word(w)), self.ids["<|endoftext|>"]]


# ---------------------------------------------------------------- writing


def write_fixtures(vocabulary_path, out):
    os.makedirs(out, exist_ok=True)
    original = Original(vocabulary_path)
    texts = all_texts(1, N_TEXTS, 160)
    with open(os.path.join(out, "texts.txt"), "w") as f:
        for text in texts:
            f.write(f"{escape(text.encode('utf-8', 'surrogatepass'))}\t{escape(clean(text).encode())}\n")
    with open(os.path.join(out, "ids.txt"), "w") as f:
        for text in texts[: len(LINES)] + texts[len(LINES) :: 3]:
            ids = original(clean(text))
            cut = ids if len(ids) <= TOKENS else ids[: TOKENS - 1] + ids[-1:]
            f.write(f"{len(ids)}\t{' '.join(map(str, cut))}\t{escape(text.encode('utf-8', 'surrogatepass'))}\n")
    for name in ("texts.txt", "ids.txt"):
        print(name, os.path.getsize(os.path.join(out, name)), "bytes")


def compare(program, seed, n):
    texts = all_texts(seed, n, 4000)
    data = [t.encode("utf-8", "surrogatepass") for t in texts]
    stream = b"".join(b"%d\n%s" % (len(d), d) for d in data)
    answer = subprocess.run([program], input=stream, stdout=subprocess.PIPE, check=True).stdout
    same = 0
    for text in texts:
        size, answer = answer.split(b"\n", 1)
        got, answer = answer[: int(size)].decode(), answer[int(size) :]
        same += got == clean(text)
        if got != clean(text):
            print(ascii(text), "\n  is", ascii(got), "\n  expected", ascii(clean(text)))
    print(f"{same} of {n} texts are what ftfy makes of them")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--compare":
        compare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) == 3:
        write_fixtures(sys.argv[1], sys.argv[2])
    else:
        sys.exit(__doc__)
