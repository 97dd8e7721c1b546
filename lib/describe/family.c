/*
 * The files that people take for checkpoints, each known by a tensor that only its kind has. Names
 * are those of the repositories that write them: kohya's sd-scripts, LyCORIS, PEFT and diffusers,
 * ControlNet, T2I-Adapter, AnimateDiff, IP-Adapter, Real-ESRGAN, Stability's models. The first row
 * that fits tells.
 */
#include "describe/family.h"

#include <string.h>

#define UNET "model.diffusion_model."
#define LABELS UNET "label_emb.0.0.weight"
#define VAE "first_stage_model."
#define TEXT "cond_stage_model."

/* The way out, which follows the kind. */
#define OTHER "libsd loads Stable Diffusion 1.x, 2.x and XL"
#define UNCLIP "libsd does not know its picture conditioning; Stable Diffusion 2.1 paints from text"
#define UPSCALE "libsd does not support upscaling"
#define CONFIG "it needs its YAML config (config, --config)"
#define CONTROL "libsd cannot use one; a Stable Diffusion checkpoint was expected"
#define MERGE "it changes a checkpoint and is none; give it beside one (adapters, --lora)"
#define OTHER_KIND "libsd does not know such adapters"
#define NO_XL "libsd runs no XL models"
#define UNKNOWN "libsd does not know them; a Stable Diffusion checkpoint was expected"
#define NAMING                                                                                     \
    "give a diffusers folder, or a file in the original naming (model.diffusion_model...)"
#define WHOLE "give the whole checkpoint, which has all networks"
#define SMALL "a small autoencoder (TAESD)", "give it beside a checkpoint (taesd, --taesd)"
#define BESIDE(part) "give it beside a checkpoint (" part ", --" part ")"
#define EMBEDDING                                                                                  \
    "a textual inversion embedding", "give it beside a checkpoint (embeddings, --embedding)"

typedef enum where {
    PREFIX, /* some name begins so */
    EXACT,  /* this is a name */
    WITHIN  /* some name has it; not looked for where there is a UNet in the original naming */
} where;

typedef struct signature {
    where where;
    const char *text;
    const char *what, *way; /* NULL: it is a checkpoint that libsd loads */
    int dim; /* 1 .. : of the tensor that is named dimension dim - 1 is `size`; 0: any shape */
    int64_t size;
} signature;

