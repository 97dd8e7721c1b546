"""Writes tests/unit/data/ckpt/: small files of torch.save, and what is in them.

    python3 make_ckpt_fixtures.py OUTDIR        (needs torch and numpy)

values.txt has a line for each tensor of the state dict: name, type as libsd shows it, number of
dimensions, dimensions, then the elements in row-major order.
"""
import argparse
import collections
import copyreg
import datetime
import decimal
import enum
import functools
import io
import os
import pathlib
import pickle
import struct
import sys
import types
import uuid
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


class Colour(enum.Enum):
    RED = 1


class Settings(dict):
    class Inner:
        pass


def inert_objects():
    """What people's training scripts leave beside the weights."""
    step = make_class("my_project.steps", "Step")
    step.__reduce__ = lambda self: (functools.partial, (int,), {"base": 2, "args": [self.__class__]})
    linear = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 2)).backward()
    optimizer.step()
    return {
        "dtype": torch.float16, "dtypes": [torch.bfloat16, torch.complex64, torch.qint8],
        "array": numpy.arange(6.0).reshape(2, 3), "fortran": numpy.asfortranarray(numpy.eye(2)),
        "names": numpy.array(["a", "b"]), "objects": numpy.array([None, 1], dtype=object),
        "scalars": [numpy.float32(1.5), numpy.int8(-3), numpy.bool_(True)],
        "record": numpy.dtype([("x", "f4")]), "random": numpy.random.RandomState(1),
        "path": pathlib.PurePosixPath("/a/b"), "when": datetime.datetime(2022, 8, 22, 1, 2, 3),
        "zone": datetime.timezone(datetime.timedelta(hours=1)), "length": datetime.timedelta(3),
        "money": decimal.Decimal("1.5"), "id": uuid.UUID(int=5), "colour": Colour.RED,
        "args": argparse.Namespace(lr=1e-4, out=pathlib.PurePosixPath("x")),
        "space": types.SimpleNamespace(a=1), "settings": Settings(a=Settings(b=[1])),
        "counter": collections.Counter("aab"), "default": collections.defaultdict(list, a=[1]),
        "queue": collections.deque([1, 2], maxlen=3), "complex": 1 + 2j, "set": {1, "a"},
        "bytes": bytearray(b"abc"), "range": range(3), "slice": slice(1, 2), "dots": ...,
        "device": torch.device("cuda", 0), "size": torch.Size([1]), "layout": torch.strided,
        "loss": torch.nn.MSELoss(), "step": step(),
        "optimizer": optimizer, "states": [optimizer.state_dict()],
        "error": ValueError("x"), "type": dict, "inner": Settings.Inner(), "function": torch.nn.functional.relu,
    }


class OldParameterDict:
    """Stands for torch.nn.ParameterDict as torch 1.10 and before pickled it: without _keys."""

    __class__ = property(lambda self: torch.nn.ParameterDict)

    def __init__(self, parameters):
        self.state = {
            "training": True, "_parameters": collections.OrderedDict(parameters),
            "_buffers": collections.OrderedDict(), "_backward_hooks": collections.OrderedDict(),
            "_forward_hooks": collections.OrderedDict(), "_modules": collections.OrderedDict()}

    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (torch.nn.ParameterDict,), self.state


def legacy_file(path, value, keys, storages):
    """As torch before 1.6 wrote it, by hand: what today's torch does not write any more."""
    modules = set()

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "94", "cpu", 24, value.part)
            if isinstance(value, type) and issubclass(value, torch.nn.Module) and not modules:
                modules.add(value)
                return ("module", value, "module.py", "class Module:\n    pass\n")

    with open(path, "wb") as out:
        pickle.dump(0x1950a86a20f9469cfc6c, out, protocol=2)
        pickle.dump(1001, out, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True,
                     "type_sizes": {"short": 2, "int": 4, "long": 4}}, out, protocol=2)
        Pickler(out, 2).dump(value)
        pickle.dump(keys, out, protocol=2)
        for numbers in storages:
            out.write(struct.pack("<q", numbers.size) + numbers.tobytes())


