#!/usr/bin/env python3
"""A training checkpoint at full size: what torch.save writes, beyond 4 GiB, through libsd.

  prove_checkpoint.py BUILD CONFIG DIR

CONFIG is a YAML file of a text-to-image model (v1-inference.yaml). A Lightning checkpoint in float32
with its averaged weights (model_ema.*) is written to DIR, 7.7 GB, and removed at the end. It is
loaded twice, as it is and with use_ema, each time in a process of its own. Checked are the list of
its tensors, the text encoder and the UNet against PyTorch, that no memory is taken but that of the
weights as prepared, and that the file is not mapped any more. Ends with 1 where one does not hold.

Not part of the tests of every day: it takes 8 GB of disk and 12 GB of memory. Needs what
make_ldm_golden.py does.
"""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np

LIMIT = 1e-4
DECAY = 0.9  # the average here is 0.9 of the weight
MORE_MIB = 128  # beside the weights: Python, the library, one tensor at a time
TIME = 951.0


def average_name(name):
    """LitEma's buffers have no dots."""
    return "model_ema." + name[len("model."):].replace(".", "")


def write(config, folder):
    import torch
    import yaml

    import prove_configs

    np.seterr(over="ignore")
    torch.set_grad_enabled(False)
    with open(config) as f:
        model = prove_configs.build(yaml.safe_load(f))
    state = dict(model.state_dict())
    unet = model.model.diffusion_model
    average = {average_name(k): DECAY * v for k, v in state.items()
               if k.startswith("model.diffusion_model.")}
    x = prove_configs.randn(4, 1, 4, 16, 16)
    prompt = prove_configs.PROMPTS[1]
    ids = torch.tensor([prompt + [prove_configs.END] * (77 - len(prompt))])
    context = model.cond_stage_model(ids)
    out = unet(x, torch.tensor([TIME]), context)
    state.update(average)
    state["model_ema.decay"] = torch.tensor(0.9999)
    state["model_ema.num_updates"] = torch.tensor(470000, dtype=torch.int32)
    state["betas"] = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    torch.save({"epoch": 6, "global_step": 470000, "pytorch-lightning_version": "1.4.2",
                "state_dict": state, "loops": None, "optimizer_states": [],
                "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.1)}},
                "lr_schedulers": [{"base_lrs": [1e-4], "last_epoch": 1}]},
               os.path.join(folder, "full.ckpt"))
    with open(os.path.join(folder, "tensors.json"), "w") as f:
        json.dump({k: list(v.shape) for k, v in state.items()}, f)
    for tensor in unet.state_dict().values():
        tensor.mul_(DECAY)
    np.savez(os.path.join(folder, "reference.npz"), x=x, ids=ids, text=context, unet=out,
             average=unet(x, torch.tensor([TIME]), context))


class Watch:
    """The peaks of this process's memory, in MiB."""

    def __init__(self):
        self.peaks, self.ends = {"RssAnon": 0, "RssFile": 0}, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def look(self):
        with open("/proc/self/status") as f:
            for line in f:
                key = line.split(":")[0]
                if key in self.peaks:
                    self.peaks[key] = max(self.peaks[key], int(line.split()[1]) // 1024)

    def run(self):
        while not self.ends:
            self.look()
            time.sleep(0.005)

    def close(self):
        self.ends = True
        self.thread.join()
        return self.peaks


def say(what, holds):
    print(f"  {what}{'' if holds else '  DOES NOT HOLD'}", flush=True)
    return bool(holds)


def check_list(libsd, path, folder):
    with open(os.path.join(folder, "tensors.json")) as f:
        expected = json.load(f)
    found = {t.name: list(t.shape) for t in libsd.Context().list_checkpoint(path)}
    return say(f"{len(found)} tensors listed, {len(expected)} saved", found == expected)


def load(build, folder, use_ema):
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ["LIBSD_LIBRARY"] = os.path.join(os.path.abspath(build), "libsd.so.1")
    sys.path.insert(0, os.path.join(here, "..", "..", "bindings", "python"))
    import libsd

    path = os.path.join(folder, "full.ckpt")
    reference = np.load(os.path.join(folder, "reference.npz"))
    print(f"{os.path.getsize(path) / 1e9:.2f} GB{', use_ema' if use_ema else ''}")
    good = check_list(libsd, path, folder)
    watch, start = Watch(), time.time()
    model = libsd.Model.load(path, precision="full", use_ema=use_ema, strict=True)
    seconds, peaks = time.time() - start, watch.close()
    weights = model.info.weight_bytes >> 20
    good &= say(f"loaded in {seconds:.2f} s, weights {weights} MiB, peak of memory "
                f"{peaks['RssAnon']} MiB, of mapped pages {peaks['RssFile']} MiB",
                peaks["RssAnon"] < weights + MORE_MIB and peaks["RssFile"] < 4 * MORE_MIB)
    with open("/proc/self/maps") as f:
        good &= say("mapped no more", path not in f.read())
    got = {"text": model.encode_tokens(reference["ids"]),
           "unet": model.unet_predict(reference["x"], TIME, reference["text"])}
    for what, out in got.items():
        want = reference["average" if use_ema and what == "unet" else what]
        error = np.linalg.norm(out - want) / np.linalg.norm(want)
        good &= say(f"{what}: relative error {error:.2e}", error <= LIMIT)
    return 0 if good else 1


def main(args):
    if len(args) == 4 and args[0] == "load":
        return load(args[1], args[2], args[3] == "1")
    if len(args) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    build, config, folder = args
    os.makedirs(folder, exist_ok=True)
    try:
        write(config, folder)
        runs = [subprocess.run([sys.executable, __file__, "load", build, folder, ema])
                for ema in ("0", "1")]
    finally:
        for name in ("full.ckpt", "tensors.json", "reference.npz"):
            if os.path.exists(os.path.join(folder, name)):
                os.remove(os.path.join(folder, name))
    return max(run.returncode for run in runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
