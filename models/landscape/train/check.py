"""Compares networks.py with transformers and diffusers on random weights: names and outputs."""
import diffusers
import torch
import transformers

import networks

torch.manual_seed(0)


def randomise(module):
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.05)
    return module.eval()


@torch.no_grad()
def compare(name, ours, theirs, run_ours, run_theirs):
    theirs.eval().load_state_dict(ours.state_dict(), strict=True)
    a, b = run_ours(ours), run_theirs(theirs)
    error = ((a - b).norm() / b.norm()).item()
    print(f"{name}: {networks.count(ours):,} parameters, relative error {error:.1e}")
    assert error < 1e-5


def main():
    ids = torch.randint(0, 1022, (2, 77))
    text = randomise(networks.TextEncoder())
    theirs = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        hidden_act="quick_gelu", **networks.TEXT))
    prefix = not any(k.startswith("text_model.") for k in theirs.state_dict())
    if prefix:  # newer transformers dropped the outer name from the module, not from the files
        theirs = torch.nn.ModuleDict({"text_model": theirs})
    compare("text encoder", text, theirs, lambda m: m(ids),
            lambda m: (m["text_model"] if prefix else m)(ids).last_hidden_state)
    x, t, context = torch.randn(2, 4, 32, 32), torch.tensor([3, 700]), torch.randn(2, 77, 128)
    n = len(networks.UNET["block_out_channels"])
    unet = diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, down_block_types=["CrossAttnDownBlock2D"] * n,
        up_block_types=["CrossAttnUpBlock2D"] * n, **networks.UNET)
    compare("UNet", randomise(networks.UNet()), unet, lambda m: m(x, t, context),
            lambda m: m(x, t, context).sample)
    n = len(networks.VAE["block_out_channels"])
    vae = diffusers.AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * n,
                                  up_block_types=["UpDecoderBlock2D"] * n, **networks.VAE)
    picture, z = torch.randn(1, 3, 64, 64), torch.randn(1, 4, 8, 8)
    compare("VAE encoder", randomise(networks.Vae()), vae,
            lambda m: torch.cat(m.encode(picture), 1),
            lambda m: m.encode(picture).latent_dist.parameters)
    compare("VAE decoder", randomise(networks.Vae()), vae, lambda m: m.decode(z),
            lambda m: m.decode(z).sample)


if __name__ == "__main__":
    main()
