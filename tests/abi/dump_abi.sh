#!/usr/bin/env bash
# What a library promises to its callers, as abidw reads it out of the debugging information: symbols,
# signatures, and the structs and enums of the public headers. dump_abi.sh LIBRARY HEADERS OUTPUT
set -euo pipefail
abidw --headers-dir "$2" --drop-private-types --drop-undefined-syms --exported-interfaces-only \
    --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --no-architecture \
    --type-id-style hash --out-file "$3" "$1"
