#!/usr/bin/env python3
"""The library exports exactly what the headers declare, libsd.map lists and symbols-in-versions records."""
import pathlib
import re
import subprocess
import sys

nm, library, version_script, recorded_path, headers, readelf = sys.argv[1:7]


def exported():
    out = subprocess.run([nm, "-D", "--defined-only", library], check=True, text=True,
                         capture_output=True).stdout
    names = {}
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the version node itself
            symbol, _, version = name.partition("@@")
            names[symbol] = version
    return names


def taken():
    """Public functions that the library calls in a way that lets a program's take the call."""
    out = subprocess.run([readelf, "-rW", library], check=True, text=True,
                         capture_output=True).stdout
    return set(re.findall(r"\s(sd_\w+)@", out))


def listed():
    text = open(version_script, encoding="utf-8").read()
    return set(re.findall(r"^\s+(sd_\w+);", text, re.M))


def declared():
    text = "\n".join(p.read_text(encoding="utf-8") for p in pathlib.Path(headers).glob("*.h"))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"^LIBSD_API[^;(]*?(sd_\w+)\(", text, re.M))


def recorded():
    rows = (line.split() for line in open(recorded_path, encoding="utf-8"))
    return {row[0]: row[1] for row in rows if row and not row[0].startswith("#")}


def main():
    symbols, failures = exported(), 0
    known = recorded()
    for what, names in (("the headers", declared()), ("libsd.map", listed()),
                        ("symbols-in-versions", set(known))):
        for name in sorted(set(symbols) - names):
            print(f"exported but not in {what}: {name}")
            failures += 1
        for name in sorted(names - set(symbols)):
            print(f"in {what} but not exported: {name}")
            failures += 1
    for name, version in symbols.items():
        if version != "LIBSD_1":
            print(f"{name} has version '{version}', LIBSD_1 was expected")
            failures += 1
    for name in sorted(taken()):
        print(f"{name}: the library's own call goes to whoever defines it first")
        failures += 1
    print(f"{len(symbols)} symbols, {failures} failures")
    return 1 if failures else 0


sys.exit(main())
