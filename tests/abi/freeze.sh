#!/usr/bin/env bash
# For a release: keeps the public headers and the ABI as they are now, in frozen/ and libsd.abi, for
# check_abi.py, check_constants.py and the program in compat/. freeze.sh BUILD, whose tests are built.
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "$0")"
mkdir -p frozen/sd
rm -f frozen/sd/*.h
cp ../../include/sd/*.h frozen/sd/
./dump_abi.sh "$build/tests/abi/libsd-abi.so" ../../include/sd libsd.abi
wc -c libsd.abi frozen/sd/*.h
