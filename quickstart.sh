#!/usr/bin/env bash
# From a fresh clone to a picture: installs the Debian packages that are missing, builds libsd, and
# paints. ./quickstart.sh ["a prompt" [checkpoint]]
set -euo pipefail
cd "$(dirname "$0")"
. tests/tools/packages.sh

prompt=${1:-"a fantasy landscape with snowy mountains and a red sun over a lake at dusk"}
model=${2:-models/landscape}

# shellcheck disable=SC2086 # lists of words
install_packages $build_packages check

say "building"
[ -d build ] || meson setup build . >/dev/null
ninja -C build --quiet

say "painting: $prompt (outputs/quickstart/preview.png shows how it comes along)"
mkdir -p outputs/quickstart
build/examples/sd-txt2img --ckpt "$model" --prompt "$prompt" --outdir outputs/quickstart \
    --ddim_steps 20 --n_iter 1 --n_samples 1 --skip_grid --preview outputs/quickstart/preview.png
