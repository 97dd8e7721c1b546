#!/usr/bin/env python3
"""How the house stands: sizes, floors and circles of libsd's sources, one number a line.

    python3 tests/tools/house.py [ROOT] [--build DIR] [--list]

Every rule is in the docstring of the function that counts. --build names a build folder of that
tree, without LTO, for what only object files tell; --list names what was counted.
"""
import argparse
import pathlib
import re
import statistics

from graphs import (circles, files, floors, folded, folder_of, include_graph, listing, read,
                    source_listing, symbol_graph, unit, within)

COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)
CONVERSION = re.compile(r"\b\w*(?:nchw_to_nhwc|nhwc_to_nchw|(?:join|split)_planes)\w*\s*\(")


def without_comments(text):
    """The text with each comment made blank; its lines stay where they are."""
    def blank(found):
        piece = found.group()
        return re.sub(r"[^\n]", " ", piece) if piece[0] == "/" else piece
    return COMMENT.sub(blank, text)


def code_lines(paths):
    """Lines that are not blank once comments are taken away."""
    return sum(1 for path in paths for line in without_comments(read(path)).split("\n")
               if line.strip())


def functions(path):
    """(lines, name) of each function: from the first line of its signature, which begins in the
    first column, to the brace that closes it, alone in the first column. Functions inside of macros,
    and those of one line, have no such brace and are not counted."""
    lines = without_comments(read(path)).split("\n")
    found, start = [], 0
    for i, line in enumerate(lines):
        if re.match(r"(?!\w+:)[A-Za-z_]", line):  # no label
            start = i
        if line.rstrip() == "}":
            opening = re.sub(r"__launch_bounds__\(.*?\)", "", " ".join(lines[start:i]))
            name = re.match(r"[^{;=]*?(\w+)\s*\([^{;]*\)\s*\{", opening)
            if name:
                found.append((i - start + 1, name.group(1)))
    return found


class Report:
    def __init__(self, listing):
        self.listing = listing

    def line(self, what, number, names=()):
        print(f"{what:56} {number}")
        for name in names if self.listing else ():
            print(f"    {name}")


def sizes(report, root):
    """Functions of lib/ and backends/; files and lines of code of lib/."""
    lengths = [(n, f"{path.relative_to(root)}: {name}") for path in files(root, "lib", "backends")
               for n, name in functions(path)]
    only = sorted(n for n, _ in lengths)
    long = [f"{n} {name}" for n, name in sorted(lengths, reverse=True) if n > 40]
    report.line("functions of lib and backends", len(only))
    report.line("  lines: median", statistics.median_low(only))
    report.line("  lines: nine of ten at most", only[len(only) * 9 // 10])
    report.line("  lines: most", only[-1])
    report.line("  longer than 40 lines", len(long), long)
    for folder in ("lib", "backends", "lib/pipeline"):
        paths = files(root, folder)
        big = [f"{n} {p.relative_to(root)}" for p in paths for n in [read(p).count("\n")] if n > 700]
        report.line(f"files of {folder}", len(paths), big)
        report.line(f"  lines of {folder}", sum(read(p).count("\n") for p in paths))
        report.line("  of which code", code_lines(paths))


def by_hand(report, root):
    """What lib/pipeline does itself, comments left out: `if (!status`, in whatever is joined to it,
    and calls that turn NCHW to NHWC or back (planes to pixels), also as
    operations on the device, in lib/ outside of the functions' own folder."""
    texts = {p: without_comments(read(p)) for p in files(root, "lib")}
    guards = sum(text.count("if (!status") for p, text in texts.items()
                 if p.parent == root / "lib/pipeline")
    report.line("`if (!status` in lib/pipeline", guards)
    found = [f"{p.relative_to(root)}:{text[:m.start()].count(chr(10)) + 1}"
             for p, text in texts.items() for m in CONVERSION.finditer(text)
             if p.parent not in (root / "lib/core", root / "lib/backend")]
    report.line("conversions of layout by hand in lib", len(found), found)


def of_graph(report, what, graph, keys):
    """The longest chain within lib/pipeline, first with a circle as one file, then with all of its
    files; and the circles."""
    own = within(graph, "lib/pipeline")
    report.line(f"floors of lib/pipeline by {what}", floors(own, lambda circle: 1))
    report.line("  each file of a circle counted", floors(own))
    for among, key in keys:
        found = circles(folded(graph, key))
        report.line(f"circles of {what} among {among}", len(found), map(" - ".join, found))


def of_includes(report, root):
    """Of lib/ and backends/: #include with quotes. A circle among sources with their headers is
    two that include each other's header."""
    of_graph(report, "includes", include_graph(root),
             (("files", str), ("sources with their headers", unit), ("folders", folder_of)))


def of_symbols(report, root, build):
    """Of lib/: an object file that leaves undefined what another one defines."""
    rows = source_listing(listing("nm", build / "libsd-objects.a"), root)
    graph = within(symbol_graph(rows), "lib")
    report.line("object files of lib", len(graph))
    of_graph(report, "symbols", graph, (("files", str), ("folders", folder_of)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", nargs="?", default=".", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    root, report = args.root.resolve(), Report(args.list)
    sizes(report, root)
    by_hand(report, root)
    of_includes(report, root)
    if args.build:
        of_symbols(report, root, args.build)


if __name__ == "__main__":
    main()
