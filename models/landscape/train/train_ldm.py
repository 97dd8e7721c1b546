"""Trains text encoder and UNet together on the latents of drawings.

    python train_ldm.py --vae runs/vae/vae --out runs/ldm [--steps 8000] [--seconds 700] [--resume]
    python train_ldm.py --vae .. --init .. --out runs/tune --rate 4e-4      goes on from a model

Writes runs/ldm/ldm.* (EMA weights; also after 60% of the run), last.* (for --resume), log.csv and
sheet.png. --cache keeps the encoded drawings in a folder, so that a run that goes on need not draw
them again; --workers processes draw and encode while the training step is being compiled.

SD's schedule does not end in noise: at timestep 999 a picture's mean brightness is still to be read
from what is left of it, and a network trained on that needs no text there; at sampling, where there
is only noise, it sees a grey picture. So from timestep TOP on, a share of the inputs is noise alone
(--pure), with the target that makes the picture of it, and errors count as those of the picture.
Guidance then exaggerates what the first step sees, and that stays in the sampler's noise: a share
(--excess) of all inputs has noise with such an excess of the picture's large shapes.

Which side the sun is on is a small part of a picture, and neither the words nor the place in the
picture matter until both are known: that is not learned unaided. So where the input is noise alone,
what is on the side that the caption names is at first exaggerated (--sides) by a large soft shape,
and that fades once the network paints it.
"""
import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import bpe
import captions
import common
import draw
import exported
import networks
import scene

SEED = 202
TUNE_SEED = 212  # of other drawings, for --init
BATCH = 512
PEAK_RATE = 8e-4
EMA = 0.999
EMPTY = 0.10  # captions left empty, for guidance
SNR_CAP = 5.0  # min-SNR weights (Hang et al. 2023)
TOP = 880  # timesteps from here on may be a sampler's first
EXCESS = 0.45  # the largest: sqrt(alphas_cumprod[901]) times guidance 5 less 1
CAPTIONS = 4  # of each drawing
TOKENIZER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tokenizer")
DRAW_BATCH = 1024
LOG_STEPS = 50
SHOW = [
    "A fantasy landscape with snowy mountains and a red sun over a lake at dusk",
    "a red boat on the sea at dawn", "a city skyline at night with a yellow moon on the left",
    "three blue houses in the hills by day, pixel art", "a forest in autumn, watercolour",
    "a castle in a snowfield under a starry sky", "desert dunes with two green balloons at noon",
    "a mountain lake in fog, pencil sketch", "a windmill and a rainbow over rolling hills",
    "the sea at night with an orange moon on the right and stars",
    "a white sun on the left over a forest at sunset", "a city in the rain at dusk",
    "two yellow boats on a lake by day", "snowy mountains by day with a red balloon",
    "hills at dawn, watercolour, a white castle", "a green tree in the desert at night",
]


def captions_of(task):
    """Token ids of the captions of one batch of scenes: uint16 [m, CAPTIONS, 77]."""
    m, seed, folder = task
    tokenizer, r = bpe.load(folder), random.Random(seed)
    s = scene.sample(m, seed)
    ids = [[tokenizer.encode(captions.caption(r, captions.names(s, i))) for _ in range(CAPTIONS)]
           for i in range(m)]
    return np.array(ids, dtype=np.uint16)


def tasks_of(pictures, seed=SEED):
    return [(min(DRAW_BATCH, pictures - i), seed * 1000003 + i, TOKENIZER)
            for i in range(0, pictures, DRAW_BATCH)]


@torch.no_grad()
def encode(vae, std, task, device, thumbnails=None):
    """Latents of a task's drawings, sampled and scaled to unit variance: half."""
    m, seed, _ = task
    p = draw.draw(scene.sample(m, seed), seed, device) * 2 - 1
    if thumbnails:
        small = F.avg_pool2d(p / 2 + 0.5, 2)
        torch.save((small * 255 + 0.5).byte().cpu(), thumbnails)
    out = []
    for x in p.split(256):
        with torch.autocast(device, torch.bfloat16):
            mean, logvar = vae.encode(x.contiguous(memory_format=torch.channels_last))
        z = mean.float() + torch.exp(0.5 * logvar.float()) * torch.randn_like(mean.float())
        out.append((z / std).half())
    return torch.cat(out)


