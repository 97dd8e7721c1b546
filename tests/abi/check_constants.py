#!/usr/bin/env python3
"""Numbers that programs have compiled in are what they were: enumerators and macros of the frozen
headers have the values that they have in today's. abidiff sees those of types that a function takes;
a plain int32_t says nothing of them.

    check_constants.py FROZEN_INCLUDE TODAYS_INCLUDE COMPILER...
"""
import pathlib
import re
import subprocess
import sys
import tempfile

# Of the library and not of its ABI.
RELEASE = re.compile(r"SD_VERSION_")


def constants(include):
    """Names of enumerators, and of macros that stand for a number."""
    names = []
    for path in sorted(pathlib.Path(include, "sd").glob("*.h")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.S)
        for body in re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, re.S):
            names += re.findall(r"(?:^|,)\s*(\w+)", body)
        names += re.findall(r"^#\s*define\s+(SDX?_\w+)[ \t]+\(?-?[0-9]", text, re.M)
    return [name for name in names if not RELEASE.match(name)]


def values(names, include, compiler, scratch):
    """{name: its value}, "none" where the header does not have it."""
    program = pathlib.Path(scratch, "constants.c")
    headers = [f"sd/{path.name}" for path in sorted(pathlib.Path(include, "sd").glob("*.h"))]
    included = [word for header in headers for word in ("-include", header)]
    known = subprocess.run([*compiler, "-E", "-dD", "-I", include, *included, "-x", "c",
                            "/dev/null"], check=True, text=True, capture_output=True).stdout
    here = [name for name in names if re.search(rf"\b{name}\b", known)]
    rows = "".join(f'    printf("{name} %.17g\\n", (double)({name}));\n' for name in here)
    lines = "".join(f"#include <{header}>\n" for header in [*headers, "stdio.h"])
    program.write_text(lines + "int main(void) {\n" + rows + "    return 0;\n}\n",
                       encoding="utf-8")
    subprocess.run([*compiler, "-I", include, program, "-o", scratch + "/constants"], check=True)
    out = subprocess.run([scratch + "/constants"], check=True, text=True, capture_output=True)
    found = dict(line.split() for line in out.stdout.splitlines())
    return {name: found.get(name, "none") for name in names}


def changes(frozen, today, compiler, scratch):
    names = constants(frozen)
    before = values(names, frozen, compiler, scratch)
    after = values(names, today, compiler, scratch)
    return len(names), [f"{n} was {before[n]} and is {after[n]}" for n in names
                        if before[n] != after[n]]


def check_itself(compiler, scratch):
    """Of four constants one changes and one goes."""
    texts = ("enum { SD_A, SD_B = 4, SD_C };\n#define SD_D 0.5\n",
             "enum { SD_A, SD_B = 4, SD_M, SD_C };\n")
    for name, text in zip(("before", "after"), texts):
        folder = pathlib.Path(scratch, name, "sd")
        folder.mkdir(parents=True)
        (folder / "sd.h").write_text(text, encoding="utf-8")
    count, found = changes(scratch + "/before", scratch + "/after", compiler, scratch)
    if count != 4 or found != ["SD_C was 5 and is 6", "SD_D was 0.5 and is none"]:
        sys.exit(f"the checker is wrong: {count} constants, {found}")


def main():
    frozen, today, *compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        check_itself(compiler, scratch)
        count, found = changes(frozen, today, compiler, scratch)
    for line in found:
        print(line)
    print(f"{count} constants, {len(found)} changed")
    return 1 if found or not count else 0


sys.exit(main())