class Storage:
    def __init__(self, part):
        self.part = part


class Tensor:
    """torch._utils._rebuild_tensor, as before torch 0.4."""

    def __init__(self, part, offset, size, stride):
        self.arguments = Storage(part), offset, size, stride

    def __reduce__(self):
        return torch._utils._rebuild_tensor, self.arguments


def save_legacy(path):
    base = numpy.arange(24, dtype="<f4") / 8 - 1
    parts = {"shared.whole": Tensor(None, 0, (2, 3, 4), (12, 4, 1)),
             "shared.part": Tensor(("95", 4, 12), 1, (2, 4), (4, 1)),
             "strided.step": Tensor(("96", 1, 23), 0, (5,), (5,))}
    legacy_file(path("legacy-parts.pt"), parts, ["94"], [base])
    module = torch.nn.ParameterDict()
    module._parameters = {name.split(".")[1]: t for name, t in parts.items()}
    legacy_file(path("legacy-module.pt"), {"string_to_param": module}, ["94"], [base])


def save_more(path):
    """Objects beside the weights, modules, and other ways to keep tensors."""
    tensors = state_dict()
    few = {name: tensors[name] for name in ("types.float32", "parameter", "shared.part")}
    for protocol, name in ((2, "objects.ckpt"), (5, "objects5.ckpt")):
        torch.save({**inert_objects(), "state_dict": dict(few)}, path(name), pickle_protocol=protocol)
    torch.save({**few, "dtype": torch.float16, "array": numpy.zeros(2), "epoch": 3},
               path("objects-flat.pt"))
    attributes = {name: t.clone() for name, t in tensors.items()
                  if name in ("types.float32", "types.int64", "scalar")}
    for t in attributes.values():
        t.origin = "x"
    parameter = torch.nn.Parameter(tensors["parameter"].detach().clone())
    parameter.origin = "x"
    torch.save({"state_dict": {**attributes, "parameter": parameter}}, path("attributes.ckpt"))
    vector = tensors["shared.part"].clone()
    torch.save({"string_to_token": {"*": torch.tensor(265)},
                "string_to_param": torch.nn.ParameterDict({"*": vector})}, path("dict-new.pt"))
    torch.save({"string_to_token": {"*": torch.tensor(265)},
                "string_to_param": OldParameterDict({"*": torch.nn.Parameter(vector.clone())})},
               path("dict-old.pt"))
    torch.save({"string_to_token": {"*": torch.tensor(265)},
                "string_to_param": {"*": vector}, "name": "boat", "step": 500}, path("dict-plain.pt"))
    torch.save({"string_to_param": torch.nn.ModuleDict(
        {"boat": torch.nn.ParameterDict({"vector": vector})})}, path("dict-modules.pt"))
    module = torch.nn.Module()
    module.inner = torch.nn.ParameterDict({"whole": tensors["shared.whole"].clone()})
    module.register_buffer("scalar", tensors["scalar"].clone())
    shared = torch.nn.Module()
    shared.shared = module.inner
    torch.save(module, path("module.pt"))
    torch.save({"model": shared}, path("module-within.pt"))
    torch.save({"state_dict": Settings(few)}, path("dict-class.pt"))
    torch.save({768: [{"linear.0.weight": vector}, {"linear.0.weight": vector}], "step": 3,
                "name": "x"}, path("hypernetwork.pt"))
    torch.save(torch.ones(1, 4), path("tensor.pt"))
    values = torch.arange(6).reshape(2, 3)[:, 1:] * 3
    torch.save({str(kind)[6:]: values.to(kind) for kind in (
        torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
        torch.uint16, torch.uint32, torch.uint64)}, path("untyped.pt"))
    save_legacy(path)
    few_legacy = {**inert_objects(), "state_dict": dict(few), "sd.sample_size": "16"}
    torch.save(few_legacy, path("legacy-objects.ckpt"), _use_new_zipfile_serialization=False)


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
    save_more(path)
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