def load_vae(path, device):
    vae, std = exported.load_vae(path, device)
    return vae.to(memory_format=torch.channels_last), std


def work(a, device):
    """One of --workers processes: every so manieth task into the cache, some with thumbnails."""
    torch.manual_seed(SEED + 1 + a.worker)
    vae, std = load_vae(a.vae, device)
    for i, task in list(enumerate(tasks_of(a.pictures, a.seed)))[a.worker::a.workers]:
        small = os.path.join(a.cache, f"small.{i}.pt") if i < a.thumbnails else None
        z = encode(vae, std, task, device, small)
        torch.save(z.cpu(), os.path.join(a.cache, f"z.{i}.tmp"))
        os.rename(os.path.join(a.cache, f"z.{i}.tmp"), os.path.join(a.cache, f"z.{i}.pt"))


def start_workers(a):
    os.makedirs(a.cache, exist_ok=True)
    done = all(os.path.exists(os.path.join(a.cache, f"z.{i}.pt"))
               for i in range(len(tasks_of(a.pictures))))
    return [] if done else [
        subprocess.Popen([sys.executable, os.path.abspath(__file__), "--vae", a.vae, "--out", a.out,
                          "--cache", a.cache, "--pictures", str(a.pictures), "--seed",
                          str(a.seed), "--thumbnails", str(a.thumbnails), "--workers",
                          str(a.workers), "--worker", str(i)])
        for i in range(a.workers)]


def read_cache(a, device):
    parts = [torch.load(os.path.join(a.cache, f"z.{i}.pt"), weights_only=True)
             for i in range(len(tasks_of(a.pictures)))]
    return torch.cat(parts).to(device)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.unet = networks.TextEncoder(), networks.UNet()

    def forward(self, x, t, ids):
        return self.unet(x, t, self.text(ids))


@torch.no_grad()
def show(model, vae, std, tokenizer, device, path, steps=20, scale=5.0):
    from PIL import Image
    ids = torch.tensor([tokenizer.encode(t) for t in SHOW], device=device)
    empty = torch.tensor([tokenizer.encode("")], device=device)
    g = torch.Generator(device=device)
    g.manual_seed(7)
    noise = torch.randn(len(SHOW), 4, 32, 32, generator=g, device=device)
    z = networks.ddim(model.unet, model.text, ids, empty, noise, steps, scale)
    p = torch.cat([vae.decode(v * std) for v in z.split(8)])
    Image.fromarray(draw.sheet(p / 2 + 0.5, 4)).save(path)


class Sides:
    """The exaggeration of a named side: how much of it, and when it fades."""

    LEARNED, LAST_BEGIN, FADE = 0.7, 0.45, 0.3  # of the shape; of the run

    def __init__(self, amount, tokenizer, device):
        self.full = self.amount = amount
        self.left, self.right = (tokenizer.encode(side)[1] for side in ("left", "right"))
        axis = (torch.arange(32, device=device) + 0.5) / 32
        blobs = [torch.exp(-((axis[None] - x) ** 2 + (axis[:, None] - 0.2) ** 2) / (2 * 0.2 ** 2))
                 for x in (0.24, 0.76)]
        self.shape = (blobs[0] - blobs[1]).expand(4, 32, 32)
        self.begin = None

    def sign(self, ids):
        """1: left is named, -1: right, 0: neither. [n]"""
        return (ids == self.left).any(1).float() - (ids == self.right).any(1).float()

    def exaggerated(self, z, sign, pure):
        """Lopsided, so that the network finds left from right before it knows the words."""
        size = self.amount * (sign + 0.5) * sign.abs() * pure
        return z + size.view(-1, 1, 1, 1) * self.shape

    def measure(self, picture, sign):
        """Sum over the batch of how much of the shape is on the named side."""
        return ((picture * self.shape).sum((1, 2, 3)) * sign).sum() / (self.shape ** 2).sum()

    def fade(self, learned, progress):
        """learned: the share of the shape that the network paints."""
        if self.begin is None and (learned > self.LEARNED or progress > self.LAST_BEGIN):
            self.begin = progress
        if self.begin is not None:
            self.amount = self.full * max(0.0, 1 - (progress - self.begin) / self.FADE)

    def state(self):
        return {"amount": self.amount, "begin": self.begin}

    def restore(self, state):
        self.amount, self.begin = state["amount"], state["begin"]


