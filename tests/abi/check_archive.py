#!/usr/bin/env python3
"""The static library defines what libsd.map lists and nothing else that a host could meet."""
import re
import subprocess
import sys

nm, archive, version_script = sys.argv[1:4]
out = subprocess.run([nm, "-g", "--defined-only", archive], check=True, text=True,
                     capture_output=True).stdout
found = {line.split()[2] for line in out.splitlines() if len(line.split()) == 3}
text = open(version_script, encoding="utf-8").read()
wanted = set(re.findall(r"^\s+(sd_\w+);", text, re.M))
for name in sorted(found - wanted):
    print(f"defined, and not in libsd.map: {name}")
for name in sorted(wanted - found):
    print(f"in libsd.map, and not defined: {name}")
print(f"{len(found)} names")
sys.exit(1 if found != wanted or not wanted else 0)
