"""What the training scripts share: checkpoints, moving averages, logs."""
import io
import os
import time

import torch

PART = 15 * 1024 * 1024  # checkpoints are written in parts of this many bytes


def save(path, value):
    """torch.save into path.0, path.1, ..."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    data = buffer.getvalue()
    for i in range(0, len(data), PART):
        with open(f"{path}.{i // PART}", "wb") as f:
            f.write(data[i:i + PART])


def exists(path):
    return bool(path) and os.path.exists(path + ".0")


def load(path, device="cpu"):
    data, i = b"", 0
    while os.path.exists(f"{path}.{i}"):
        with open(f"{path}.{i}", "rb") as f:
            data += f.read()
        i += 1
    return torch.load(io.BytesIO(data), map_location=device, weights_only=True)


def half(state):
    return {k: v.half() for k, v in state.items()}


def floats(state):
    return {k: v.float() for k, v in state.items()}


class Average:
    """Exponential moving average of a module's parameters; its memory grows with the steps."""

    def __init__(self, module, decay):
        self.decay = decay
        self.of = [p for p in module.parameters()]
        self.mean = [p.detach().clone() for p in self.of]
        self.names = [n for n, _ in module.named_parameters()]

    @torch.no_grad()
    def update(self, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self.of, 1 - decay)

    def state(self):
        return dict(zip(self.names, self.mean))

    def restore(self, state):
        for name, p in zip(self.names, self.mean):
            p.copy_(state[name])


class Clock:
    """Progress of a run that ends after `steps` or `seconds`, whichever is first."""

    def __init__(self, steps, seconds):
        self.steps, self.seconds, self.begin = steps, seconds, time.time()

    def start(self):
        self.begin = time.time()

    def elapsed(self):
        return time.time() - self.begin

    def progress(self, step):
        return max(step / self.steps, self.elapsed() / self.seconds)


def rate(progress, step, peak, warm=200, floor=0.02):
    """Learning rate: a linear warm-up, flat for the first half, then a cosine down to the floor."""
    import math
    p = min(max((progress - 0.4) / 0.6, 0.0), 1.0)
    return peak * min(1.0, (step + 1) / warm) * (floor + (1 - floor) * 0.5
                                                 * (1 + math.cos(math.pi * p)))


def compiled(function, on):
    """torch.compile, or the function itself where the compiler fails."""
    if not on:
        return function
    fast = torch.compile(function)
    state = {"run": fast}

    def run(*args):
        try:
            return state["run"](*args)
        except Exception as error:  # the compiler's own failures are of many kinds
            if state["run"] is function:
                raise
            print("not compiled:", str(error)[:2000], flush=True)
            state["run"] = function
            return function(*args)
    return run


class Log:
    """A CSV of numbers, also printed."""

    def __init__(self, path, names):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        new = not os.path.exists(path)
        self.file = open(path, "a")
        if new:
            self.file.write(",".join(names) + "\n")

    def row(self, *values):
        line = ",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values)
        self.file.write(line + "\n")
        self.file.flush()
        print(line, flush=True)