class Objective:
    """The loss of one batch, and what it is a batch of."""

    SUMS = 7

    def __init__(self, a, model, sides, device):
        self.model, self.sides, self.device = model, sides, device
        self.mean = torch.zeros(4, 32, 32, device=device)  # of all latents
        self.top, self.pure, self.excess = a.top, a.pure, a.excess
        self.schedule = networks.alphas_cumprod(device)
        snr = self.schedule / (1 - self.schedule)
        self.weight = snr.clamp(max=SNR_CAP) / snr  # on the squared error of the noise
        if a.pure > 0:  # x0's squared error, the same at each timestep
            self.weight[TOP:] = a.top_weight / snr[TOP:]

    def timesteps(self, n):
        """Uniform, but a share `top` of them from TOP on; which of those see noise alone."""
        t = torch.randint(0, networks.TRAIN_STEPS, (n,), device=self.device)
        if self.pure <= 0:
            return t, torch.zeros(n, dtype=torch.bool, device=self.device)
        high = torch.randint(TOP, networks.TRAIN_STEPS, (n,), device=self.device)
        t = torch.where(torch.rand(n, device=self.device) < self.top, high, t)
        return t, (t >= TOP) & (torch.rand(n, device=self.device) < self.pure)

    def noise(self, z, pure):
        """Noise [n, 4, 32, 32], in a share of the batch with some of the picture in it."""
        n = len(z)
        size = torch.rand(n, device=self.device) * EXCESS \
            * ((torch.rand(n, device=self.device) < self.excess) & ~pure)
        shapes = F.interpolate(F.avg_pool2d(z - self.mean, 4), scale_factor=4, mode="bilinear")
        return torch.randn_like(z) + size.view(-1, 1, 1, 1) * shapes

    def loss(self, z, e, t, pure, ids):
        """z, e: [n, 4, 32, 32]; t, pure: [n]; ids: [n, 77]. Also the sums that are logged."""
        abar = self.schedule[t].view(-1, 1, 1, 1)
        x = torch.where(pure.view(-1, 1, 1, 1), e, abar.sqrt() * z + (1 - abar).sqrt() * e)
        target = (x - abar.sqrt() * z) / (1 - abar).sqrt()  # e, unless x is noise alone
        d = self.model(x, t, ids).float() - target
        square = (d * d).mean((1, 2, 3))
        with torch.no_grad():
            other = (t < TOP).float()
            scale = ((1 - abar) / abar).sqrt()
            picture, sign = z - scale * d, self.sides.sign(ids) * pure
            sums = torch.stack([
                (square * self.weight[t]).mean(), (square * other).sum(), other.sum(),
                (square * scale.view(-1) ** 2 * pure).sum(), pure.float().sum(),
                self.sides.measure(picture, sign), self.sides.measure(z, sign)])
        return (square * self.weight[t]).mean(), sums


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("--vae", required=True, help="a checkpoint or an exported folder")
    a.add_argument("--out", required=True)
    a.add_argument("--init", help="an exported folder or a checkpoint to go on from")
    a.add_argument("--seed", type=int, help="of drawings, captions and noise")
    a.add_argument("--pure", type=float, default=0.6,
                   help="share of noise alone at the last timesteps; 0: as SD was trained")
    a.add_argument("--top", type=float, default=0.3, help="share of timesteps drawn from those")
    a.add_argument("--top-weight", type=float, default=0.25,
                   help="weight of the picture's error there")
    a.add_argument("--excess", type=float, default=0.3, help="share of noise with an excess")
    a.add_argument("--sides", type=float, default=4.0, help="how much a side is exaggerated")
    a.add_argument("--steps", type=int, default=8000)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--by", type=float, help="in place of --seconds: end so long after the start")
    a.add_argument("--until", type=int, default=1 << 30, help="stop here, short of --steps")
    a.add_argument("--pause", type=float, default=1e9,
                   help="stop these seconds after the start, to resume")
    a.add_argument("--pictures", type=int, default=300000)
    a.add_argument("--batch", type=int, default=BATCH)
    a.add_argument("--rate", type=float, default=PEAK_RATE)
    a.add_argument("--cache", required=True)
    a.add_argument("--workers", type=int, default=4)
    a.add_argument("--worker", type=int, default=-1, help="be this one of them")
    a.add_argument("--thumbnails", type=int, default=0,
                   help="keep 128x128 pictures of so many batches for evaluate.py")
    a.add_argument("--state", help="where last.* goes, if not to --out")
    a.add_argument("--resume", action="store_true")
    a.add_argument("--no-compile", action="store_true")
    a = a.parse_args()
    if a.seed is None:
        a.seed = TUNE_SEED if a.init else SEED
    return a


