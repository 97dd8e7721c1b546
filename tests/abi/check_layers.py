#!/usr/bin/env python3
"""Calls point one way, as includes do: the object files of the library, seen by their symbols.

    check_layers.py NM ARCHIVE SOURCE_ROOT

An object file uses functions and variables of its own layer and of those below it: the rules are
check_includes.py's. A backend uses nothing of lib/ (it is handed functions in a table), and lib/
opens a backend by its table alone. Object files do not use each other in circles. What lib/ defines
is public, in lib/libsd.map, or its name begins with sdi_. Before it looks at the library the checker
looks at listings with such faults.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from check_includes import ALLOWED
from graphs import circles, folder_of, listing, source_listing, symbol_graph, uses, within

BACKEND = "sdb_{}_backend"


def allowed(user, definer, symbol):
    mine, other = user.split("/"), definer.split("/")
    if mine[0] == "lib" and other[0] == "lib":
        return other[1] in ALLOWED[mine[1]]
    if mine[0] == "lib":
        return mine[1] == "backend" and symbol == BACKEND.format(other[1])
    return other[:2] == mine[:2]


def misnamed(rows, public):
    """Of lib/, what a host's own names could meet."""
    return [f"{source} defines {symbol}: sdi_ was expected, or a line in lib/libsd.map"
            for source, symbol, kind in sorted(set(rows))
            if source.startswith("lib/") and kind in "TDBRV" and symbol not in public
            and not symbol.startswith(("sdi_", "__"))]  # "__": a sanitizer's own


def problems(rows):
    """Sentences on a listing of sources: (source, symbol, type of nm) each."""
    found = [f"{user} uses {symbol} of {definer}"
             for (user, definer), symbols in sorted(uses(rows).items())
             for symbol in sorted(symbols) if not allowed(user, definer, symbol)]
    graph = symbol_graph(rows)
    for folder in sorted({folder_of(name) for name in graph}):
        if folder.startswith("lib/"):
            found += ["in a circle: " + " ".join(c) for c in circles(within(graph, folder))]
    return found


# What must be found, and what must not: {object file: (defines, uses)}, number of problems.
CASES = (
    ({"lib/core/error.c": ("e", "s"), "lib/api/status.c": ("s", "e")}, 1),
    ({"lib/core/error.c": ("e", ""), "lib/api/status.c": ("s", "e")}, 0),
    ({"lib/io/png.c": ("p", "t"), "lib/text/bpe.c": ("t", "")}, 1),
    ({"lib/model/unet.c": ("u", "x"), "lib/backend/exec.c": ("x", "")}, 0),
    ({"lib/backend/exec.c": ("x", "u"), "lib/model/unet.c": ("u", "")}, 1),
    ({"lib/core/log.c": ("l", "p"), "lib/core/print.c": ("p", "l")}, 1),
    ({"lib/core/log.c": ("l", "p"), "lib/core/print.c": ("p", "o"),
      "lib/core/os_posix.c": ("o", "l")}, 1),
    ({"backends/cpu/device.c": (["sdb_cpu_backend"], ""),
      "lib/backend/device.c": ("d", ["sdb_cpu_backend"])}, 0),
    ({"backends/cpu/device.c": ("c", "a"), "lib/core/alloc.c": ("a", "")}, 1),
    ({"backends/cpu/device.c": ("c", ""), "lib/backend/device.c": ("d", "c")}, 1),
    ({"backends/cpu/device.c": ("c", "r"), "backends/reference/linear.c": ("r", "")}, 1),
)


def check_itself():
    for files, expected in CASES:
        rows = [(name, symbol, kind) for name, both in files.items()
                for kind, symbols in zip("TU", both) for symbol in symbols]
        if len(problems(rows)) != expected:
            sys.exit(f"the checker is wrong about {files}: {problems(rows)}")
    named = [("lib/core/log.c", name, "T") for name in ("sd_log", "sdi_log", "sd_randn")]
    if len(misnamed(named, {"sd_randn"})) != 1:
        sys.exit("the checker is wrong about names")


def main():
    nm, archive, root = sys.argv[1:4]
    check_itself()
    rows = source_listing(listing(nm, archive), pathlib.Path(root))
    if not any(kind == "T" for _, _, kind in rows):
        print("skipped: nm sees no functions here (link-time optimization)")
        return 77
    exported = (pathlib.Path(root) / "lib/libsd.map").read_text(encoding="utf-8")
    found = problems(rows) + misnamed(rows, set(re.findall(r"^\s+(sd_\w+);", exported, re.M)))
    for line in found:
        print(line)
    print(f"{len({row[0] for row in rows})} object files, {len(found)} against the rules")
    return 1 if found else 0


sys.exit(main())
