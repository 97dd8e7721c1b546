"""The three networks of Stable Diffusion at a small size, in plain PyTorch.

Modules are named so that state_dict() has the keys of transformers' CLIPTextModel and diffusers'
UNet2DConditionModel and AutoencoderKL. check.py compares them with those classes.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

TEXT = {"vocab_size": 1024, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "max_position_embeddings": 77}
UNET = {"block_out_channels": [96, 96, 112], "layers_per_block": 1, "attention_head_dim": 4,
        "cross_attention_dim": 128, "norm_num_groups": 16, "sample_size": 32}
VAE = {"block_out_channels": [32, 64, 96, 96], "layers_per_block": 1, "norm_num_groups": 16,
       "latent_channels": 4, "sample_size": 256}
TRAIN_STEPS = 1000


def alphas_cumprod(device="cpu"):
    """SD's schedule: betas = linspace(sqrt(0.00085), sqrt(0.012), 1000)^2."""
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float().to(device)


# ---------------------------------------------------------------------------- text

class TextAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self, name, nn.Linear(width, width))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p(x).view(b, t, self.heads, -1).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(x.transpose(1, 2).reshape(b, t, c))


class TextMlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class TextLayer(nn.Module):
    def __init__(self, width, hidden, heads):
        super().__init__()
        self.self_attn = TextAttention(width, heads)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = TextMlp(width, hidden)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class TextEncoder(nn.Module):
    """CLIP's text tower. ids [n, 77] to [n, 77, width]."""

    def __init__(self, c=TEXT):
        super().__init__()
        width = c["hidden_size"]
        m = self.text_model = nn.Module()
        m.embeddings = nn.Module()
        m.embeddings.token_embedding = nn.Embedding(c["vocab_size"], width)
        m.embeddings.position_embedding = nn.Embedding(c["max_position_embeddings"], width)
        m.encoder = nn.Module()
        m.encoder.layers = nn.ModuleList(
            TextLayer(width, c["intermediate_size"], c["num_attention_heads"])
            for _ in range(c["num_hidden_layers"]))
        m.final_layer_norm = nn.LayerNorm(width)
        nn.init.normal_(m.embeddings.token_embedding.weight, std=0.02)
        nn.init.normal_(m.embeddings.position_embedding.weight, std=0.01)

    def forward(self, ids):
        m = self.text_model
        x = m.embeddings.token_embedding(ids) \
            + m.embeddings.position_embedding.weight[:ids.shape[1]]
        for layer in m.encoder.layers:
            x = layer(x)
        return m.final_layer_norm(x)


# ---------------------------------------------------------------------------- shared blocks

class ResBlock(nn.Module):
    def __init__(self, cin, cout, groups, eps, temb=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, cin, eps)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        if temb:
            self.time_emb_proj = nn.Linear(temb, cout)
        self.norm2 = nn.GroupNorm(groups, cout, eps)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.conv_shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x, temb=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if temb is not None:
            h = h + self.time_emb_proj(temb)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Downsample(nn.Module):
    """Stride 2; the VAE pads on the right and bottom alone."""

    def __init__(self, c, padding):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(c, c, 3, stride=2, padding=padding)

    def forward(self, x):
        return self.conv(x if self.padding else F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Attention(nn.Module):
    def __init__(self, c, context, heads, bias=False):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(c, c, bias=bias)
        self.to_k = nn.Linear(context, c, bias=bias)
        self.to_v = nn.Linear(context, c, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])

    def forward(self, x, context=None):
        context = x if context is None else context
        b, t, c = x.shape
        q, k, v = (p.view(b, -1, self.heads, c // self.heads).transpose(1, 2)
                   for p in (self.to_q(x), self.to_k(context), self.to_v(context)))
        x = F.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](x.transpose(1, 2).reshape(b, t, c))


# ---------------------------------------------------------------------------- UNet