class Training:
    """Model, average and optimiser of a run, and what it writes."""

    def __init__(self, a, tokenizer, std, device):
        self.a, self.std, self.device = a, std, device
        self.empty = torch.tensor(tokenizer.encode(""), device=device)
        model = Model().to(device)
        if a.init:
            model.load_state_dict(exported.ldm(a.init, device)[0])
        self.model = model.to(memory_format=torch.channels_last)
        self.ema = common.Average(self.model, EMA)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=a.rate, betas=(0.9, 0.99),
                                           weight_decay=0.01, fused=device == "cuda")
        self.sides = Sides(a.sides, tokenizer, device)
        self.step, self.before = 0, 0.0  # seconds, of the runs that this one goes on from
        self.state = os.path.join(a.state or a.out, "last")
        if a.resume and common.exists(self.state):
            self.restore(common.load(self.state, device))
        self.objective = Objective(a, self.model, self.sides, device)
        self.loss = common.compiled(self.objective.loss, device == "cuda" and not a.no_compile)

    def restore(self, saved):
        self.model.load_state_dict(saved["raw"])
        self.ema.restore(saved["ema"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.sides.restore(saved["sides"])
        self.step, self.before = saved["step"], saved["elapsed"]

    def save(self, elapsed):
        """For --resume."""
        os.makedirs(os.path.dirname(self.state), exist_ok=True)
        raw = {k: v.detach() for k, v in self.model.state_dict().items()}
        common.save(self.state, {"raw": raw, "ema": self.ema.state(), "step": self.step,
                                 "elapsed": elapsed, "optimiser": self.optimiser.state_dict(),
                                 "sides": self.sides.state()})

    def write_average(self):
        common.save(os.path.join(self.a.out, "ldm"),
                    {"model": common.half(self.ema.state()), "step": self.step, "std": self.std})

    def warm_up(self):
        """Two steps for the compiler, while the workers draw."""
        n = self.a.batch
        for _ in range(2):
            with torch.autocast(self.device, torch.bfloat16):
                x = torch.randn(n, 4, 32, 32, device=self.device)
                x = x.contiguous(memory_format=torch.channels_last)
                t = torch.full((n,), 500, device=self.device)
                loss, _ = self.loss(x, torch.randn_like(x), t, t > 500,
                                    self.empty.expand(n, -1).contiguous())
            loss.backward()
        self.optimiser.zero_grad(set_to_none=True)

    def batch(self, z, ids):
        """Latents, noise, timesteps, whether the input is noise alone, token ids."""
        n = self.a.batch
        pick = torch.randint(0, len(z), (n,), device=self.device)
        word = ids[pick, torch.randint(0, CAPTIONS, (n,), device=self.device)].long()
        word = torch.where(torch.rand(n, 1, device=self.device) < EMPTY, self.empty, word)
        x = z[pick].float().contiguous(memory_format=torch.channels_last)
        t, pure = self.objective.timesteps(n)
        e = self.objective.noise(x, pure)
        return self.sides.exaggerated(x, self.sides.sign(word), pure), e, t, pure, word

    def train_step(self, z, ids, clock):
        """One step; the sums to be logged, and the rate."""
        batch = self.batch(z, ids)
        with torch.autocast(self.device, torch.bfloat16):
            loss, sums = self.loss(*batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = common.rate(clock.progress(self.step), self.step, self.a.rate)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.ema.update(self.step)
        self.step += 1
        return sums, rate

    def train(self, z, ids, clock, stop):
        """Until --steps, --until or --seconds, or until the clock shows `stop`."""
        a = self.a
        # mse: of the noise before TOP; first: of the picture, where the input is noise alone; side:
        # the share of the named side's shape that is painted there (little but chance once nothing
        # is exaggerated); exaggerated: by so much.
        log = common.Log(os.path.join(a.out, "log.csv"),
                         ["step", "seconds", "loss", "mse", "first", "side", "exaggerated", "rate"])
        sums, since = torch.zeros(Objective.SUMS, device=self.device), 0
        halfway = False
        while self.step < min(a.steps, a.until) and clock.elapsed() < min(a.seconds, stop):
            value, rate = self.train_step(z, ids, clock)
            sums += value
            since += 1
            if self.step % LOG_STEPS == 0:
                loss, mse, others, first, pures, painted, there = sums.tolist()
                learned = painted / there if there else 0.0
                log.row(self.step, round(clock.elapsed(), 1), loss / since, mse / max(others, 1),
                        first / max(pures, 1), learned, self.sides.amount, rate)
                self.sides.fade(learned, clock.progress(self.step))
                sums, since = torch.zeros(Objective.SUMS, device=self.device), 0
            if not halfway and clock.progress(self.step) > 0.6:
                halfway = True
                self.write_average()


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if a.worker >= 0:
        return work(a, device)
    begin = time.time()
    workers = start_workers(a)
    pool = multiprocessing.get_context("fork").Pool(max(1, (os.cpu_count() or 2) - 6))
    words = pool.map_async(captions_of, tasks_of(a.pictures, a.seed))
    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    tokenizer = bpe.load(TOKENIZER)
    vae, std = load_vae(a.vae, device)
    training = Training(a, tokenizer, std, device)
    training.warm_up()
    print(f"compiled after {time.time() - begin:.1f} s", flush=True)
    if any(w.wait() for w in workers):
        raise SystemExit("a worker failed")
    print(f"encoded after {time.time() - begin:.1f} s", flush=True)
    ids = torch.from_numpy(np.concatenate(words.get()).astype(np.int16)).to(device)
    pool.terminate()
    z = read_cache(a, device)
    model = training.model
    print(f"{networks.count(model):,} parameters, {len(z)} latents, "
          f"std {z[:4096].float().std():.3f}, ready after {time.time() - begin:.1f} s", flush=True)
    training.objective.mean = z.float().mean(0)
    if a.by:
        a.seconds = training.before + a.by - (time.time() - begin)
    clock = common.Clock(a.steps, a.seconds)
    clock.begin = time.time() - training.before
    training.train(z, ids, clock, clock.elapsed() + a.pause - (time.time() - begin))
    training.write_average()
    training.save(clock.elapsed())
    model.load_state_dict({**model.state_dict(), **training.ema.state()})
    model.eval()
    show(model, vae, std, tokenizer, device, os.path.join(a.out, "sheet.png"))


if __name__ == "__main__":
    main()
