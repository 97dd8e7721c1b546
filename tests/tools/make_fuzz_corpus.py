#!/usr/bin/env python3
"""Writes the inputs that fuzzing begins with: python3 tests/tools/make_fuzz_corpus.py tests/fuzz/corpus

Files that fuzzing found (crash-*, found-*) lie in the same folders and stay.
"""

import gzip
import json
import math
import os
import shutil
import struct
import sys

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "data")
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


def raw_safetensors(text, n_data=0):
    text = text.encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_data)


def safetensors(tensors, metadata=None):
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(i & 255 for i in range(offset))


UNET, VAE = "model.diffusion_model.", "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."
# The tensors that tell the sizes of a model in the original naming, as few bytes as they can be.
ORIGINAL = {
    UNET + "input_blocks.0.0.weight": [32, 4, 1, 1],
    UNET + "input_blocks.1.0.in_layers.2.weight": [32, 8, 1, 1],
    UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [32, 8],
    UNET + "input_blocks.1.1.proj_in.weight": [32, 8, 1, 1],
    UNET + "input_blocks.2.0.op.weight": [32, 8, 1, 1],
    UNET + "middle_block.0.in_layers.2.weight": [32, 8, 1, 1],
    UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight": [32, 8],
    UNET + "middle_block.1.proj_in.weight": [32, 8, 1, 1],
    UNET + "output_blocks.0.0.in_layers.2.weight": [32, 8, 1, 1],
    UNET + "out.2.weight": [4, 32, 1, 1],
    VAE + "encoder.conv_in.weight": [32, 3, 1, 1],
    VAE + "encoder.down.0.block.0.conv1.weight": [32, 8, 1, 1],
    VAE + "encoder.mid.attn_1.q.weight": [8, 8, 1, 1],
    VAE + "decoder.conv_in.weight": [32, 4, 1, 1],
    VAE + "decoder.conv_out.weight": [3, 32, 1, 1],
    VAE + "quant_conv.weight": [8, 8, 1, 1],
    TEXT + "embeddings.token_embedding.weight": [9, 64],
    TEXT + "embeddings.position_embedding.weight": [7, 64],
    TEXT + "encoder.layers.0.mlp.fc1.weight": [16, 8],
    TEXT + "final_layer_norm.weight": [64],
}

WEIGHTS = {
    "empty": safetensors({}),
    "one": safetensors({"a": ("F16", [2, 3])}),
    "types": safetensors({t: (t, [2]) for t in SIZES}, {"format": "pt"}),
    "shapes": safetensors({"scalar": ("F32", []), "none": ("F32", [0, 3]), "five": ("U8", [1] * 5)}),
    "original": safetensors({n: ("U8", s) for n, s in ORIGINAL.items()}, {"sd.unet_heads": "[4]"}),
    "cut": safetensors({"a": ("F16", [2, 3])})[:-1],
    # what only the official reader's rules make of it
    "null": raw_safetensors('{"__metadata__":null,"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}', 3),
    "zeros": raw_safetensors('{"__metadata__":{"a\\u0000":"\\\\u0000\\u0000"},'
                             '"\\u0000":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', 1),
    "twice": raw_safetensors('{"a":{"dtype":"X","shape":[2],"data_offsets":[0,7]},'
                             '"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3],"x":{"dtype":[]}}}', 3),
    "members": raw_safetensors('{"__metadata__":{"dtype":"1","dtype":"2"},'
                               '"a":{"dtype":"C64","shape":[],"shape":[],"data_offsets":[0,8]}}', 8),
}

