#!/usr/bin/env python3
"""Programs of the released library run on this one: abidiff compares what the library promises with
libsd.abi, what it promised then.

    check_abi.py LIBRARY HEADERS COMPILER...

Functions, enumerators, and members at the ends of structs may have come: docs/abi.md. All else is a
break. The comparison is first tried on a small library with known changes.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RELEASED = HERE / "libsd.abi"


def dump(library, headers, output):
    subprocess.run([HERE / "dump_abi.sh", library, headers, output], check=True)


def only_grew(block):
    """One changed type as abidiff tells it."""
    lines = [line.strip() for line in block]
    if re.match(r"'enum ", lines[0]):
        return all(re.match(r"type size hasn't changed|\d+ enumerator insertions?:|'\S+' value '", line)
                   for line in lines[1:])
    # Another name alone, which abidiff says no more of: `reserved` that became a member.
    if re.match(r"'struct ", lines[0]) and lines[1:] == ["type size hasn't changed"]:
        return True
    size = re.match(r"type size changed from (\d+) to \d+ \(in bits\)", lines[1])
    if not re.match(r"'struct ", lines[0]) or not size:
        return False
    for line in lines[2:]:
        member = re.match(r"'.*', at offset (\d+) \(in bits\)", line)
        if not re.match(r"\d+ data member insertions?:", line) and \
                not (member and int(member.group(1)) >= int(size.group(1))):
            return False
    return True


def breaks(before, after):
    """The lines of abidiff that tell of more than growth."""
    run = subprocess.run(["abidiff", "--leaf-changes-only", "--no-added-syms", before, after],
                         text=True, capture_output=True)
    if run.returncode & 3:
        sys.exit("abidiff failed: " + run.stderr)
    text = re.sub(r"^(Leaf|Changed|Removed).* summary: .*\n", "", run.stdout, flags=re.M)
    blocks = re.findall(r"^\S.*\n(?:[ \t]+.*\n|\n(?=[ \t]))*", text, re.M)
    blocks = [[line for line in block.split("\n") if line.strip()] for block in blocks]
    bad = ["\n".join(block) for block in blocks if not only_grew(block)]
    if run.returncode and not blocks:
        bad.append(run.stdout)
    return bad


# A library, and for each macro that changes it whether that is a break.
HEADER = """
typedef struct hidden hidden;
enum kind { ONE, TWO = 2 + TWO_CHANGES
#ifdef THREE_COMES
    , THREE
#endif
};
typedef struct params {
    unsigned long size;
#ifdef MEMBER_BEFORE
    int more;
#endif
    int first;
    double second;
#ifdef OTHER_NAME
    int third;
#else
    int reserved;
#endif
    int fourth;
#ifdef MEMBER_AFTER
    double last;
#endif
} params;
#ifdef OTHER_TYPE
typedef long number;
#else
typedef int number;
#endif
number count(void);
int run(const hidden *, const params *, enum kind);
int more(void);
"""
SOURCE = """
#include "small.h"
struct hidden {
#ifdef HIDDEN_MEMBER
    double more;
#endif
    int a;
};
int run(const hidden *h, const params *p, enum kind k) { return h->a + p->first + (int)k; }
#ifndef FUNCTION_GOES
number count(void) { return 0; }
#endif
#ifdef FUNCTION_COMES
int more(void) { return 0; }
#endif
"""
CHANGES = {"NONE": 0, "MEMBER_AFTER": 0, "FUNCTION_COMES": 0, "HIDDEN_MEMBER": 0, "THREE_COMES": 0,
           "OTHER_NAME": 0,
           "MEMBER_BEFORE": 1, "FUNCTION_GOES": 1, "OTHER_TYPE": 1, "TWO_CHANGES=1": 1}


def check_itself(compiler, scratch):
    (scratch / "small.h").write_text(HEADER, encoding="utf-8")
    (scratch / "small.c").write_text(SOURCE, encoding="utf-8")
    for change, expected in CHANGES.items():
        library, out = scratch / "small.so", scratch / (change + ".abi")
        macros = ["-D" + change] + (["-DTWO_CHANGES=0"] if "TWO" not in change else [])
        subprocess.run([*compiler, "-g", "-O0", "-shared", "-fPIC", *macros, scratch / "small.c",
                        "-o", library], check=True)
        dump(library, scratch, out)
        found = breaks(scratch / "NONE.abi", out)
        if bool(found) != bool(expected):
            sys.exit(f"the checker is wrong about {change}: {found}")


def main():
    library, headers, *compiler = sys.argv[1:]
    if not shutil.which("abidw") or not shutil.which("abidiff"):
        print("skipped: abidw and abidiff are not here (Debian: abigail-tools)")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        check_itself(compiler, scratch)
        dump(library, headers, scratch / "now.abi")
        found = breaks(RELEASED, scratch / "now.abi")
    if found:
        print("\n".join(found))
        print("\nThis breaks programs that were linked with the released library. Give the change\n"
              "another form, a new function or a member at the end of a struct: docs/abi.md.")
        return 1
    print("programs of the released library run on this one")
    return 0


sys.exit(main())
