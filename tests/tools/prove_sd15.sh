#!/bin/sh
# The full-size proof, all of it: prove_sd15.sh BUILD DIR IMAGE VOCAB [PYTHON]
# BUILD is a Meson build directory, DIR takes 5 GB of files and keeps what is there already, IMAGE
# is a picture for image to image, VOCAB is CLIP's bpe_simple_vocab_16e6.txt.gz, PYTHON has torch,
# transformers and diffusers.
set -e
[ $# -ge 4 ] || { sed -n 2,5p "$0" >&2; exit 2; }
build=$1 dir=$2 image=$3 vocab=$4 python=${5:-python3}
tools=$build/tests/tools here=$(dirname "$0")
mkdir -p "$dir"
[ -e "$dir/sd15.safetensors" ] ||
    "$tools/sd-random-checkpoint" --size sd15 --layout original --out "$dir/sd15.safetensors"
[ -e "$dir/sd15-diffusers/vae/diffusion_pytorch_model.safetensors" ] ||
    "$tools/sd-random-checkpoint" --size sd15 --layout diffusers --out "$dir/sd15-diffusers"
"$python" "$here/prove_sd15.py" reference "$dir" "$image"
"$tools/sd-prove" "$dir/sd15.safetensors" "$dir" --image "$image"
set -- --ckpt "$dir/sd15.safetensors" --vocab "$vocab" --precision full --seed 42 --W 512 --H 512 \
    --prompt "a photograph of an astronaut riding a horse" --ddim_steps 20 --scale 7.5 \
    --n_samples 1 --n_iter 1
"$build/examples/sd-txt2img" "$@" --outdir "$dir/program-txt2img"
"$build/examples/sd-img2img" "$@" --outdir "$dir/program-img2img" --init-img "$image" \
    --strength 0.75
"$python" "$here/prove_sd15.py" compare "$dir"
