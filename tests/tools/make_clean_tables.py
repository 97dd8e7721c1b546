#!/usr/bin/env python3
"""Writes clean_tables.c and clean_characters.c: make_clean_tables.py lib/text

What the cleaning of prompts needs to know, asked of ftfy itself (6.3, Apache-2.0) and of Python's html
module: single-byte encodings, which characters side by side tell mojibake, ligatures, widths, controls,
entities. ftfy's expressions are taken apart into sequences of sets of characters, which lib/text/clean*.c
looks for. Run with ftfy 6.3 and any Python from 3.9 on; the Unicode data are that Python's."""
import html
import html.entities
import os
import re
import sys
import unicodedata

try:
    from re import _constants as C
    from re import _parser as parser
except ImportError:  # before 3.11
    import sre_constants as C
    import sre_parse as parser

from ftfy import badness, chardata, fixes

TOP = 0xFFFF  # stands for all that is beyond
WORD = "SD_CLEAN_WORD"

sets, set_ids, ranges = [], {}, []


# ------------------------------------------------------------------------ sets and patterns


def runs(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def set_id(points):
    key = tuple(map(tuple, runs(points)))
    if key not in set_ids:
        set_ids[key] = len(sets)
        sets.append((len(ranges), len(key)))
        ranges.extend(key)
    return set_ids[key]


def category(name):
    if name == C.CATEGORY_SPACE:
        return {c for c in range(TOP) if chr(c).isspace()}
    sys.exit(f"a class of characters that is not expected: {name}")


def members(items):
    points, negated = set(), False
    for op, value in items:
        if op == C.NEGATE:
            negated = True
        elif op == C.LITERAL:
            points.add(value)
        elif op == C.RANGE:
            points.update(range(value[0], value[1] + 1))
        elif op == C.CATEGORY:
            points |= category(value)
        else:
            sys.exit(f"not expected in a set: {op}")
    return set(range(TOP + 1)) - points if negated else points


def sequences(tree):
    """The alternatives of an expression, each a list of set numbers, WORD, or "^"."""
    alternatives = [[]]
    for op, value in tree:
        if op == C.BRANCH:
            more = [s for branch in value[1] for s in sequences(branch)]
        elif op == C.SUBPATTERN:
            more = sequences(value[3])
        elif op == C.MAX_REPEAT:
            low, high, what = value
            more = []
            for n in range(low, high + 1):
                times = [[]]
                for _ in range(n):
                    times = [a + b for a in times for b in sequences(what)]
                more += times
        elif op == C.AT:
            more = [["^"]]
        elif op == C.ANY:
            more = [[set_id(set(range(TOP + 1)) - {10})]]
        elif op == C.IN and value == [(C.CATEGORY, C.CATEGORY_WORD)]:
            more = [[WORD]]
        elif op == C.IN:
            more = [[set_id(members(value))]]
        elif op == C.LITERAL:
            more = [[set_id({value})]]
        else:
            sys.exit(f"not expected in an expression: {op} {value}")
        alternatives = [a + b for a in alternatives for b in more]
    return alternatives


def patterns(expression):
    pattern = expression.pattern
    return sequences(parser.parse(pattern, expression.flags))


def detector():
    """(set that must not be before, patterns) of UTF8_DETECTOR_RE: (?<! set) (a | b | c)+"""
    tree = list(parser.parse(chardata.UTF8_DETECTOR_RE.pattern, chardata.UTF8_DETECTOR_RE.flags))
    (no_look, (direction, before)), (repeat, (low, high, what)) = tree
    assert no_look == C.ASSERT_NOT and direction == -1 and repeat == C.MAX_REPEAT and low == 1
    assert high == C.MAXREPEAT
    ((behind, rows),) = before
    assert behind == C.IN
    return set_id(members(rows)), sequences(what)


def write_patterns(f, name, rows, comment):
    f.write(f"/* {comment} */\nconst sd_clean_pattern {name}[] = {{\n")
    for row in rows:
        start = row[0] == "^"
        row = row[start:]
        assert 0 < len(row) <= 7 and "^" not in row
        places = ", ".join(str(p) for p in row)
        ascii_first = row[0] == WORD or any(a < 0x80 for a, _ in set_ranges(row[0]))
        f.write(f"    {{{len(row)}, {str(start).lower()}, {str(ascii_first).lower()}, {{{places}}}}},\n")
    f.write(f"}};\nconst size_t {name}_n = {len(rows)};\n\n")


def set_ranges(number):
    first, n = sets[number]
    return ranges[first : first + n]


# ----------------------------------------------------------------------------- other tables


def write_rows(f, words, space=" "):
    line = "   " + (" " if not space else "")
    start = line
    for word in words:
        if len(line) + len(space) + len(word) + 1 > 100:
            f.write(line + "\n")
            line = start
        line += f"{space}{word},"
    f.write(line + "\n")


def write_numbers(f, head, words, space=" "):
    f.write(head + " = {\n")
    write_rows(f, words, space)
    f.write("};\n")


def write_sets(f):
    f.write("/* First and last of each range. */\n")
    write_numbers(f, "const uint16_t sdi_clean_ranges[][2]", [f"{{{a},{b}}}" for a, b in ranges], "")
    f.write("\n/* Of each set the first of its ranges, and how many. */\n")
    write_numbers(f, "const uint16_t sdi_clean_sets[][2]", [f"{{{a},{n}}}" for a, n in sets], "")
    f.write("\n")


def write_encodings(f):
    f.write("/* What bytes 0x80 to 0xFF are, in ftfy's order of encodings. */\n")
    f.write("const sd_clean_encoding sdi_clean_encodings[SD_CLEAN_ENCODINGS] = {\n")
    for name in chardata.CHARMAP_ENCODINGS:
        high = bytes(range(0x80, 0x100)).decode(name)
        sloppy = name.startswith("sloppy")
        assert bytes(range(0x1A)).decode(name) == "".join(map(chr, range(0x1A)))
        assert bytes([0x1A]).decode(name) == ("\ufffd" if sloppy else "\x1a")
        assert high.encode(name) == bytes(range(0x80, 0x100)) and min(high) >= "\x80"
        f.write(f"    {{{str(sloppy).lower()}, {str(name != 'macroman').lower()}, {{ /* {name} */\n")
        write_rows(f, [str(ord(c)) for c in high], "")
        f.write("    }},\n")
    f.write("};\n\n")


def escape(text):
    """As a C string: what shows on a screen stands for itself."""
    out = ""
    for c in text:
        plain = unicodedata.category(c)[0] in "LNPS" and unicodedata.category(c) != "Lm" and c < "\uffff"
        if plain and not unicodedata.bidirectional(c) in ("R", "AL") and c not in '"\\?':
            out += c
        else:
            out += "".join(f"\\{b:03o}" for b in c.encode())
    return out


def write_map(f, name, rows, comment):
    f.write(f"/* {comment} */\n")
    out = []
    for c, text in sorted(rows.items()):
        to = [ord(x) for x in text]
        assert 1 <= len(to) <= 3
        out.append(f"{{0x{c:04X}, {{{', '.join(f'0x{x:04X}' for x in to)}}}}}")
    write_numbers(f, f"const sd_clean_map {name}[]", out)
    f.write(f"const size_t {name}_n = {len(rows)};\n\n")


def write_entities(f, name, rows, comment):
    """One string for each first letter: name, 0, value, 0, ... A name without ; stands for itself
    too where a "!" is before it."""
    f.write(f"/* {comment} */\nconst char *const {name}[52] = {{\n")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        words = [(n, v, bare) for n, v, bare in rows if n[0] == letter]
        f.write(f"    /* {letter} */\n")
        lines, size = [""], 0
        for n, v, bare in sorted(words):
            word = f"{'!' if bare else ''}{n}\\0{escape(v)}\\0"
            assert v[0] not in "0123456789"
            size += len(n) + len(v.encode()) + 2 + bare
            if len(lines[-1]) + len(word) > 92:
                lines.append("")
            lines[-1] += word
        assert size < 4000
        f.write("\n".join(f'    "{line}"' for line in lines) + ",\n")
    f.write("};\n\n")


def entities():
    html5 = html.entities.html5
    rows = []
    for name, value in html5.items():
        if name.endswith(";"):
            bare = name[:-1] in html5
            assert not bare or html5[name[:-1]] == value
            rows.append((name[:-1], value, bare))
    assert sum(bare for _, _, bare in rows) == sum(not n.endswith(";") for n in html5)
    known = {f"&{n};" for n, _, _ in rows}
    capitals = [
        (n[1:-1], v, False) for n, v in chardata.HTML_ENTITIES.items() if n not in known
    ]
    assert all(chardata.HTML_ENTITIES[f"&{n};"] == v for n, v, _ in rows)
    return rows, capitals


def write_charrefs(f):
    rows = {c: t for c, t in html._invalid_charrefs.items()}
    write_map(f, "sdi_clean_charrefs", rows, "Numbers of characters that HTML has otherwise: 0 and the C1 controls.")
    f.write("/* Those that are dropped. */\n")
    dropped = runs(html._invalid_codepoints)
    write_numbers(f, "const int32_t sdi_clean_no_charrefs[][2]", [f"{{0x{a:X}, 0x{b:X}}}" for a, b in dropped])
    f.write(f"const size_t sdi_clean_no_charrefs_n = {len(dropped)};\n")


def write_controls(f):
    rows = runs(chardata.CONTROL_CHARS)
    f.write("/* Control characters that are removed. */\n")
    write_numbers(f, "const uint16_t sdi_clean_controls[][2]", [f"{{0x{a:04X}, 0x{b:04X}}}" for a, b in rows])
    f.write(f"const size_t sdi_clean_controls_n = {len(rows)};\n\n")


def check_the_rest():
    """What the C code has by heart."""
    assert chardata.SINGLE_QUOTE_RE.pattern == "[\u02bc\u2018-\u201b]"
    assert chardata.DOUBLE_QUOTE_RE.pattern == "[\u201c-\u201f]"
    assert chardata.HTML_ENTITY_RE.pattern == r"&#?[0-9A-Za-z]{1,24};"
    assert chardata.C1_CONTROL_RE.pattern == r"[\x80-\x9f]"
    assert fixes.ANSI_RE.pattern == "\033\\[((?:\\d|;)*)([a-zA-Z])"
    assert fixes.A_GRAVE_WORD_RE.pattern == b"\xc3 (?! |quele|quela|quilo|s )"
    assert html._charref.pattern == r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)"