static const signature signatures[] = {
    /* whole checkpoints of other models */
    {PREFIX, "noise_augmentor.", "an unCLIP checkpoint", UNCLIP},
    {PREFIX, "embedder.model.visual.", "an unCLIP checkpoint", UNCLIP},
    {PREFIX, UNET "input_blocks.1.0.time_stack.", "a Stable Video Diffusion checkpoint", OTHER},
    {EXACT, "edm_mean", "a Playground v2.5 checkpoint", OTHER},
    {PREFIX, "edm_vpred.", "a CosXL checkpoint", OTHER},
    {PREFIX, "conditioner.embedders.1.model.", NULL, NULL}, /* Stable Diffusion XL */
    {PREFIX, "conditioner.embedders.0.model.", NULL, NULL}, /* its refiner */
    {EXACT, UNET "label_emb.weight", "the x4 upscaler's checkpoint", UPSCALE, 1, 1000},
    {EXACT, LABELS, "a Stable Diffusion XL checkpoint without text encoders (pruned)", WHOLE, 2,
     2816},
    {EXACT, LABELS, "a Stable Diffusion XL refiner without text encoder (pruned)", WHOLE, 2, 2560},
    {EXACT, LABELS, "an unCLIP checkpoint", UNCLIP, 2, 2048},
    {EXACT, LABELS, "an unCLIP checkpoint", UNCLIP, 2, 1536},
    {PREFIX, UNET "label_emb.", "a checkpoint with class or size conditioning", OTHER},
    {PREFIX, UNET "joint_blocks.", "a Stable Diffusion 3 checkpoint", OTHER},
    {PREFIX, "joint_blocks.", "the transformer of Stable Diffusion 3", OTHER},
    {PREFIX, UNET "double_blocks.", "a Flux checkpoint", OTHER},
    {PREFIX, "double_blocks.", "the transformer of Flux", OTHER},
    {PREFIX, TEXT "transformer.token_emb.", "a latent diffusion model with a BERT encoder", OTHER},
    {PREFIX, TEXT "embedding.", "a class-conditional latent diffusion checkpoint", CONFIG},
    {PREFIX, VAE "quantize.", "a latent diffusion checkpoint with a VQ autoencoder", CONFIG},
    {PREFIX, "control_model.", "a ControlNet", CONTROL},

    /* what changes or steers a model */
    {PREFIX, "lora_te1_", "a LoRA for Stable Diffusion XL", MERGE},
    {PREFIX, "lora_te2_", "a LoRA for Stable Diffusion XL", MERGE},
    {PREFIX, "lora_unet_input_blocks_", "a LoRA for Stable Diffusion XL", MERGE},
    {PREFIX, "text_encoder_2.", "a LoRA for Stable Diffusion XL", MERGE},
    {PREFIX, "lora_unet_double_blocks_", "a LoRA for Flux", OTHER},
    {PREFIX, "transformer.single_transformer_blocks.", "a LoRA for Flux", OTHER},
    {WITHIN, ".hada_w1_a", "a LyCORIS file (LoHa)", MERGE},
    {WITHIN, ".lokr_w1", "a LyCORIS file (LoKr)", MERGE},
    {WITHIN, ".oft_blocks", "a LyCORIS file (OFT)", OTHER_KIND},
    {WITHIN, ".oft_diag", "a LyCORIS file (OFT)", OTHER_KIND},
    {PREFIX, "lycoris_", "a LyCORIS file", MERGE},
    {PREFIX, "lllite_", "a ControlNet-LLLite", CONTROL},
    {EXACT, "lora_controlnet", "a Control-LoRA", CONTROL},
    {PREFIX, "lora_unet_", "a LoRA", MERGE},
    {PREFIX, "lora_te_", "a LoRA", MERGE},
    {PREFIX, "base_model.model.", "a LoRA as PEFT writes it", MERGE},
    {WITHIN, ".lora_A.", "a LoRA as PEFT writes it", MERGE},
    {WITHIN, ".lora_B.", "a LoRA as PEFT writes it", MERGE},
    {WITHIN, ".lora_down.", "a LoRA", MERGE},
    {WITHIN, ".lora_up.", "a LoRA", MERGE},
    {WITHIN, "_lora.down.", "a LoRA as diffusers writes it", MERGE},
    {WITHIN, ".lora.down.", "a LoRA as diffusers writes it", MERGE},
    {WITHIN, ".lora.up.", "a LoRA as diffusers writes it", MERGE},
    {WITHIN, ".lora_linear_layer.", "a LoRA as diffusers writes it", MERGE},
    {PREFIX, "input_hint_block.", "a ControlNet", CONTROL},
    {PREFIX, "zero_convs.", "a ControlNet", CONTROL},
    {PREFIX, "controlnet_cond_embedding.", "a ControlNet as diffusers writes it", CONTROL},
    {PREFIX, "controlnet_down_blocks.", "a ControlNet as diffusers writes it", CONTROL},
    {PREFIX, "adapter.body.", "a T2I-Adapter as diffusers writes it", CONTROL},
    {PREFIX, "body.0.block1.", "a T2I-Adapter", CONTROL},
    {PREFIX, "transformer_layes.", "a T2I style adapter", CONTROL}, /* so spelled */
    {WITHIN, "motion_modules.", "a motion module (AnimateDiff)", CONTROL},
    {PREFIX, "ip_adapter.", "an IP-Adapter", CONTROL},
    {PREFIX, "image_proj.", "an IP-Adapter", CONTROL},
    {PREFIX, "image_proj_model.", "an IP-Adapter", CONTROL},

    /* words and prompts */
    {EXACT, "clip_g", "a textual inversion embedding for Stable Diffusion XL",
     "give it beside a checkpoint (embeddings, --embedding)"},
    {EXACT, "emb_params", EMBEDDING},
    {EXACT, "*", EMBEDDING},
    {PREFIX, "320.0.linear", "a hypernetwork", UNKNOWN},
    {PREFIX, "768.0.linear", "a hypernetwork", UNKNOWN},
    {PREFIX, "1024.0.linear", "a hypernetwork", UNKNOWN},

    /* upscalers of pictures */
    {PREFIX, "model.1.sub.", "an upscaler (ESRGAN)", UPSCALE},
    {PREFIX, "RRDB_trunk.", "an upscaler (ESRGAN)", UPSCALE},
    {WITHIN, ".rdb1.conv1.", "an upscaler (ESRGAN)", UPSCALE},
    {WITHIN, ".RDB1.conv1.", "an upscaler (ESRGAN)", UPSCALE},
    {WITHIN, ".residual_group.", "an upscaler (SwinIR)", UPSCALE},
    {PREFIX, "conv_first.", "an upscaler", UPSCALE},
    {EXACT, "body.0.weight", "an upscaler (Real-ESRGAN's small one)", UPSCALE, 2, 3},

    /* parts of a model */
    {PREFIX, "add_embedding.", "the UNet of a Stable Diffusion XL diffusers folder",
     BESIDE("unet")},
    {PREFIX, "transformer_blocks.", "the transformer of a newer model in diffusers' naming", OTHER},
    {PREFIX, "unet.", "a single file in diffusers' naming", NAMING},
    {PREFIX, "down_blocks.", "the UNet of a diffusers folder", BESIDE("unet")},
    {PREFIX, "encoder.down_blocks.", "the VAE of a diffusers folder", BESIDE("vae")},
    {PREFIX, "decoder.up_blocks.", "the VAE of a diffusers folder", BESIDE("vae")},
    {PREFIX, "text_model.", "the text encoder of a diffusers folder", BESIDE("text_encoder")},
    {PREFIX, "vision_model.", "CLIP's half for pictures", WHOLE},
    {PREFIX, "transformer.resblocks.", "a text encoder alone (OpenCLIP)", BESIDE("text_encoder")},
    {PREFIX, "encoder.block.0.layer.", "a T5 text encoder", OTHER},
    {PREFIX, "encoder.down.", "a VAE alone", BESIDE("vae")},
    {PREFIX, "decoder.up.", "a VAE alone", BESIDE("vae")},
    {PREFIX, "encoder.layers.", SMALL},
    {PREFIX, "decoder.layers.", SMALL},
    {PREFIX, "taesd_", SMALL},
    {EXACT, "1.conv.0.weight", SMALL},
    {EXACT, "3.conv.0.weight", SMALL},
    {PREFIX, "input_blocks.", "a UNet alone, without text encoder and VAE", BESIDE("unet")},
};

