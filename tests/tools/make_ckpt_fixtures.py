"""Writes tests/unit/data/ckpt/: small files of torch.save, and what is in them.

    python3 make_ckpt_fixtures.py OUTDIR        (needs torch and numpy)

values.txt has a line for each tensor of the state dict: name, type as libsd shows it, number of
dimensions, dimensions, then the elements in row-major order.
"""
import collections
import io
import os
import sys
import types
import zipfile

import numpy
import torch

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
         torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
         torch.uint8: "U8", torch.bool: "BOOL"}


def make_class(module, name, base=object):
    """An importable class of a library that is not installed."""
    path = module.split(".")
    for i in range(1, len(path) + 1):
        sys.modules.setdefault(".".join(path[:i]), types.ModuleType(".".join(path[:i])))
    cls = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, cls)
    return cls


def state_dict():
    base = torch.arange(24, dtype=torch.float32) / 8 - 1
    tensors = collections.OrderedDict()
    for kind in NAMES:
        short = str(kind).split(".")[1]
        tensors["types." + short] = (torch.arange(6) % 2 if kind == torch.bool
                                     else torch.arange(6) * 3).to(kind).reshape(2, 3)
    tensors["shared.whole"] = base.reshape(2, 3, 4)
    tensors["shared.part"] = base[5:13].reshape(2, 4)
    tensors["strided.transposed"] = base.reshape(4, 6).t()
    tensors["strided.step"] = base[1::5]
    tensors["strided.permuted"] = base.reshape(2, 3, 4).permute(2, 0, 1)
    tensors["strided.expanded"] = base[3:6].reshape(3, 1).expand(3, 4)
    tensors["strided.channels_last"] = base.reshape(1, 4, 2, 3).contiguous(
        memory_format=torch.channels_last)
    tensors["strided.half"] = base.reshape(4, 6).half().t()
    tensors["strided.double"] = base.reshape(4, 6).double().t()
    tensors["strided.ones"] = base[7:8].reshape(1, 1).expand(1, 1)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["parameter"] = torch.nn.Parameter(base[:4].clone())
    tensors["caf\u00e9"] = torch.ones(1)
    return tensors


def write_values(path, tensors):
    with open(path, "w", encoding="utf-8") as out:
        for name, t in tensors.items():
            words = [name, NAMES[t.dtype], t.dim(), *t.shape, *t.detach().double().flatten().tolist()]
            print(*words, file=out)


def lightning(tensors):
    """Everything that training leaves beside the weights."""
    checkpoint = make_class("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    attributes = make_class("pytorch_lightning.utilities.parsing", "AttributeDict", dict)
    config = make_class("omegaconf.dictconfig", "DictConfig")
    metadata = make_class("omegaconf.base", "ContainerMetadata")
    node, meta = config(), metadata()
    meta.__dict__ = {"object_type": dict, "ref_type": __import__("typing").Any, "flags": {1, 2}}
    node.__dict__ = {"_metadata": meta, "_content": collections.defaultdict(list, {"a": [1, -2, 3]}),
                     "_parent": node}
    return {
        "epoch": 6,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": tensors,
        "callbacks": {checkpoint: {"monitor": "val/loss", "best_model_score": torch.tensor(0.5),
                                   "best_model_path": None, "current": numpy.float64(0.25),
                                   "count": numpy.int64(3)}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}],
        "lr_schedulers": [],
        "hyper_parameters": attributes(config=node, big=1 << 100, blob=b"\0\1",
                                       args=__import__("argparse").Namespace(a=True)),
        "sd.sample_size": "16",
        "loops": {"size": torch.Size([1, 2]), "device": torch.device("cpu"), "frozen": frozenset({3})},
    }


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def repack(source, target, method, change=lambda name, data: data):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), change(name, old.read(name)), method)


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    path = lambda name: os.path.join(out, name)
    tensors = state_dict()
    write_values(path("values.txt"), tensors)
    torch.save(lightning(tensors), path("lightning.ckpt"))
    torch.save(dict(tensors), path("plain.pt"))
    torch.save(tensors, path("protocol4.pth"), pickle_protocol=4)
    torch.save(tensors, path("legacy.pt"), _use_new_zipfile_serialization=False)
    repack(path("lightning.ckpt"), path("deflated.ckpt"), zipfile.ZIP_DEFLATED)
    repack(path("plain.pt"), path("big-endian.pt"), zipfile.ZIP_STORED,
           lambda name, data: b"big" if name.endswith("/byteorder") else data)
    one = {"w": torch.ones(1)}
    torch.save({"state_dict": one, "hyper_parameters": Evil(os.system, "true")}, path("system.ckpt"))
    torch.save({"state_dict": {**one, "x": Evil(eval, "1")}}, path("eval.ckpt"))
    torch.save({"state_dict": one, "s": Evil(torch.storage._load_from_bytes, b"x")},
               path("load-from-bytes.ckpt"))
    torch.save({"state_dict": {**one, "x": make_class("omegaconf.dictconfig", "DictConfig")()}},
               path("opaque-tensor.ckpt"))
    torch.save([torch.ones(1)], path("list.pt"))
    torch.save({"epoch": 3}, path("no-tensors.pt"))
    torch.save({"w": torch.zeros(2, dtype=torch.complex64)}, path("complex.pt"))
    module = torch.jit.script(torch.nn.Linear(1, 1))
    with io.BytesIO() as buffer:
        torch.jit.save(module, buffer)
        with open(path("script.pt"), "wb") as file:
            file.write(buffer.getvalue())


if __name__ == "__main__":
    main()
