"""The networks of latent diffusion's YAML configs in plain PyTorch, with the original code's
state-dict names, for make_ldm_golden.py and prove_configs.py."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

N_TOKENS = 77

# ------------------------------------------------------------------------------ small modules


def norm(channels, eps=1e-5):
    return nn.GroupNorm(32, channels, eps=eps)


def conv(n_in, n_out, kernel=3, stride=1, padding=None):
    return nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2 if padding is None else padding)


def attend(q, k, v, heads):
    """[n, t, heads * d] each."""
    q, k, v = (x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def named(**children):
    m = nn.Module()
    for name, child in children.items():
        m.add_module(name, child)
    return m


# ------------------------------------------------------------------------------ UNetModel


class ResBlock(nn.Module):
    def __init__(self, n_in, n_out, emb, scale_shift, size=None):
        super().__init__()
        self.scale_shift, self.size = scale_shift, size
        self.in_layers = nn.Sequential(norm(n_in), nn.SiLU(), conv(n_in, n_out))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, (1 + scale_shift) * n_out))
        self.out_layers = nn.Sequential(norm(n_out), nn.SiLU(), nn.Dropout(0), conv(n_out, n_out))
        self.skip_connection = nn.Identity() if n_in == n_out else conv(n_in, n_out, 1)

    def resize(self, x):
        if self.size == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2) if self.size == "up" else x

    def forward(self, x, emb, context):
        h = self.in_layers[2](self.resize(self.in_layers[:2](x)))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resize(x)) + h


class AttentionBlock(nn.Module):
    def __init__(self, channels, heads, new_order):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, emb, context):
        n, c = x.shape[:2]
        tokens = x.flatten(2)
        qkv = self.qkv(self.norm(tokens)).transpose(1, 2)  # [n, t, 3c]
        if self.new_order:
            q, k, v = qkv.chunk(3, dim=-1)
        else:  # heads outside, then q, k, v
            q, k, v = (p.flatten(2) for p in
                       qkv.reshape(n, -1, self.heads, 3, c // self.heads).unbind(3))
        out = self.proj_out(attend(q, k, v, self.heads).transpose(1, 2))
        return (tokens + out).reshape(x.shape)


class CrossAttention(nn.Module):
    def __init__(self, channels, context, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(0))

    def forward(self, x, context):
        return self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class TransformerBlock(nn.Module):
    def __init__(self, channels, context, heads):
        super().__init__()
        self.attn1 = CrossAttention(channels, channels, heads)
        self.ff = named(net=nn.Sequential(named(proj=nn.Linear(channels, 8 * channels)),
                                          nn.Dropout(0), nn.Linear(4 * channels, channels)))
        self.attn2 = CrossAttention(channels, context, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x, context):
        a = self.norm1(x)
        x = x + self.attn1(a, a)
        x = x + self.attn2(self.norm2(x), context)
        value, gate = self.ff.net[0].proj(self.norm3(x)).chunk(2, dim=-1)
        return x + self.ff.net[2](value * F.gelu(gate))


class SpatialTransformer(nn.Module):
    def __init__(self, channels, context, heads, depth, linear):
        super().__init__()
        self.linear = linear
        self.norm = norm(channels, 1e-6)
        make = (lambda: nn.Linear(channels, channels)) if linear else (
            lambda: conv(channels, channels, 1))
        self.proj_in = make()
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, context, heads) for _ in range(depth))
        self.proj_out = make()

    def forward(self, x, emb, context):
        h = self.norm(x)
        tokens = lambda t: t.flatten(2).transpose(1, 2)
        h = self.proj_in(tokens(h)) if self.linear else tokens(self.proj_in(h))
        for block in self.transformer_blocks:
            h = block(h, context)
        image = lambda t: t.transpose(1, 2).reshape(x.shape)
        return x + (image(self.proj_out(h)) if self.linear else self.proj_out(image(h)))


class Resize(nn.Module):
    """Downsample and Upsample."""

    def __init__(self, channels, up, use_conv):
        super().__init__()
        self.up, self.use_conv = up, use_conv
        if use_conv and up:
            self.conv = conv(channels, channels)
        elif use_conv:
            self.op = conv(channels, channels, stride=2)

    def forward(self, x, emb, context):
        if not self.up:
            return self.op(x) if self.use_conv else F.avg_pool2d(x, 2)
        x = F.interpolate(x, scale_factor=2)
        return self.conv(x) if self.use_conv else x


class UNet(nn.Module):
    def __init__(self, in_channels, out_channels, model_channels, num_res_blocks,
                 attention_resolutions, channel_mult, conv_resample=True, num_heads=-1,
                 num_head_channels=-1, use_scale_shift_norm=False, resblock_updown=False,
                 use_new_attention_order=False, use_spatial_transformer=False,
                 transformer_depth=1, context_dim=None, use_linear_in_transformer=False, **_):
        super().__init__()
        self.width = model_channels
        emb = 4 * model_channels
        res = lambda i, o, size=None: ResBlock(i, o, emb, use_scale_shift_norm, size)

        def attention(c):
            heads = num_heads if num_head_channels == -1 else c // num_head_channels
            if use_spatial_transformer:
                return SpatialTransformer(c, context_dim, heads, transformer_depth,
                                          use_linear_in_transformer)
            return AttentionBlock(c, heads, use_new_attention_order)

        def resize(c, up):
            if resblock_updown:
                return res(c, c, "up" if up else "down")
            return Resize(c, up, conv_resample)

        self.time_embed = nn.Sequential(nn.Linear(model_channels, emb), nn.SiLU(),
                                        nn.Linear(emb, emb))
        ch, skips = model_channels, [model_channels]
        self.input_blocks = nn.ModuleList([nn.ModuleList([conv(in_channels, ch)])])
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                block = [res(ch, mult * model_channels)]
                ch = mult * model_channels
                if 2 ** level in attention_resolutions:
                    block.append(attention(ch))
                self.input_blocks.append(nn.ModuleList(block))
                skips.append(ch)
            if level + 1 < len(channel_mult):
                self.input_blocks.append(nn.ModuleList([resize(ch, False)]))
                skips.append(ch)
        self.middle_block = nn.ModuleList([res(ch, ch), attention(ch), res(ch, ch)])
        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                block = [res(ch + skips.pop(), mult * model_channels)]
                ch = mult * model_channels
                if 2 ** level in attention_resolutions:
                    block.append(attention(ch))
                if level and i == num_res_blocks:
                    block.append(resize(ch, True))
                self.output_blocks.append(nn.ModuleList(block))
        self.out = nn.Sequential(norm(ch), nn.SiLU(), conv(model_channels, out_channels))

    def forward(self, x, t, context=None):
        half = self.width // 2
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1))

        def run(block, h):
            for layer in block:
                h = layer(h) if isinstance(layer, nn.Conv2d) else layer(h, emb, context)
            return h

        h, skips = x, []
        for block in self.input_blocks:
            h = run(block, h)
            skips.append(h)
        h = run(self.middle_block, h)
        for block in self.output_blocks:
            h = run(block, torch.cat([h, skips.pop()], dim=1))
        return self.out(h)


# ------------------------------------------------------------------------------ first stages


class VaeRes(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.norm1, self.conv1 = norm(n_in, 1e-6), conv(n_in, n_out)
        self.norm2, self.conv2 = norm(n_out, 1e-6), conv(n_out, n_out)
        if n_in != n_out:
            self.nin_shortcut = conv(n_in, n_out, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class VaeAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = norm(c, 1e-6)
        self.q, self.k, self.v, self.proj_out = (conv(c, c, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        tokens = lambda t: t.flatten(2).transpose(1, 2)
        h = attend(tokens(self.q(h)), tokens(self.k(h)), tokens(self.v(h)), 1)
        return x + self.proj_out(h.transpose(1, 2).reshape(x.shape))


def middle(c, attn_type):
    attention = VaeAttention(c) if attn_type == "vanilla" else nn.Identity()
    return named(block_1=VaeRes(c, c), attn_1=attention, block_2=VaeRes(c, c))


def run_middle(m, h):
    return m.block_2(m.attn_1(m.block_1(h)))


class Encoder(nn.Module):
    def __init__(self, ch, ch_mult, num_res_blocks, attn_resolutions, in_channels, resolution,
                 z_channels, double_z=True, attn_type="vanilla", **_):
        super().__init__()
        self.conv_in = conv(in_channels, ch)
        self.down = nn.ModuleList()
        c = ch
        for i, mult in enumerate(ch_mult):
            blocks, attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(num_res_blocks):
                blocks.append(VaeRes(c, ch * mult))
                c = ch * mult
                if resolution >> i in attn_resolutions:
                    attn.append(VaeAttention(c))
            level = named(block=blocks, attn=attn)
            if i + 1 < len(ch_mult):
                level.downsample = named(conv=conv(c, c, stride=2, padding=0))
            self.down.append(level)
        self.mid = middle(c, attn_type)
        self.norm_out = norm(c, 1e-6)
        self.conv_out = conv(c, (1 + double_z) * z_channels)

    def forward(self, x):
        h = self.conv_in(x)
        for level in self.down:
            for i, block in enumerate(level.block):
                h = block(h)
                h = level.attn[i](h) if len(level.attn) else h
            if hasattr(level, "downsample"):
                h = level.downsample.conv(F.pad(h, (0, 1, 0, 1)))
        return self.conv_out(F.silu(self.norm_out(run_middle(self.mid, h))))


class Decoder(nn.Module):
    def __init__(self, ch, ch_mult, num_res_blocks, attn_resolutions, out_ch, resolution,
                 z_channels, attn_type="vanilla", **_):
        super().__init__()
        c = ch * ch_mult[-1]
        self.conv_in = conv(z_channels, c)
        self.mid = middle(c, attn_type)
        levels = []
        for i, mult in reversed(list(enumerate(ch_mult))):
            blocks, attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(num_res_blocks + 1):
                blocks.append(VaeRes(c, ch * mult))
                c = ch * mult
                if resolution >> i in attn_resolutions:
                    attn.append(VaeAttention(c))
            level = named(block=blocks, attn=attn)
            if i:
                level.upsample = named(conv=conv(c, c))
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out = norm(c, 1e-6)
        self.conv_out = conv(c, out_ch)

    def forward(self, z):
        h = run_middle(self.mid, self.conv_in(z))
        for level in reversed(self.up):
            for i, block in enumerate(level.block):
                h = block(h)
                h = level.attn[i](h) if len(level.attn) else h
            if hasattr(level, "upsample"):
                h = level.upsample.conv(F.interpolate(h, scale_factor=2))
        return self.conv_out(F.silu(self.norm_out(h)))


class FirstStage(nn.Module):
    def __init__(self, ddconfig, embed_dim, n_embed=None, **_):
        super().__init__()
        self.vq = n_embed is not None
        z, n = ddconfig["z_channels"], 1 if self.vq else 2
        self.encoder, self.decoder = Encoder(**ddconfig), Decoder(**ddconfig)
        self.quant_conv = conv(n * z, n * embed_dim, 1)
        self.post_quant_conv = conv(embed_dim, z, 1)
        if self.vq:
            self.quantize = named(embedding=nn.Embedding(n_embed, embed_dim))

    def encode(self, x):
        """The mean, or the unquantised h."""
        h = self.quant_conv(self.encoder(x))
        return h if self.vq else h.chunk(2, dim=1)[0]

    def codes(self, z):
        """Indices [n, h, w] of the nearest rows of the codebook."""
        flat = z.permute(0, 2, 3, 1)
        distance = (flat[..., None, :] - self.quantize.embedding.weight).double().square().sum(-1)
        best = distance.topk(2, largest=False).values
        assert float((best[..., 1] - best[..., 0]).min()) > 1e-4, "a tie in the codebook"
        return distance.argmin(-1)

    def quantized(self, z):
        return self.quantize.embedding.weight[self.codes(z)].permute(0, 3, 1, 2)

    def decode(self, z, quantize=True):
        if self.vq and quantize:
            z = self.quantized(z)
        return self.decoder(self.post_quant_conv(z))


class IdentityFirstStage(nn.Module):
    """The latent is the picture."""
    vq = False

    def encode(self, x):
        return x

    def decode(self, z, quantize=True):
        return z


def first_stage(config):
    if config["target"].endswith("IdentityFirstStage"):
        return IdentityFirstStage()
    return FirstStage(**config["params"])


# ------------------------------------------------------------------------------ conditioning


class ClipText(nn.Module):
    """FrozenCLIPEmbedder; sizes as the tests' files have them, unless said otherwise."""

    def __init__(self, width, layers, vocab=100, mlp=2):
        super().__init__()
        config = CLIPTextConfig(vocab_size=vocab, hidden_size=width, intermediate_size=mlp * width,
                                num_hidden_layers=layers, num_attention_heads=width // 64,
                                hidden_act="quick_gelu", bos_token_id=vocab - 2,
                                eos_token_id=vocab - 1)
        model = CLIPTextModel(config)
        self.transformer = model if hasattr(model, "text_model") else named(text_model=model)

    def forward(self, ids):
        return self.transformer.text_model(ids).last_hidden_state


class OpenClipBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = named(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width))

    def forward(self, x, mask):
        a = self.ln_1(x)
        x = x + self.attn(a, a, a, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x))))


class OpenClipText(nn.Module):
    """FrozenOpenCLIPEmbedder with layer "last" or "penultimate"."""

    def __init__(self, width, layers, vocab=100, layer="last", **_):
        super().__init__()
        self.n_run = layers - (layer == "penultimate")
        m = named(token_embedding=nn.Embedding(vocab, width), ln_final=nn.LayerNorm(width),
                  transformer=named(resblocks=nn.ModuleList(
                      OpenClipBlock(width, width // 64) for _ in range(layers))))
        m.positional_embedding = nn.Parameter(torch.empty(N_TOKENS, width))
        m.text_projection = nn.Parameter(torch.empty(width, width))
        m.logit_scale = nn.Parameter(torch.empty([]))
        self.model = m

    def forward(self, ids):
        m = self.model
        x = m.token_embedding(ids) + m.positional_embedding
        mask = torch.full((N_TOKENS, N_TOKENS), float("-inf")).triu(1)
        for block in m.transformer.resblocks[:self.n_run]:
            x = block(x, mask)
        return m.ln_final(x)


class ClassEmbedder(nn.Module):
    def __init__(self, embed_dim, n_classes=1000, **_):
        super().__init__()
        self.embedding = nn.Embedding(n_classes, embed_dim)

    def forward(self, ids):
        return self.embedding(ids)[:, None]


# ------------------------------------------------------------------------------ whole models


def build(config, text_layers=2, **clip):
    """The networks of a config, under the names of LatentDiffusion's state dict. `clip` is the
    text encoder's."""
    params = config["model"]["params"]
    if config["model"]["target"].endswith(("AutoencoderKL", "VQModelInterface")):
        return FirstStage(**params)
    unet = params["unet_config"]["params"]
    model = named(model=named(diffusion_model=UNet(**unet)),
                  first_stage_model=first_stage(params["first_stage_config"]))
    cond = params["cond_stage_config"]
    if isinstance(cond, dict):
        kind = cond["target"].rsplit(".", 1)[1]
        if kind == "ClassEmbedder":
            model.cond_stage_model = ClassEmbedder(**cond["params"])
        elif text_layers and kind == "FrozenOpenCLIPEmbedder":
            model.cond_stage_model = OpenClipText(unet["context_dim"], text_layers,
                                                  **clip, **cond.get("params", {}))
        elif text_layers:
            model.cond_stage_model = ClipText(unet["context_dim"], text_layers, **clip)
    if params.get("scale_by_std"):
        model.register_buffer("scale_factor", torch.tensor(1.0))
    return model
