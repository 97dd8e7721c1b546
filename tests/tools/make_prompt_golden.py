#!/usr/bin/env python3
"""Writes what the weighted prompt syntax must give: tests/unit/prompt_fixtures.h and
tests/golden/data/prompt-*.npy.

    python3 tests/tools/make_prompt_golden.py build/tests/tools/tiny-diffusers tests

The syntax is stated here once more, in other words than lib/text/prompt.c: events are found with
regular expressions, every pair of brackets becomes a factor over a range of texts. Tokens and
embeddings come from transformers, steps from diffusers. Needs what make_golden.py needs.
"""

import os
import re
import sys

import numpy as np
import torch
from safetensors.torch import save_file

from make_golden import Golden, randn

LIMIT = 75
BACKTRACK = 20
DEPTH = 256
MOST = 1e6
COLUMNS = 16  # every 16th column of the embeddings is kept
BREAK = None

# The parser's cases: every rule, then what people write, then what is broken.
CASES = [
    "", " ", "a", "a cat", "(cat)", "((cat))", "(((cat)))", "[cat]", "[[cat]]", "([cat])",
    "[(cat)]", "(cat:1.2)", "(cat:1)", "(cat:0)", "(cat:0.5)", "(cat:-1)", "(cat:+1.5)",
    "(cat:.5)", "(cat:2.)", "(cat: 1.2 )", "(cat :1.2)", "(cat:1.2", "(cat:)", "(cat:.)",
    "(cat:1.2.3)", "(cat:abc)", "(cat:1e2)", "(cat:1,2)", "(cat:--1)", "cat:1.2", "cat:1.2)",
    "[cat:1.2]", "[cat:dog:0.5]", "(a (b:1.5) c:2)", "((a:1.5):2)", "(a:1.5)(b:1.5)",
    "(a)(b)", "(a) (b)", "a (b) c [d] e", r"\(cat\)", r"\[cat\]", r"a \\ b", r"a \b", "a \\",
    r"(\(cat\):1.4)", r"\\(cat)", r"(cat\)", "(cat", "((cat", "[cat", "[(cat", "cat)", "cat]",
    ")(", "][", "(]", "[)", "([)]", "(a [b) c]", "()", "[]", "(:1.5)", "(())", "::", ":",
    "a BREAK b", "BREAK", "BREAK BREAK", "BREAK a", "a BREAK", "aBREAK b", "BREAKb", "a_BREAK",
    "a, BREAK, b", "a\nBREAK\nb", "(a BREAK b)", "(a BREAK b:1.3)", "(a)BREAK(b)",
    "a:BREAK:b", "break", "\u00e9BREAK", "BREAK\u00e9", "\u00bfBREAK?", "\u732bBREAK\u732b",
    "(\u732b\u8033:1.3), [\u043a\u043e\u0442]", "\U0001f408(\U0001f408:0.8)", "a\tb\n(c)\n",
    "masterpiece, (best quality:1.4), ((detailed)), [lowres], (a:0.9) \\(series\\)",
    "(a:1000000)", "(((a:1000):1000):1000)", "(((a:-1000):1000):1000)",
    "(a:1.234567890123456789)", "(a:0000000000000000000000001.5)",
    "(" * 40 + "a" + ")" * 40, "(" * 300 + "a" + ")" * 300, "[" * 300 + "a" + "]" * 300,
    "(a" * 5 + ":1.5)" * 5, "(a" * 5 + "]" * 5, "<|endoftext|> (<|startoftext|>)",
    "a photo of (an (astronaut:1.2) riding [a horse]:1.1) on mars BREAK (4k), [[blurry]]",
]

PROMPTS = [
    "a (photograph:1.3) of [an astronaut] riding a ((horse)), [blurry\\:0.5]",
    ", ".join(["oil painting of a (castle:1.2) by the lake at sunset"] * 7),
    "a castle BREAK by the (lake:0.5) at sunset, \\(detailed\\) BREAK",
    "",
]
STEPS = 5

