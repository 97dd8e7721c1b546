#!/bin/sh
# The full-size proof, all of it: prove_sd15.sh BUILD DIR IMAGE [PYTHON]
# BUILD is a Meson build directory, DIR takes 5 GB of files and keeps what is there already, IMAGE
# is a picture for image to image, PYTHON has torch, transformers and diffusers.
set -e
[ $# -ge 3 ] || { sed -n 2,4p "$0" >&2; exit 2; }
build=$1 dir=$2 image=$3 python=${4:-python3}
tools=$build/tests/tools here=$(dirname "$0")
mkdir -p "$dir"
[ -e "$dir/sd15.safetensors" ] ||
    "$tools/sd-random-checkpoint" --size sd15 --layout original --out "$dir/sd15.safetensors"
[ -e "$dir/sd15-diffusers/vae/diffusion_pytorch_model.safetensors" ] ||
    "$tools/sd-random-checkpoint" --size sd15 --layout diffusers --out "$dir/sd15-diffusers"
"$python" "$here/prove_sd15.py" reference "$dir" "$image"
"$tools/sd-prove" "$dir/sd15.safetensors" "$dir" --image "$image"
"$python" "$here/prove_sd15.py" compare "$dir"
