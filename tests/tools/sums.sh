#!/bin/sh
# The bits of a build: sums.sh BUILD prints one line with a hash for each array and picture that the
# golden tests compare, with 1 and with 3 threads. Two builds that print the same compute the same.
set -eu
build=$1
for threads in 1 3; do
    SD_TEST_THREADS=$threads meson test -C "$build" --no-rebuild --suite golden --suite landscape \
        >/dev/null || echo "a test failed with $threads threads" >&2
    python3 - "$build/meson-logs/testlog.json" "$threads" <<'P'
import json, re, sys
for line in open(sys.argv[1], encoding="utf-8"):
    test = json.loads(line)
    for out in test.get("stdout", "").splitlines():
        found = re.match(r"(.*?)\s+(?:relative error|PSNR).* hash (\w+)", out)
        if found:
            print(test["name"].split()[-1], sys.argv[2], *found.groups())
P
done | sort