# Textual inversion: the words, the files' tensors (drawn from seeds), and prompts with them.
WORDS = {
    "golden-style": ("emb_params", torch.float32, (2,)),
    "cat": ("<cat-toy>", torch.float16, ()),
    "lake": ("string_to_param", torch.float32, (1,)),
}
WORD_PROMPTS = ["a photograph of a cat by the lake in golden-style, a cat",
                "a (photograph:1.2) of a (cat in golden-style:0.8), a [cat] BREAK golden-style",
                " ".join(["1"] * 74) + " golden-style 2"]


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def pieces(prompt):
    """Pairs of a kind and a text: plain text, a character that was escaped, a bracket, a weight."""
    pattern = re.compile(r"(?P<escaped>\\[()\[\]\\]?)|(?P<weight>:\s*[+-]?[.0-9]+\s*\))"
                         r"|(?P<bracket>[()\[\]])|(?P<text>[^\\()\[\]:]+|:)")
    at = 0
    while at < len(prompt):
        m = pattern.match(prompt, at)
        kind, text = m.lastgroup, m.group()
        if kind == "weight" and number(text[1:-1]) is None:
            kind, text = "text", ":"
        yield kind, text
        at += len(text)


def parse(prompt):
    """[text, weight] or BREAK, neighbours of one weight joined."""
    texts, factors = [], []  # factors: (first text, end, factor) in the order they closed
    opened = {"(": [], "[": []}

    def plain(text):
        for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
            texts.extend([BREAK, part] if i else [part])

    for kind, text in pieces(prompt):
        opener = {")": "(", "]": "["}.get(text)
        if kind == "escaped":
            texts.append(text[1:])
        elif kind == "bracket" and text in opened and len(opened[text]) < DEPTH:
            opened[text].append(len(texts))
        elif kind == "bracket" and opener and opened[opener]:
            factor = 1.1 if opener == "(" else 1 / 1.1
            factors.append((opened[opener].pop(), len(texts), factor))
        elif kind == "weight" and opened["("]:
            factors.append((opened["("].pop(), len(texts), number(text[1:-1])))
        else:
            plain(text)
    for opener, factor in (("(", 1.1), ("[", 1 / 1.1)):
        factors += [(first, len(texts), factor) for first in opened[opener]]
    out = []
    for i, text in enumerate(texts or [""]):
        weight = 1.0
        for first, end, factor in factors:
            if first <= i < end:
                weight = min(max(weight * factor, -MOST), MOST)
        if text is BREAK:
            out.append(BREAK)
        elif out and out[-1] is not BREAK and out[-1][1] == weight:
            out[-1][0] += text
        else:
            out.append([text, weight])
    return out


