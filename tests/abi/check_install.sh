#!/usr/bin/env bash
# Installs a build into a scratch folder and builds README's program against it with pkg-config:
# what a user of the installed library does first. Arguments: build folder, model for the program,
# the programs' run path.
set -euo pipefail
build=$1 model=$2 run_path=$3
source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

meson install -C "$build" --no-rebuild --quiet --destdir "$scratch/root"
pc=$(find "$scratch/root" -name libsd.pc -printf '%h\n')
export PKG_CONFIG_PATH="$pc" PKG_CONFIG_SYSROOT_DIR="$scratch/root"

# The program between the C fences of README, with its file names replaced.
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' "$source/README.md" |
    sed "s|model.safetensors|$model|; s|lighthouse.png|$scratch/lighthouse.png|" \
        >"$scratch/lighthouse.c"
# shellcheck disable=SC2046 # a list of flags
cc -std=c11 -Wall -Werror "$scratch/lighthouse.c" -o "$scratch/lighthouse" \
    $(pkg-config --cflags --libs libsd) -Wl,-rpath-link,"$pc/.."
LD_LIBRARY_PATH="$pc/.." "$scratch/lighthouse"
[ -s "$scratch/lighthouse.png" ] || {
    echo "README's program wrote no picture"
    exit 1
}
if [ -e "$pc/../libsd.a" ]; then
    # shellcheck disable=SC2046 # a list of flags
    cc -std=c11 "$scratch/lighthouse.c" -o "$scratch/lighthouse-static" $(pkg-config --cflags libsd) \
        "$pc/../libsd.a" $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --static --libs libsd | sed 's/-lsd //')
    rm "$scratch/lighthouse.png"
    "$scratch/lighthouse-static"
    [ -s "$scratch/lighthouse.png" ] || {
        echo "README's program, linked with libsd.a, wrote no picture"
        exit 1
    }
fi
# Where the programs lie they find the library, and it is the one beside them.
moved="$scratch/moved to"
mv "$scratch/root" "$moved"
for program in sd-txt2img sd-img2img sd-inpaint sd-info sd-bench; do
    path=$(find "$moved" -name "$program")
    [ -x "$path" ] || {
        echo "$program was not installed"
        exit 1
    }
    case "$run_path" in
    '$ORIGIN'*)
        found=$(env -u LD_LIBRARY_PATH ldd "$path" | grep -F libsd.so)
        [[ "$found" == *"$moved"* ]] || {
            echo "$program does not find the library that was installed with it: $found"
            exit 1
        }
        env -u LD_LIBRARY_PATH "$path" --help >/dev/null
        ;;
    esac
done
echo "installed, linked with $(pkg-config --libs libsd), painted a picture"
