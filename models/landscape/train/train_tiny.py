"""Distils the first stage into an AutoencoderTiny (TAESD): previews at a small part of its cost.

    python train_tiny.py --out runs/tiny [--seconds 300]      then: --export ../taesd

The decoder learns what the VAE makes of a latent, of drawings and of latents with noise and blur in
them, as a sampler's prediction has; the encoder learns the mean of the VAE's posterior. Latents are
scaled to unit variance, as samplers have them. Needs diffusers.
"""
import argparse
import os
import time

import diffusers
import torch
import torch.nn.functional as F

import common
import draw
import scene
import train_vae

SEED = 303
HELD_OUT_SEED = 900007
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
EDGE_WEIGHT, SQUARE_WEIGHT = 0.5, 8.0
SIZES = {"encoder_block_out_channels": [32] * 4, "decoder_block_out_channels": [48] * 4,
         "num_encoder_blocks": [1, 2, 2, 2], "num_decoder_blocks": [2, 2, 2, 1]}


def load_teacher(device):
    vae = diffusers.AutoencoderKL.from_pretrained(os.path.join(FOLDER, "vae"),
                                                  torch_dtype=torch.float32)
    return vae.to(device).eval().requires_grad_(False)


def drawings(n, seed, device):
    """uint8 [n, 3, 256, 256]"""
    p = draw.draw(scene.sample(n, seed), seed, device)
    return (p * 255 + 0.5).byte()


def disturbed(z):
    """A quarter of latents with noise, a quarter blurred: as predictions early in a run are."""
    kind = torch.rand(len(z), 1, 1, 1, device=z.device)
    amount = torch.rand(len(z), 1, 1, 1, device=z.device)
    blurred = F.avg_pool2d(z, 3, 1, 1, count_include_pad=False)
    z = torch.where(kind < 0.25, z + 0.4 * amount * torch.randn_like(z), z)
    return torch.where(kind > 0.75, torch.lerp(z, blurred, amount), z)


@torch.no_grad()
def teach(vae, n, seed, device, batch=128):
    """Pictures, the means of their latents, latents to decode, and what the VAE makes of them."""
    out = []
    for i in range(0, n, batch):
        x = drawings(min(batch, n - i), seed + i, device)
        d = vae.encode(x.float() / 127.5 - 1).latent_dist
        z = disturbed(d.sample() * vae.config.scaling_factor)
        y = vae.decode(z / vae.config.scaling_factor).sample
        y = ((y + 1) * 127.5).clamp(0, 255).round().byte()
        out.append((x, (d.mean * vae.config.scaling_factor).half(), z.half(), y))
    return [torch.cat(parts) for parts in zip(*out)]


def loss_of(tiny, x, mean, z, y):
    d = tiny.decoder(z).float() - y
    e = tiny.encoder(x).float() - mean
    square = (d * d).mean()
    latent = (e * e).mean()
    return d.abs().mean() + SQUARE_WEIGHT * square + EDGE_WEIGHT * train_vae.edges(d) + latent, \
        square.detach(), latent.detach()


@torch.no_grad()
def measure(tiny, vae, pictures):
    """PSNR of each picture's decode against the VAE's, and of its own latent's, in 8 bits."""
    def bytes_of(y):
        return ((y + 1) * 127.5).clamp(0, 255).round()

    def psnr(a, b):
        return 10 * torch.log10(255 ** 2 / ((a - b) ** 2).mean((1, 2, 3)).clamp(min=1e-3))
    decode, whole = [], []
    for x in pictures.split(32):
        x = x.float() / 127.5 - 1
        mean = vae.encode(x).latent_dist.mean
        y = bytes_of(vae.decode(mean).sample)
        decode.append(psnr(bytes_of(tiny.decode(mean * vae.config.scaling_factor).sample), y))
        whole.append(psnr(bytes_of(tiny.decode(tiny.encode(x).latents).sample), bytes_of(x)))
    return torch.cat(decode), torch.cat(whole)


def export(tiny, folder):
    tiny.half().save_pretrained(folder)
    print(folder, [os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)])


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", required=True)
    a.add_argument("--steps", type=int, default=100000)
    a.add_argument("--seconds", type=float, default=300)
    a.add_argument("--pictures", type=int, default=40000)
    a.add_argument("--batch", type=int, default=32)
    a.add_argument("--rate", type=float, default=2e-3)
    a.add_argument("--held-out", type=int, default=512)
    a.add_argument("--export", help="folder to write in diffusers' layout, float16")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    vae = load_teacher(device)
    begin = time.time()
    data = teach(vae, a.pictures, SEED * 1000003, device)
    print(f"taught: {a.pictures} in {time.time() - begin:.1f} s", flush=True)
    tiny = diffusers.AutoencoderTiny(**SIZES).to(device).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in tiny.parameters()):,} parameters", flush=True)
    ema = common.Average(tiny, 0.999)
    optimiser = torch.optim.AdamW(tiny.parameters(), lr=a.rate, betas=(0.9, 0.99),
                                  weight_decay=0.001, fused=device == "cuda")
    run = common.compiled(loss_of, device == "cuda")
    log = common.Log(os.path.join(a.out, "log.csv"), ["step", "seconds", "loss", "psnr", "latent"])
    clock, sums, since, step = common.Clock(a.steps, a.seconds), torch.zeros(3, device=device), 0, 0
    while step < a.steps and clock.elapsed() < a.seconds:
        pick = torch.randint(0, len(data[0]), (a.batch,), device=device)
        x, mean, z, y = (part[pick].float() for part in data)
        with torch.autocast(device, torch.bfloat16):
            loss, square, latent = run(tiny, x / 127.5 - 1, mean, z, y / 127.5 - 1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = common.rate(clock.progress(step), step, a.rate)
        optimiser.step()
        ema.update(step)
        sums += torch.stack([loss.detach(), square, latent])
        since += 1
        step += 1
        if step == 5:
            clock.start()  # the compiler's time is not training
        if step % 200 == 0 or step == a.steps:
            loss, square, latent = (sums / since).tolist()
            log.row(step, round(clock.elapsed(), 1), loss, -10 * torch.tensor(square / 4).log10()
                    .item(), latent)
            sums, since = torch.zeros(3, device=device), 0
    tiny.load_state_dict({**tiny.state_dict(), **ema.state()})
    tiny = tiny.half().float().eval()  # as it is kept
    pictures = drawings(a.held_out, HELD_OUT_SEED, device)
    decode, whole = measure(tiny, vae, pictures)
    print(f"held out: decode against the VAE's, mean {decode.mean():.2f} dB, worst "
          f"{decode.min():.2f}; of its own latents against the drawing {whole.mean():.2f} dB",
          flush=True)
    from PIL import Image
    with torch.no_grad():
        z = vae.encode(pictures[:24].float() / 127.5 - 1).latent_dist.mean
        both = torch.stack([vae.decode(z).sample,
                            tiny.decode(z * vae.config.scaling_factor).sample], 1).flatten(0, 1)
    Image.fromarray(draw.sheet(both.clamp(-1, 1) / 2 + 0.5, 8)).save(
        os.path.join(a.out, "sheet.png"))
    if a.export:
        export(tiny, a.export)


if __name__ == "__main__":
    main()