/* In files without the UNet of a checkpoint, and after all names above. */
static const signature alone[] = {
    {PREFIX, VAE, "a VAE alone", BESIDE("vae")},
    {PREFIX, TEXT, "a text encoder alone", BESIDE("text_encoder")},
    {PREFIX, "conditioner.embedders.", "the text encoders of Stable Diffusion XL alone", WHOLE},
};

/* A word's embeddings as diffusers writes them: one tensor of the word's name. */
static const signature word = {EXACT, "", EMBEDDING};

static const char *first_within(const sd_weights *w, const char *text) {
    for (size_t i = 0; i < sdi_weights_count(w); i++)
        if (strstr(sdi_weights_at(w, i)->name, text))
            return sdi_weights_at(w, i)->name;
    return NULL;
}

static const char *matched(const sd_weights *w, const signature *s, bool checkpoint) {
    const sd_entry *entry;
    switch (s->where) {
    case PREFIX:
        return sdi_weights_has_prefix(w, s->text) ? s->text : NULL;
    case WITHIN:
        return checkpoint ? NULL : first_within(w, s->text);
    case EXACT:
        break;
    }
    entry = sdi_weights_find(w, s->text);
    bool fits =
        entry && (s->dim == 0 || (entry->n_dims >= s->dim && entry->dims[s->dim - 1] == s->size));
    return fits ? s->text : NULL;
}

static const signature *search(const sd_weights *w, const signature *rows, size_t n,
                               bool checkpoint, const char **name) {
    for (size_t i = 0; i < n; i++)
        if ((*name = matched(w, &rows[i], checkpoint)))
            return &rows[i];
    return NULL;
}

static bool is_word(const sd_weights *w) {
    const sd_entry *e = sdi_weights_count(w) == 1 ? sdi_weights_at(w, 0) : NULL;
    int64_t width = e && e->n_dims > 0 ? e->dims[e->n_dims - 1] : 0;
    return e && e->n_dims <= 2 && (width == 768 || width == 1024 || width == 1280) &&
           (e->n_dims == 1 || e->dims[0] < 77);
}

/* The row of the file's kind, and the name that told; NULL: a checkpoint, or nothing known. */
static const signature *find(const sd_weights *w, const char **name) {
    bool checkpoint = sdi_weights_has_prefix(w, UNET);
    const signature *s = search(w, signatures, SD_COUNT(signatures), checkpoint, name);
    if ((!s || !s->what) && !checkpoint)
        s = search(w, alone, SD_COUNT(alone), checkpoint, name);
    if (!s && is_word(w)) {
        *name = sdi_weights_at(w, 0)->name;
        s = &word;
    }
    return s;
}

sd_status sdi_family_check(const sd_context *ctx, const char *path, const sd_weights *w) {
    const char *name;
    const signature *s = find(w, &name);
    if (s && s->what)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: this looks like %s (it has tensors named '%.100s...'): %s", path,
                        s->what, name, s->way);
    if (!sdi_weights_has_prefix(w, UNET))
        return sdi_fail(ctx, sdi_weights_count(w) ? SD_ERROR_UNSUPPORTED : SD_ERROR_MODEL,
                        "%s: no Stable Diffusion checkpoint: of its %zu tensors none is named "
                        "'" UNET "...'",
                        path, sdi_weights_count(w));
    return SD_OK;
}

const char *sdi_family_of_channels(int in_channels, int c) {
    if (in_channels == 2 * c + 1)
        return "this is an inpainting model: use sd-inpaint (sd_generate with a mask)";
    if (c != 4)
        return NULL;
    return in_channels == 8   ? "this looks like an instruct-pix2pix model, which is not supported"
           : in_channels == 5 ? "this looks like a depth-to-image model, which is not supported"
           : in_channels == 7 ? "this looks like an upscaler, which is not supported"
                              : NULL;
}
