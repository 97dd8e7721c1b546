#!/usr/bin/env python3
"""Writes what programs in prompts must become: tests/unit/program_fixtures.h.

    python3 tests/tools/make_program_golden.py tests/unit/program_fixtures.h [SEED COUNT]

The judge is AUTOMATIC1111's web UI, modules/prompt_parser.py as of version 1.10: a grammar for
lark's Earley parser, and what is read off its tree at each step (by the newer of its two rules for
numbers, its default). The grammar is stated here in other words; MANUAL are the web UI's own
documented examples with what its documentation says of them, against which this is checked first.
With SEED and COUNT random prompts are added, for a search that is not kept. Needs lark.
"""

import random
import re
import sys

import lark

GRAMMAR = r"""
!start: (words | STRAY)*
words: (round | edit | turns | TEXT | SPACE)*
!round: "(" words ")" | "(" words ":" words ")" | "[" words "]"
edit: "[" [words ":"] words ":" [SPACE] SIGNED_NUMBER [SPACE] "]"
turns: "[" words ("|" [words])+ "]"
STRAY: /[][():]/
SPACE: /\s+/
TEXT: /([^\\\[\]():|]|\\.)+/
%import common.SIGNED_NUMBER
"""
PARSER = lark.Lark(GRAMMAR, maybe_placeholders=True)


def when(node, steps):
    """The last step of what stands first: a number with a point is a share."""
    number = str(node.children[-2])
    return min(steps, int(float(number) * steps if "." in number else float(number)))


def ends(tree, steps):
    found = {steps}
    for node in tree.iter_subtrees():
        if node.data == "turns":
            found.update(range(1, steps + 1))
        elif node.data == "edit":
            found.add(when(node, steps))
    return sorted(n for n in found if n >= 1)


def text_at(node, step, steps):
    if node is None:
        return ""
    if not isinstance(node, lark.Tree):
        return str(node)
    chosen = node.children
    if node.data == "turns":
        chosen = [chosen[(step - 1) % len(chosen)]]
    elif node.data == "edit":
        before, after = chosen[0], chosen[1]
        chosen = [before if step <= when(node, steps) else after]
    return "".join(text_at(child, step, steps) for child in chosen)


def schedule(prompt, steps):
    try:
        tree = PARSER.parse(prompt)
    except lark.exceptions.LarkError:
        return [(steps, prompt)]
    return [(end, text_at(tree, end, steps)) for end in ends(tree, steps)]


def combine(prompt):
    """get_multicond_prompt_list: texts and weights."""
    terms = []
    for part in re.split(r"\bAND\b", prompt):
        text, number = re.match(
            r"((?:\s|.)*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*$", part).groups()
        terms.append((text, float(number) if number else 1.0))
    return terms