def chunks(prompt, tokenizer, words):
    """Lists of (id, weight), at most 75 each. `words`: lists of ids, and the ids in their place."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    rows, last = [[]], None  # last: the last comma's place in the last row
    for part in parse(prompt):
        if part is BREAK:
            rows.append([])
            last = None
            continue
        tokens = tokenizer(part[0], add_special_tokens=False).input_ids
        while tokens:
            token, row = tokens[0], rows[-1]
            if token == comma:
                last = len(row)
            elif len(row) == LIMIT and last is not None and LIMIT - last <= BACKTRACK:
                rows.append(row[last + 1:])
                del row[last + 1:]
                last = None
            if len(rows[-1]) == LIMIT:
                rows.append([])
                last = None
            known = [word for word in words if tokens[:len(word[0])] == word[0]]
            name, ids = max(known, key=lambda word: len(word[0]), default=([token], [token]))
            if len(rows[-1]) + len(ids) > LIMIT:
                rows.append([])
                last = None
            rows[-1] += [(i, part[1]) for i in ids]
            tokens = tokens[len(name):]
    if len(rows) > 1 and not rows[-1]:
        rows.pop()
    return rows


class Prompts(Golden):
    words = []

    def hidden(self, ids, clip_skip):
        out = self.text_model(ids, output_hidden_states=True)
        norm = getattr(self.text_model, "text_model", self.text_model).final_layer_norm
        return norm(out.hidden_states[-max(clip_skip, 1)])

    def row(self, row, clip_skip):
        """[1, 77, width] of one chunk: weighted, then its mean restored."""
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rest = LIMIT - len(row)
        ids = [start] + [token for token, _ in row] + [end] + [self.tokenizer.pad_token_id] * rest
        weights = torch.tensor([1.0] + [w for _, w in row] + [1.0] * (rest + 1))
        z = self.hidden(torch.tensor([ids]), clip_skip)
        mean = z.mean()
        z = z * weights[None, :, None]
        return z * (mean / z.mean())

    def encode(self, prompts, clip_skip=0):
        rows = [chunks(prompt, self.tokenizer, self.words) for prompt in prompts]
        longest = max(map(len, rows))
        print("chunks", [[len(row) for row in prompt] for prompt in rows])
        return torch.cat([torch.cat([self.row(row, clip_skip)
                                     for row in prompt + [[]] * (longest - len(prompt))], 1)
                          for prompt in rows])

    def invert(self):
        """Gives the words rows below the vocabulary, and encodes prompts with them."""
        embeddings = self.text_model.get_input_embeddings()
        table = embeddings.weight.data
        for i, (word, (key, dtype, shape)) in enumerate(WORDS.items()):
            rows = randn(10 + i, *shape, table.shape[1]).mul(table.std()).to(dtype)
            path = os.path.join(self.out, word)
            if key == "string_to_param":
                torch.save({"string_to_token": {"*": 265}, key: {"*": rows}, "name": word,
                            "step": None}, path + ".pt")
            else:
                save_file({key: rows}, path + ".safetensors")
            rows = rows.float().reshape(-1, table.shape[1])
            ids = self.tokenizer(word, add_special_tokens=False).input_ids
            self.words.append((ids, list(range(len(table), len(table) + len(rows)))))
            table = torch.cat([table, rows])
        embeddings.weight.data = table
        self.save("prompt-words", self.encode(WORD_PROMPTS)[:, :, ::COLUMNS])
        # The first again without the syntax: it has none, but for its one chunk.
        self.save("prompt-words-plain", self.encode(WORD_PROMPTS[:1])[:, :, ::COLUMNS])

    def prompts(self):
        embeddings = self.encode(PROMPTS)
        self.save("prompt-text", embeddings[:, :, ::COLUMNS])
        skipped = self.encode(PROMPTS[:1], 2)
        self.save("prompt-skip", skipped[:, :, ::COLUMNS])
        self.invert()
        # Guidance between a long prompt and an empty one.
        self.embeddings = embeddings[[3, 1]]
        x = randn(42, 1, 4, 16, 16)
        self.save("prompt-ddim", self.denoise(x, 0.0, None, steps=STEPS))


def c_string(text):
    out = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}"
                  for b in text.encode())
    lines = [out[i:i + 4096] for i in range(0, len(out), 4096)] or [""]
    return "\n".join(f'"{line}"' for line in lines)


def write_cases(path):
    """A table of prompts, and one of their parts in turn."""
    with open(path, "w") as f:
        f.write("/* Written by tests/tools/make_prompt_golden.py. */\n/* clang-format off */\n"
                "static const struct { const char *text; size_t n_parts; } cases[] = {\n")
        made = [parse(case) for case in CASES]
        for case, parts in zip(CASES, made):
            f.write(f"    {{{c_string(case)}, {len(parts)}}},\n")
        f.write("};\nstatic const sd_prompt_part parts[] = {\n")
        for part in sum(made, []):
            text, weight, is_break = ("", 1.0, 1) if part is BREAK else (*part, 0)
            f.write(f"    {{{c_string(text)}, {weight!r}, {is_break}}},\n")
        f.write("};\n/* clang-format on */\n")
    print(len(CASES), "cases")


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    write_cases(os.path.join(args[1], "unit", "prompt_fixtures.h"))
    torch.set_num_threads(1)
    with torch.no_grad():
        Prompts(args[0], os.path.join(args[1], "golden", "data")).prompts()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