HEAD = """/* Made by tests/tools/make_clean_tables.py from the data of {}. */
/* clang-format off */
#include "text/clean_tables.h"

"""


def main(folder):
    check_the_rest()
    bad = patterns(badness.BADNESS_RE)
    before, clues = detector()
    altered, lossy = patterns(chardata.ALTERED_UTF8_RE), patterns(chardata.LOSSY_UTF8_RE)
    with open(os.path.join(folder, "clean_tables.c"), "w") as f:
        f.write(HEAD.format("ftfy (Apache-2.0)"))
        write_sets(f)
        write_patterns(f, "sdi_clean_bad", bad, "What tells mojibake: ftfy's badness.")
        write_patterns(f, "sdi_clean_clues", clues, "UTF-8 that was read in a single-byte encoding.")
        f.write(f"/* The set that is not before those. */\nconst uint8_t sdi_clean_clues_after = {before};\n\n")
        write_patterns(f, "sdi_clean_altered", altered, "UTF-8 whose byte A0 became a space.")
        write_patterns(f, "sdi_clean_lossy", lossy, "UTF-8 of which bytes were lost.")
        write_encodings(f)
        named, capitals = entities()
        write_entities(f, "sdi_clean_capitals", capitals, "HTML's names in capitals that ftfy knows besides.")
    with open(os.path.join(folder, "clean_characters.c"), "w") as f:
        f.write(HEAD.format("Python's html module and of ftfy"))
        write_entities(f, "sdi_clean_entities", named, "HTML's named characters.")
        write_map(f, "sdi_clean_ligatures", {c: t for c, t in chardata.LIGATURES.items()}, "Ligatures of Latin letters.")
        write_map(f, "sdi_clean_widths", {c: t for c, t in chardata.WIDTH_MAP.items()}, "Full and half width.")
        write_charrefs(f)
        write_controls(f)
    words = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and re.match(r"\w", chr(c))]
    by_category = [c for c in range(0x110000) if c == 95 or unicodedata.category(chr(c))[0] in "LN"]
    assert words == by_category, "a character of a word is another than a letter, a number and _"
    print(f"{len(sets)} sets of {len(ranges)} ranges; {len(bad)} patterns of badness; {len(named)} entities")


if __name__ == "__main__":
    main(sys.argv[1])