# Documentation: the list of a prompt at 10 steps (100 for the first).
MANUAL = [
    ("fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
     "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]", 100, [
         (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
         (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
         (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
         (75, "fantasy landscape with a lake and an oak in background masterful"),
         (100, "fantasy landscape with a lake and a christmas tree in background masterful")]),
    ("test", 10, [(10, "test")]),
    ("a [b:3]", 10, [(3, "a "), (10, "a b")]),
    ("a [b: 3]", 10, [(3, "a "), (10, "a b")]),
    ("a [[[b]]:2]", 10, [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", 10, [(3, ""), (10, "(a:2)")]),
    ("a [b : c : 1] d", 10, [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", 10, [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", 10, [(10, "a [unbalanced")]),
    ("a [b:.5] c", 10, [(5, "a  c"), (10, "a b c")]),
    # its documentation says otherwise; what it is read as is told from its own parser
    ("a [{b|d{:.5] c", 10, [(10, "a [{b|d{:.5] c")]),
    ("((a][:b:c [d:3]", 10, [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a|(b:1.1)]", 10, [(i, "(b:1.1)" if i % 2 == 0 else "a") for i in range(1, 11)]),
    ("[fe|]male", 10, [(i, "male" if i % 2 == 0 else "female") for i in range(1, 11)]),
    ("[fe|||]male", 10, [(i, "female" if i % 4 == 1 else "male") for i in range(1, 11)]),
]

CASES = [
    # numbers
    "[a:b:0.5]", "[a:b:.5]", "[a:b:0.55]", "[a:b:5]", "[a:b:5.]", "[a:b:1]", "[a:b:1.0]", "[a:b:0]",
    "[a:b:0.0]", "[a:b:0.09]", "[a:b:9]", "[a:b:10]", "[a:b:99]", "[a:b:2.5]", "[a:b:-1]",
    "[a:b:-0.5]", "[a:b:+3]", "[a:b:1e0]", "[a:b:2e-1]", "[a:b:2.e-1]", "[a:b:3e-1x]", "[a:b:1.2.3]",
    "[a:b:]", "[a:b:x]", "[a:b: 0.5 ]", "[a:b:\t4\n]", "[a:b:4 x]", "[a:b:0.29]", "[a:b:0.7]",
    "[a:b:50%]", "[a:b:0,5]", "[a:b:.]", "[a:b:1e]", "[a:b:1e1.0]", "[a:b:--1]",
    # shapes
    "[a:0.5]", "[a::0.5]", "[:a:0.5]", "[:0.5]", "[::0.5]", "[:::0.5]", "[a:b:c:0.5]", "[a:b]",
    "[a]", "[]", "[a:0.5:]", "[0.5]", "[0.3:0.5]", "[1:2:3]", "a[b:c:2]d[e:f:4]g",
    "[a:b:2][c:d:2]", "[[a:b:2]:[c:d:8]:5]", "[[[a:2]:b:4]:c:6]", "[a:[b:[c:d:6]:4]:2]",
    "[a|b]", "[a|b|c]", "[|a]", "[a||b]", "[|]", "[||]", "[a|b:0.5]", "[a:b|c:0.5]", "[a|[b|c]]",
    "[[a|b]:c:4]", "[a:[b|c]:4]", "[a|b] and [c|d|e]", "[[a:b:3]|c]", "[(a)|(b:1.2)|[c]]",
    # other brackets
    "(a [b:c:0.5])", "([b:c:0.5]:1.3)", "(a:[b:c:0.5])", "[(a:b:c):0.5]", "[a (b:0.5]", "[a) b:0.5]",
    "[a [b:0.5]", "a] [b:0.5]", "[a:0.5] b]", "[[a:0.5]", "([a:b:0.5]", "[a:b:0.5])", "[a:(b:0.5]",
    "((a:1.1) [b|c]:1.2)", "[(a:1.2) b:c [d]:3]", "[([a]):2]", "(a:b:[c:d:2])", "[(a]b)", "{a:b:0.5}",
    # text of all, for a |
    "a | b", "[a:b:2] | c", "[a|b", "a|b]", "(a|b)", "[(a|b):2]", "[a|b)", "[a|(b]", "[a|(b:c:d)]",
    "[a:b:2] [c|d", "[a|b:c]",
    # characters
    r"\[a:b:2\]", r"[a\:b:2]", r"[a\|b|c]", r"[a\]:b:2]", "[a\\\\:b:2]", "a\\", "[a:b:2]\\", "\\\na",
    r"\(a [b:2]\)", r"[\(:2]", r"a \[b|c]", "[a:b:2\\]",
    "", " ", "\n", ":", "a:b", "a: [b:2]", "::[b:2]::", "a,\n [b,\nc:d:2],\n e",
    "[\u732b:\u72ac:0.5] \u00e9[\U0001f408|\U0001f415]",
    "photo of a [cat:dog:0.35], [forest|city], ([sun:moon:12]:1.2), [[blurry]]",
    "masterpiece, (best quality:1.4), [<lora:x:0.5>:4], [sketch::3] BREAK [red|blue] car",
]

COMBINED = [
    "a", "a AND b", "a AND b :0.7", "a :1.2 AND b:0.8  AND  c", "AND", " AND b", "a AND", "a AND AND b",
    "aAND b", "ANDroid AND x", "a and b", "a AND\nb :2\n", "a:2", "a :2 :3", "a: b", "a :", "a :x",
    "a :-1", "a :+.5", "a :1.", "a :.", "a :1.2.3", "a :1e2", "16:9", "(a:1.2)", "(a:1.2", "[a:b:0.5]",
    "[a:b:0.5] :0.5 AND [c|d]", "a\\:2", " :2", ":2", "  a  ", "", "a_AND b", "(a AND b:1.1)",
    "\u732bAND b", "\u00bfAND b", "a \n:\n 3 \n",
]
STEPS = 10


def random_prompt(draw):
    pieces = ["a", "b ", "c", "[", "[", "]", "]", "(", ")", ":", ":", "|", "0.5", "3", " ", "\\", "[a:b:2]",
              "[x|y]", ":4]", ":0.25]", "(w:1.2)"]
    return "".join(draw.choice(pieces) for _ in range(draw.randrange(1, 14)))


def c_string(text):
    out = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}"
                  for b in text.encode())
    return f'"{out}"'


def write(path, cases):
    made = [(prompt, steps, schedule(prompt, steps)) for prompt, steps in cases]
    terms = [(prompt, combine(prompt)) for prompt in COMBINED]
    with open(path, "w") as f:
        f.write("/* Written by tests/tools/make_program_golden.py. */\n/* clang-format off */\n"
                "static const struct { const char *text; int steps; size_t n; } schedules[] = {\n")
        for prompt, steps, changes in made:
            f.write(f"    {{{c_string(prompt)}, {steps}, {len(changes)}}},\n")
        f.write("};\n/* of each in turn */\n"
                "static const struct { int end; const char *text; } changes[] = {\n")
        for _, _, changes in made:
            for end, text in changes:
                f.write(f"    {{{end}, {c_string(text)}}},\n")
        f.write("};\nstatic const struct { const char *text; size_t n; } combinations[] = {\n")
        for prompt, parts in terms:
            f.write(f"    {{{c_string(prompt)}, {len(parts)}}},\n")
        f.write("};\nstatic const struct { const char *text; double weight; } terms[] = {\n")
        for _, parts in terms:
            for text, weight in parts:
                f.write(f"    {{{c_string(text)}, {weight!r}}},\n")
        f.write("};\n/* clang-format on */\n")
    print(len(made), "schedules,", len(terms), "combinations")


def main(args):
    if len(args) not in (1, 3):
        print(__doc__, file=sys.stderr)
        return 2
    for prompt, steps, want in MANUAL:
        assert schedule(prompt, steps) == want, (prompt, schedule(prompt, steps))
    cases = [(prompt, steps) for prompt, steps, _ in MANUAL] + [(p, STEPS) for p in CASES]
    cases += [("[a:b:0.5] [c:d:3] [e|f]", steps) for steps in (1, 2, 7)]
    if len(args) == 3:
        draw = random.Random(int(args[1]))
        cases += [(random_prompt(draw), STEPS) for _ in range(int(args[2]))]
    write(args[0], cases)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