# The first letter chooses the reader: F .. L.
JSON = {
    "unet": ("F", {"_class_name": "UNet2DConditionModel", "attention_head_dim": [4, 4, 8],
                   "block_out_channels": [32, 64, 64], "cross_attention_dim": 128,
                   "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
                   "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
                   "layers_per_block": 2, "sample_size": 16, "act_fn": "silu",
                   "class_embed_type": None, "use_linear_projection": False}),
    "vae": ("G", {"_class_name": "AutoencoderKL", "block_out_channels": [32, 64],
                  "down_block_types": ["DownEncoderBlock2D"] * 2, "layers_per_block": 1,
                  "up_block_types": ["UpDecoderBlock2D"] * 2, "scaling_factor": 0.18215,
                  "latent_channels": 4}),
    "text": ("H", {"model_type": "clip_text_model", "vocab_size": 100, "hidden_size": 128,
                   "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2,
                   "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05, "bos_token_id": 0,
                   "eos_token_id": 2, "pad_token_id": 1}),
    "schedule": ("I", {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear",
                       "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000,
                       "prediction_type": "epsilon", "trained_betas": None}),
    "solver": ("I", {"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -math.inf,
                     "solver_order": 2, "use_karras_sigmas": True, "final_sigmas_type": "zero",
                     "num_train_timesteps": 3, "trained_betas": [0.1, 0.2, 0.3]}),
    "pad": ("J", {"pad_token": {"content": "!", "lstrip": False}, "eos_token": "<|endoftext|>"}),
    "index": ("K", {"metadata": {"total_size": 6},
                    "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}),
    "pipeline": ("L", {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.0",
                       "unet": ["diffusers", "UNet2DConditionModel"],
                       "vae": ["diffusers", "AutoencoderKL"],
                       "text_encoder": ["transformers", "CLIPTextModel"]}),
}

MERGES = "#version: 0.2\na t</w>\nc at</w>\na a\naa aa\n\u0120 1\n"


def vocab():
    """The 512 single bytes, the merges and the special tokens."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in prints] + [chr(256 + i) for i in range(256 - len(prints))]
    tokens = [*letters, *(c + "</w>" for c in letters), "at</w>", "cat</w>", "aa", "aaaa"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    merges = "\n".join(MERGES.split("\n")[:5]) + "\n"
    text = json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False,
                      separators=(",", ":"))
    return text.encode() + b"\0" + merges.encode()


# c: a text; d: a list of merges; e: vocab.json, 0, merges.txt.
SIMPLE = "#version: 0.2\na t</w>\nc at</w>\na a\n".encode()
TOKENIZER = {
    "added_tokens": [{"id": 5, "content": "<toy>", "normalized": True, "special": False}],
    "padding": {"pad_token": "!"},
    "model": {"type": "BPE", "end_of_word_suffix": "</w>", "merges": [["a", "b</w>"], "b a</w>"],
              "vocab": {"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4, "b": 6,
                        "a</w>": 7, "ba</w>": 8}},
}

BPE = {
    "text": b"cA photo of an astronaut, it's 42 <|endoftext|> <|startoftext|>!!",
    "unicode": "c\u0130stanbul \u00e9e\u0301 \u732b \u1112\u1161\u11ab \U0001f408 \ufb01".encode(),
    "bad-utf8": b"c\xc3(\xed\xa0\x80\xf0\x9f\x90\xff\x80\xc0\xaf",
    "marks": b"c" + b"a" + "\u0301\u0323".encode() * 20,
    "merges": b"d" + SIMPLE,
    "merges-gzip": b"d" + gzip.compress(SIMPLE, mtime=0),
    "vocab": b"e" + vocab(),
    "tokenizer": b"j" + json.dumps(TOKENIZER).encode(),
    "added": b"a" + json.dumps({"<toy>": 5, "a b": 6, "<TOY>_1": 7}).encode() + b"\0"
             + json.dumps({"pad_token": "!", "additional_special_tokens": ["<toy>"], "added_tokens_decoder": {
                 "8": {"content": "ab", "single_word": True, "normalized": True}}}).encode(),
}

CLEAN = {
    "quotes": "it\u2019s \u201cthe king\u2019s\u201d \ufb01ne \uff26\uff35\uff2c\uff2c\u3000\uff8a\uff9f \u03a3\u0391\u03a3".encode(),
    "entities": b"&lt;b&gt; &amp;amp;eacute; &NTILDE; &ntilde &notit; &#x1F600; &#128; &#xD83D; &#1114112; <&copy;",
    "mojibake": "voil\u00c3 le caf\u00c3\u00a9 \u00e2\u20ac\u0153 x \u00e2\u20ac\ufffd \u0413\u045e\u0412\u0402\u0412\u2122a".encode(),
    "twice": "\u00c3\u0192\u00c2\u00a9 \u00c3\u00a2\u00e2\u201a\u00ac\u00e2\u201e\u00a2".encode(),
    "controls": b"\x1b[1;31mred\x1b[0m \x1b[ \x01\x7f\r\n\r \xc2\x85\xe2\x80\xa8 \xed\xa0\xbd\xed\xb8\x8d \xed\xb8\x8d",
    "cesu": "\u00ed\u00a0\u00bd\u00ed\u00b8\u008d \u00c0\u0080 \u00c3\u00a9\u00c0\n".encode(),
}

IMAGES = ["grey1.png", "grey2-trns.png", "grey16-interlaced.png", "greyalpha8.png", "palette4.png",
          "palette8-trns.png", "rgb8-interlaced.png", "rgb8-trns-gamma.png", "rgba16.png",
          "jpeg-grey.jpg", "jpeg-420.jpg", "jpeg-cmyk.jpg", "jpeg-exif.jpg", "jpeg-progressive.jpg"]

PROMPTS = {
    "weights": "a (photograph:1.3) of [an astronaut], ((horse)) (a:.5) (b:-1) (c: 2 ) (d",
    "breaks": "a BREAK b BREAK (c BREAK d:1.2) aBREAK \u00e9BREAK BREAK\u732b BREAK",
    "escapes": "\\(a\\) \\[b\\] \\\\ \\c (\\(:1.1) \\",
    "broken": ")( ][ (] [) ([)] :: (a:) (a:1.2.3) (a:1e5) ((((((((((((((((",
    "odd": "<lora:x:0.8> <LyCO:a b:1> <lora: [a:b:0.5] [b::50%] [(a:1.1)|b] a AND b [[[(:.2] (a]:1|2) <hypernet:\u732b:1>",
    "long": "a castle, by (the lake:1.1), " * 12,
}


TEXT_MODEL = """model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    timesteps: 1000
    first_stage_key: "jpg"
    image_size: 64
    channels: 4
    conditioning_key: crossattn
    scale_factor: 0.18215
    use_ema: False  # a comment
    scheduler_config:
      target: ldm.lr_scheduler.LambdaLinearScheduler
      params: {warm_up_steps: [10000], f_max: [ 1. ]}
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32
        in_channels: 4
        out_channels: 4
        model_channels: 320
        attention_resolutions: [ 4, 2, 1 ]
        num_res_blocks: 2
        channel_mult: [ 1, 2, 4, 4 ]
        num_heads: 8
        use_spatial_transformer: True
        transformer_depth: 1
        context_dim: 768
        use_checkpoint: True
        legacy: False
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        ddconfig: {double_z: true, z_channels: 4, resolution: 256, in_channels: 3, out_ch: 3,
          ch: 128, ch_mult: [1, 2, 4, 4], num_res_blocks: 2, attn_resolutions: [], dropout: 0.0}
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
"""

CLASS_MODEL = """model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.0015
    linear_end: 0.0195
    timesteps: 1000
    image_size: 32
    channels: 4
    conditioning_key: crossattn
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32
        in_channels: 4
        out_channels: 4
        model_channels: 256
        attention_resolutions:
        - 4
        - 2
        num_res_blocks: 2
        channel_mult: [1, 2, 4]
        num_head_channels: 32
        use_spatial_transformer: true
        context_dim: 512
    first_stage_config:
      target: ldm.models.autoencoder.VQModelInterface
      params:
        embed_dim: 4
        n_embed: 16384
        ddconfig: {double_z: false, z_channels: 4, resolution: 256, in_channels: 3, out_ch: 3,
          ch: 128, ch_mult: [1, 2, 2, 4], num_res_blocks: 2, attn_resolutions: [32]}
        lossconfig: {target: torch.nn.Identity}
    cond_stage_config:
      target: ldm.modules.encoders.modules.ClassEmbedder
      params: {embed_dim: 512, n_classes: 1001, key: class_label}
"""

FIRST_STAGE = """model:
  target: ldm.models.autoencoder.AutoencoderKL
  params:
    embed_dim: 4
    lossconfig: {target: ldm.modules.losses.LPIPSWithDiscriminator}
    ddconfig: {double_z: True, z_channels: 4, resolution: 256, in_channels: 3, out_ch: 3, ch: 128,
      ch_mult: [1, 2, 4, 4], num_res_blocks: 2, attn_resolutions: [ ], dropout: 0.0}
"""

YAML = {
    "text": TEXT_MODEL,
    "inpainting": TEXT_MODEL.replace("        in_channels: 4", "        in_channels: 9")
                            .replace("crossattn", "hybrid"),
    "class": CLASS_MODEL,
    "first-stage": FIRST_STAGE,
    "scalars": "a: 1\nb: [0x1F, 0o7, 012, 1_000, .inf, -.INF, .nan, 1e-6, ~, null, yes, Off]\n"
               "c: {d: 'it''s', \"e\\n\\u263a\": |\n}\n",
    "blocks": "a: |\n  one\n  two\nb: >-\n  three\n  four\n? c\n: - 1\n  - - 2\n    - 3\n",
    "anchors": "a: &x {b: &y [1, 2], c: *y}\nd: {<<: *x, c: 3}\ne: {<<: [*x, {f: 1}]}\n&k l: *k\n"
               "*k : 2\nm: !!str 1\nn: !!float 0x1F\n",
    "references": "a: {b: ${.c}, c: ${d.e[0]}, f: x${..d.g}y}\nd: {e: ['${d.g}', 2], g: ${h}}\n"
                  "h: 3\ni: ${j}\nj: {k: ${i}}\nl: ${${m}}\nm: h\nn: ${oc.env:HOME}\n",
    "vq": FIRST_STAGE.replace("AutoencoderKL", "VQModel").replace("True", "False")
                     .replace("embed_dim: 4", "embed_dim: '4'\n    n_embed: 0x100"),
    "refused": "a: &x 1\nb: *x\n<<: {c: !!int 3}\n---\nd: 1\n",
}


# Modules of 8 outputs and inputs, and of 4 with 3x3, of each kind.
ADAPTER = {
    "lora": {"lora_unet_a.lora_down.weight": [2, 8], "lora_unet_a.lora_up.weight": [8, 2],
             "lora_unet_a.alpha": [], "unet.b.lora_A.weight": [1, 8], "unet.b.lora_B.weight": [8, 1],
             "unet.b.lora_B.bias": [8], "unet.b.lora_magnitude_vector": [8]},
    "tucker": {"lora_te_c.lora_down.weight": [2, 4, 1, 1], "lora_te_c.lora_up.weight": [4, 2, 1, 1],
               "lora_te_c.lora_mid.weight": [2, 2, 3, 3], "lora_te_c.dora_scale": [4, 1, 1, 1]},
    "loha": {"lycoris_d.hada_w1_a": [8, 2], "lycoris_d.hada_w1_b": [2, 8],
             "lycoris_d.hada_w2_a": [8, 1], "lycoris_d.hada_w2_b": [1, 8]},
    "loha-tucker": {"e.hada_w1_a": [2, 4], "e.hada_w1_b": [2, 4], "e.hada_t1": [2, 2, 3, 3],
                    "e.hada_w2_a": [2, 4], "e.hada_w2_b": [2, 4], "e.hada_t2": [2, 2, 3, 3]},
    "lokr": {"f.lokr_w1": [2, 4], "f.lokr_w2": [4, 2], "g.lokr_w1_a": [2, 1], "g.lokr_w1_b": [1, 2],
             "g.lokr_w2_a": [4, 2], "g.lokr_w2_b": [2, 4], "g.alpha": [1]},
    "full": {"h.diff": [8, 8], "h.diff_b": [8], "i.w_norm": [8], "i.b_norm": [8]},
    "words": {"emb_params": [2, 8]},
    "refused": {"j.oft_blocks": [2, 2]},
}


def main(args):
    if len(args) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    groups = {
        "safetensors": WEIGHTS,
        "adapter": {name: safetensors({n: ("F16", s) for n, s in tensors.items()}, {"ss_output_name": name})
                    for name, tensors in ADAPTER.items()},
        "json": {n: (kind + json.dumps(value)).encode() for n, (kind, value) in JSON.items()},
        "bpe": BPE,
        "clean": CLEAN,
        "image": {},
        "yaml": {name: text.encode() for name, text in YAML.items()},
        "prompt": {name: text.encode() for name, text in PROMPTS.items()},
    }
    for group, files in groups.items():
        folder = os.path.join(args[0], group)
        os.makedirs(folder, exist_ok=True)
        for name, data in files.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
    for name in IMAGES:
        shutil.copyfile(os.path.join(DATA, name), os.path.join(args[0], "image", name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
