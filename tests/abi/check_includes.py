#!/usr/bin/env python3
"""Includes point one way: core <- io, text, backend; io <- describe; all of them <- model, sampler
<- pipeline <- api.

lib/ never includes from backends/, a backend sees of lib/ only backend/backend.h, and examples and
bindings see only the public header. Text is formatted, and numbers are read, where the host's locale
cannot change them.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[-1])  # the source tree
CORE = {"core"}
MIDDLE = {"io", "describe", "text", "backend"}
ALLOWED = {
    "core": CORE,
    "io": CORE | {"io"},
    "describe": CORE | {"io", "describe"},
    "text": CORE | {"text"},
    "backend": CORE | {"backend"},
    "model": CORE | MIDDLE | {"model"},
    "sampler": CORE | MIDDLE | {"sampler"},
    "pipeline": CORE | MIDDLE | {"model", "sampler", "pipeline"},
    "api": CORE | MIDDLE | {"model", "sampler", "pipeline", "api"},
}
SOURCES = {".c", ".h", ".cu", ".cuh", ".cpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
# Operating-system headers belong in lib/core/os_*.c alone.
SYSTEM = re.compile(r"^\s*#\s*include\s*<(unistd\.h|dlfcn\.h|pthread\.h|sched\.h|sys/[^>]*)>", re.M)


# What the host's locale changes, and where it is kept from it. snprintf is for what has no decimals.
LOCALE = re.compile(r"\b(?:v?sprintf|vsnprintf|strto(?:d|f|ld)|atof|sscanf|json_load\w*)\(|"
                    r"\bsnprintf\([^;]*%[-+ #0-9.*]*[aefgAEFG][^;]*;")
KEPT = {"core/print.c", "core/json.c"}


def files(folder):
    return sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SOURCES)


def included_layer(path, name):
    """The layer of lib/ that an include names, or None for a file of the includer's own folder."""
    first = name.split("/")[0]
    if first in ALLOWED and (ROOT / "lib" / name).exists():
        return first
    if (path.parent / name).exists():
        real = (path.parent / name).resolve()
        return real.relative_to(ROOT / "lib").parts[0] if real.is_relative_to(ROOT / "lib") else None
    return None


def check_lib(problems):
    for path in files("lib"):
        layer = path.relative_to(ROOT / "lib").parts[0]
        text = path.read_text(encoding="utf-8")
        for name in INCLUDE.findall(text):
            other = included_layer(path, name)
            if "backends/" in name or (other and other not in ALLOWED[layer]):
                problems.append(f"{path.relative_to(ROOT)} ({layer}) includes {name}")
        if not path.name.startswith("os_"):
            for name in SYSTEM.findall(text):
                problems.append(f"{path.relative_to(ROOT)} includes <{name}>, only os_*.c may")


def check_locale(problems):
    for folder in ("lib", "backends"):
        for path in files(folder):
            text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
            name = path.relative_to(ROOT / folder).as_posix()
            if name not in KEPT:
                for found in LOCALE.findall(text):
                    problems.append(f"{folder}/{name}: {found.split('(')[0]} follows the host's "
                                    "locale: sdi_print, sdi_c_locale_begin")
    for path in files("examples"):
        if "setlocale(" in path.read_text(encoding="utf-8"):
            problems.append(f"{path.relative_to(ROOT)} sets a locale; its decimals would follow it")


def check_backends(problems):
    for path in files("backends"):
        for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if included_layer(path, name) is not None and name != "backend/backend.h":
                problems.append(f"{path.relative_to(ROOT)} includes {name}")


def check_outside(problems):
    for folder in ("examples", "bindings"):
        for path in files(folder):
            for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
                if included_layer(path, name) is not None or "lib/" in name or "backends/" in name:
                    problems.append(f"{path.relative_to(ROOT)} includes {name}")


def main():
    problems = []
    check_lib(problems)
    check_locale(problems)
    check_backends(problems)
    check_outside(problems)
    for line in problems:
        print(line)
    n = sum(len(files(f)) for f in ("lib", "backends", "examples", "bindings"))
    print(f"{n} files, {len(problems)} against the rules")
    return 1 if problems or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
