#!/bin/sh
# Makes the static library: archive.sh INPUT.a OUTPUT.a OBJCOPY AR LINKER...
#
# A static library shares the name space of the program that links it. So its objects are joined
# into one, and names that are not public (of hidden visibility) become local to it: the archive
# defines what libsd.map lists, as the shared library does, and no host's cpu_linear can meet ours.
set -eu
input=$1 output=$2 objcopy=$3 ar=$4
shift 4
object="${output%.a}-joined.o"
trap 'rm -f "$object"' EXIT
"$@" -r -nostdlib -Wl,--whole-archive "$input" -Wl,--no-whole-archive -o "$object"
"$objcopy" --localize-hidden "$object"
rm -f "$output"
"$ar" rcs "$output" "$object"