class Geglu(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.proj = nn.Linear(c, 2 * hidden)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.net = nn.ModuleList([Geglu(c, 4 * c), nn.Identity(), nn.Linear(4 * c, c)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, c, context, heads):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(c) for _ in range(3))
        self.attn1 = Attention(c, c, heads)
        self.attn2 = Attention(c, context, heads)
        self.ff = FeedForward(c)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, c, context, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, c, 1e-6)
        self.proj_in = nn.Conv2d(c, c, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(c, context, heads)])
        self.proj_out = nn.Conv2d(c, c, 1)

    def forward(self, x, context):
        b, c, h, w = x.shape
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            y = block(y, context)
        return x + self.proj_out(y.transpose(1, 2).reshape(b, c, h, w))


class TimeEmbedding(nn.Module):
    def __init__(self, c, out):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(c, out), nn.Linear(out, out)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


def timestep_embedding(t, c):
    """[cos, sin] of t at c/2 frequencies."""
    half = c // 2
    freqs = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
    angle = t.float()[:, None] * freqs[None]
    return torch.cat([angle.cos(), angle.sin()], 1)


class UNet(nn.Module):
    """(x [n, 4, h, w], t [n], context [n, 77, width]) to the noise in x."""

    def __init__(self, c=UNET):
        super().__init__()
        widths, layers = c["block_out_channels"], c["layers_per_block"]
        groups, heads, context = c["norm_num_groups"], c["attention_head_dim"], \
            c["cross_attention_dim"]
        self.width = widths[0]
        temb = 4 * widths[0]
        n = len(widths)

        def res(cin, cout):
            return ResBlock(cin, cout, groups, 1e-5, temb)

        def attention(channels):
            return SpatialTransformer(channels, context, heads, groups)

        self.conv_in = nn.Conv2d(4, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], temb)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, current = [widths[0]], widths[0]
        for i, width in enumerate(widths):
            block = nn.Module()
            block.resnets, block.attentions = nn.ModuleList(), nn.ModuleList()
            for _ in range(layers):
                block.resnets.append(res(current, width))
                block.attentions.append(attention(width))
                current = width
                skips.append(current)
            block.downsamplers = nn.ModuleList([Downsample(width, 1)] if i < n - 1 else [])
            if i < n - 1:
                skips.append(current)
            self.down_blocks.append(block)
        self.mid_block = nn.Module()
        self.mid_block.attentions = nn.ModuleList([attention(current)])
        self.mid_block.resnets = nn.ModuleList([res(current, current), res(current, current)])
        for i, width in enumerate(reversed(widths)):
            block = nn.Module()
            block.resnets, block.attentions = nn.ModuleList(), nn.ModuleList()
            for _ in range(layers + 1):
                block.resnets.append(res(current + skips.pop(), width))
                block.attentions.append(attention(width))
                current = width
            block.upsamplers = nn.ModuleList([Upsample(width)] if i < n - 1 else [])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(groups, current, 1e-5)
        self.conv_out = nn.Conv2d(current, 4, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        for m in self.modules():
            if isinstance(m, ResBlock):
                nn.init.zeros_(m.conv2.weight)
            if isinstance(m, SpatialTransformer):
                nn.init.zeros_(m.proj_out.weight)

    def forward(self, x, t, context):
        temb = F.silu(self.time_embedding(timestep_embedding(t, self.width).to(x.dtype)))
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for res, attention in zip(block.resnets, block.attentions):
                x = attention(res(x, temb), context)
                skips.append(x)
            for down in block.downsamplers:
                x = down(x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, temb)
        x = self.mid_block.attentions[0](x, context)
        x = self.mid_block.resnets[1](x, temb)
        for block in self.up_blocks:
            for res, attention in zip(block.resnets, block.attentions):
                x = attention(res(torch.cat([x, skips.pop()], 1), temb), context)
            for up in block.upsamplers:
                x = up(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


# ---------------------------------------------------------------------------- VAE

class VaeAttention(Attention):
    def __init__(self, c, groups):
        super().__init__(c, c, 1, bias=True)
        self.group_norm = nn.GroupNorm(groups, c, 1e-6)

    def forward(self, x):
        b, c, h, w = x.shape
        y = super().forward(self.group_norm(x).flatten(2).transpose(1, 2))
        return x + y.transpose(1, 2).reshape(b, c, h, w)


def vae_mid(c, groups):
    mid = nn.Module()
    mid.attentions = nn.ModuleList([VaeAttention(c, groups)])
    mid.resnets = nn.ModuleList([ResBlock(c, c, groups, 1e-6) for _ in range(2)])
    return mid


def run_mid(mid, x):
    return mid.resnets[1](mid.attentions[0](mid.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, widths, layers, groups, latent):
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        current = widths[0]
        for i, width in enumerate(widths):
            block = nn.Module()
            block.resnets = nn.ModuleList()
            for _ in range(layers):
                block.resnets.append(ResBlock(current, width, groups, 1e-6))
                current = width
            last = i == len(widths) - 1
            block.downsamplers = nn.ModuleList([] if last else [Downsample(width, 0)])
            self.down_blocks.append(block)
        self.mid_block = vae_mid(current, groups)
        self.conv_norm_out = nn.GroupNorm(groups, current, 1e-6)
        self.conv_out = nn.Conv2d(current, 2 * latent, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            for m in list(block.resnets) + list(block.downsamplers):
                x = m(x)
        return self.conv_out(F.silu(self.conv_norm_out(run_mid(self.mid_block, x))))


class Decoder(nn.Module):
    def __init__(self, widths, layers, groups, latent):
        super().__init__()
        current = widths[-1]
        self.conv_in = nn.Conv2d(latent, current, 3, padding=1)
        self.mid_block = vae_mid(current, groups)
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(reversed(widths)):
            block = nn.Module()
            block.resnets = nn.ModuleList()
            for _ in range(layers + 1):
                block.resnets.append(ResBlock(current, width, groups, 1e-6))
                current = width
            last = i == len(widths) - 1
            block.upsamplers = nn.ModuleList([] if last else [Upsample(width)])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(groups, current, 1e-6)
        self.conv_out = nn.Conv2d(current, 3, 3, padding=1)

    def forward(self, z):
        x = run_mid(self.mid_block, self.conv_in(z))
        for block in self.up_blocks:
            for m in list(block.resnets) + list(block.upsamplers):
                x = m(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Vae(nn.Module):
    def __init__(self, c=VAE):
        super().__init__()
        args = (c["block_out_channels"], c["layers_per_block"], c["norm_num_groups"],
                c["latent_channels"])
        latent = c["latent_channels"]
        self.encoder, self.decoder = Encoder(*args), Decoder(*args)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, x):
        """x in [-1, 1]: mean and logvar of the latent."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, 1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))

    def forward(self, x):
        mean, logvar = self.encode(x)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return self.decode(z), mean, logvar


def count(module):
    return sum(p.numel() for p in module.parameters())


# ---------------------------------------------------------------------------- sampling

def timesteps(steps, spacing):
    """The sampler's timesteps, ascending: 'leading' as in the original, or 'trailing'."""
    if spacing == "leading":
        return [t + 1 for t in range(0, TRAIN_STEPS, TRAIN_STEPS // steps)]
    return sorted(round(TRAIN_STEPS - i * TRAIN_STEPS / steps) - 1 for i in range(steps))


@torch.no_grad()
def ddim(unet, text, ids, empty, noise, steps=20, scale=5.0, spacing="leading"):
    """DDIM, eta 0: leading timesteps are 1, 51, ... 951 for 20 steps, trailing 49, 99, ... 999."""
    a = alphas_cumprod(noise.device)
    ts = timesteps(steps, spacing)
    context = torch.cat([text(empty.expand(len(ids), -1)), text(ids)])
    x = noise
    for i in reversed(range(steps)):
        t = torch.full((2 * len(ids),), ts[i], device=noise.device)
        e0, e1 = unet(torch.cat([x, x]), t, context).float().chunk(2)
        e = e0 + scale * (e1 - e0)
        now, before = a[ts[i]], a[ts[i - 1]] if i else a[0]
        x0 = (x - (1 - now).sqrt() * e) / now.sqrt()
        x = before.sqrt() * x0 + (1 - before).sqrt() * e
    return x
