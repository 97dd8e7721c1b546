/*
 * A model in numbers: the sizes and options of each network, the noise schedule that it
 * was trained with, and what a sampler does by default. Filled from config.json files, an LDM YAML
 * config or the shapes of tensors (config.h), and from then on the one place to ask.
 */
#ifndef SD_DESCRIBE_DESCRIPTION_H
#define SD_DESCRIBE_DESCRIPTION_H

#include "core/context.h"

/* How tensors are named: as in the original's repositories, in diffusers', or, of the text encoder
 * inside an original checkpoint, as in OpenCLIP's. */
typedef enum sd_layout { SD_LAYOUT_ORIGINAL, SD_LAYOUT_DIFFUSERS, SD_LAYOUT_OPEN_CLIP } sd_layout;

/* The names of a network's tensors. The description of each network begins with them. */
typedef struct sd_naming {
    sd_layout layout;
    const char *prefix; /* that all have before the layout's names; a static string */
} sd_naming;

#define SD_MAX_LEVELS 8
#define SD_MAX_UNET_BLOCKS 64 /* input blocks, and as many output blocks */
#define SD_MAX_LATENT_STATS 64

typedef enum sd_text_act { SD_TEXT_QUICK_GELU, SD_TEXT_GELU } sd_text_act;

/* CLIP's text tower. */
typedef struct sd_text_config {
    sd_naming names;
    int vocab_size; /* 49408 */
    int width;      /* 768 */
    int layers;     /* 12 */
    int heads;      /* 12 */
    int mlp_width;  /* 3072 */
    int tokens;     /* 77 */
    sd_text_act act;
    float eps;        /* 1e-5 */
    int skip;         /* more layers that the checkpoint has and that are not run (SD 2.x: 1) */
    bool penultimate; /* it gives the hidden state before the last layer, without the final norm */
    int hidden;       /* of a YAML config: the layers that it is of; 0: it does not say */
    int projection;   /* width of the text as one vector (text_projection); 0: it gives none */
} sd_text_config;

/* Which text encoders there are: one, SDXL's two, or the second of these alone (its refiner). */
typedef enum sd_texts { SD_TEXTS_FIRST, SD_TEXTS_BOTH, SD_TEXTS_SECOND } sd_texts;

/* ClassEmbedder: a class as a context of one token. */
typedef struct sd_class_config {
    sd_naming names;
    int n, width; /* 1000, 512 */
} sd_class_config;

typedef struct sd_unet_config {
    sd_naming names;
    int in_channels, out_channels; /* 4, 4 */
    int model_channels;            /* 320 */
    int n_levels;                  /* 4 */
    int channels[SD_MAX_LEVELS];   /* 320, 640, 1280, 1280 */
    int res_blocks[SD_MAX_LEVELS]; /* 2 each: of a level down, one more up */
    /* Layers of the SpatialTransformer behind each ResBlock, in the order of input_blocks and of
     * output_blocks, and in the middle: 1, at the last level 0. 0: there is none. An AttentionBlock
     * is 1. */
    int depth_in[SD_MAX_UNET_BLOCKS], depth_mid, depth_out[SD_MAX_UNET_BLOCKS];
    int mid_blocks;           /* 2: ResBlocks of the middle; 1 or 0 where that was pruned */
    int heads[SD_MAX_LEVELS]; /* 8 each */
    int context_dim;          /* 768 */
    int norm_groups;          /* 32 */
    float norm_eps;           /* 1e-5 */
    bool linear_projection;   /* proj_in and proj_out stored as Linear (SD 2.x) */
    int label_dim;            /* of the vector that label_emb takes: a text and n_sizes sinusoids of
                                 size_dim each (SDXL: 2816 = 1280 + 6 * 256); 0: there is none */
    int size_dim, n_sizes;
    int sample_size; /* 64: latents at the default size; 0: not known yet */
    /* Options of UNetModel that Stable Diffusion does not use. */
    bool plain_attention;  /* AttentionBlock, not SpatialTransformer */
    bool whole_qkv;        /* use_new_attention_order: q, k, v of all heads, not heads of q, k, v */
    bool scale_shift_norm; /* use_scale_shift_norm */
    bool updown_blocks;    /* resblock_updown */
    bool pooled_resample;  /* conv_resample false: mean and nearest, no convolution */
    /* Options of diffusers' UNet2DConditionModel alone. */
    int sample_width; /* 0: sample_size, which is the height else */
    int guidance_dim; /* time_cond_proj_dim: the UNet is told the guidance scale by an
                         embedding of this width (LCM); 0: it is not */
} sd_unet_config;

typedef enum sd_first_stage {
    SD_FIRST_STAGE_KL,       /* AutoencoderKL */
    SD_FIRST_STAGE_VQ,       /* VQModelInterface */
    SD_FIRST_STAGE_IDENTITY, /* IdentityFirstStage: the latents are the pixels */
    SD_FIRST_STAGE_TINY      /* AutoencoderTiny (TAESD) */
} sd_first_stage;

/* Encoder or decoder of an AutoencoderTiny, whose convolutions are all of one width. */
typedef struct sd_tiny_half {
    int width;                 /* 64; 0: there is no such half */
    int blocks[SD_MAX_LEVELS]; /* of each level in the order of the run: 1, 3, 3, 3 and 3, 3, 3, 1
                                */
} sd_tiny_half;

typedef struct sd_vae_config {
    sd_naming names;
    int in_channels, out_channels;    /* 3, 3 */
    int n_levels;                     /* 4 */
    int channels[SD_MAX_LEVELS];      /* 128, 256, 512, 512 */
    int res_blocks;                   /* 2 */
    int latent_channels;              /* 4 (z_channels and embed_dim) */
    int norm_groups;                  /* 32 */
    double scaling_factor;            /* 0.18215 */
    double shift_factor;              /* 0 */
    bool mid_attention;               /* true */
    bool quant_conv, post_quant_conv; /* true */
    bool force_upcast; /* of a config.json: float16 is not trusted; true where none says */
    sd_first_stage kind;
    int z_channels;                /* of encoder and decoder; 0: latent_channels */
    int n_codes;                   /* rows of the codebook (VQ) */
    bool attention[SD_MAX_LEVELS]; /* attn_resolutions: an AttnBlock after each ResnetBlock */
    bool encode_quantizes;         /* VQModel: its encode takes the nearest codes, its decode not */
    /* diffusers' latents_mean and latents_std, one a latent channel; std 0: there are none. */
    float latents_mean[SD_MAX_LATENT_STATS], latents_std[SD_MAX_LATENT_STATS];
    sd_tiny_half tiny_encoder, tiny_decoder;
    /* Pixels in [-1, 1] as sums of a latent's channels, of which there are as many rows, then what
     * is added: latent_rgb.c. */
    float latent_rgb[SD_MAX_LATENT_STATS + 1][3];
    bool has_latent_rgb;
} sd_vae_config;

typedef enum sd_beta_schedule {
    SD_BETA_LINEAR,
    SD_BETA_SCALED_LINEAR,
    SD_BETA_COSINE,
    SD_BETA_SQRT
} sd_beta_schedule;
typedef enum sd_prediction {
    SD_PREDICT_EPSILON,
    SD_PREDICT_V,
    SD_PREDICT_SAMPLE,
    SD_PREDICT_UNKNOWN /* no file tells: the network itself is asked once it is there */
} sd_prediction;

/* diffusers' words: scaled_linear is what the original calls "linear", and linear is its
 * "sqrt_linear". */
typedef struct sd_schedule_config {
    sd_beta_schedule beta_schedule; /* scaled_linear */
    double beta_start, beta_end;    /* 0.00085, 0.012 */
    int train_timesteps;            /* 1000 */
    sd_prediction prediction;
    double cosine_s;       /* 0: 0.008 */
    double *trained_betas; /* [train_timesteps], owned; NULL: by the above */
    bool zero_snr;         /* rescale_betas_zero_snr: Lin et al. 2024, algorithm 1 */
} sd_schedule_config;

/* The numbers that a sigma between the first and the last is made of. */
typedef enum sd_sigma_curve {
    SD_CURVE_TIMES, /* those of the timesteps */
    SD_CURVE_KARRAS,
    SD_CURVE_EXPONENTIAL,
    SD_CURVE_BETA
} sd_sigma_curve;

/* A sampler's defaults, where its caller does not say. The rules below `guidance` are those of a
 * diffusers folder's scheduler, by its keys. */
typedef struct sd_scheduler_config {
    const char *method; /* a static string */
    int steps;
    double guidance;
    bool folder;                 /* there are such rules; else those of the original */
    sd_timestep_spacing spacing; /* SD_SPACING_LEADING, _LINSPACE or _TRAILING */
    sd_sigma_curve curve;        /* use_karras_sigmas and the like */
    int steps_offset;
    bool alpha_to_one;            /* set_alpha_to_one */
    bool sigma_min;               /* final_sigmas_type "sigma_min" */
    int order;                    /* solver_order: 1 or 2, of DEIS up to 3 */
    bool heun;                    /* solver_type "heun" of DPM-Solver++ */
    bool bh1;                     /* solver_type "bh1" of UniPC */
    bool lower_order_final;       /* ... with fewer than 15 steps */
    bool euler_at_final;          /* ... always */
    double clip;                  /* clip_sample_range; 0: x_0 is not clipped */
    int original_inference_steps; /* LCMScheduler */
    double timestep_scaling;
} sd_scheduler_config;

/* How the UNet is conditioned besides the time step: DiffusionWrapper's conditioning_key. */
typedef enum sd_conditioning_key {
    SD_CONDITION_CROSSATTN,
    SD_CONDITION_CONCAT,
    SD_CONDITION_HYBRID, /* both */
    SD_CONDITION_NONE
} sd_conditioning_key;

/* Whether a YAML config wants the averages that training keeps of the UNet's weights. */
typedef enum sd_average {
    SD_AVERAGE_NONE,
    SD_AVERAGE_ASSUMED, /* DDPM's use_ema is True where a config does not speak of it */
    SD_AVERAGE_ASKED
} sd_average;

typedef struct sd_description {
    char *path;         /* of the model, for sentences; owned */
    const char *family; /* "Stable Diffusion 1.x" */
    sd_texts texts;
    sd_text_config text, text_2;
    sd_class_config classes;
    sd_unet_config unet;
    sd_vae_config vae;
    sd_vae_config
        tiny; /* a small autoencoder of the same latents, for previews; n_levels 0: none */
    sd_schedule_config schedule;
    sd_scheduler_config scheduler;
    sd_conditioning conditioning; /* what is to be encoded: text, a class, nothing */
    sd_conditioning_key condition_key;
    bool first_stage_only; /* there is no UNet */
    bool scale_by_std;     /* the latents' scale is a tensor of the checkpoint */
    bool zeros_for_empty;  /* a negative prompt that is not given is zeros, not the empty text */
    sd_average average;
} sd_description;

/* The scale of SDXL's latents, whose decoder float16 overflows in unless a config.json says that it
 * was mended (force_upcast). SD 1.x has no such trouble, and config.json files without the key. */
#define SD_XL_SCALE 0.13025
static inline bool sdi_vae_overflows(const sd_vae_config *c) {
    return c->force_upcast && c->scaling_factor == SD_XL_SCALE;
}

/* Stable Diffusion's: configs/stable-diffusion/v1-inference.yaml, whose "linear" is scaled_linear,
 * and DDIM as the original has it. */
sd_schedule_config sdi_schedule_default(void);
sd_scheduler_config sdi_scheduler_default(void);
/* Of SDXL's scheduler/ and pipelines, which diffusers takes for a single file too. */
sd_scheduler_config sdi_scheduler_xl(bool inpainting);
#define SD_XL_GUIDANCE(inpainting) ((inpainting) ? 7.5 : 5.0)

/* Where a level's ResBlocks begin in input_blocks, the first of which is conv_in, and in
 * output_blocks, which has one more of each level. */
int sdi_unet_in_block(const sd_unet_config *c, int level);
int sdi_unet_out_block(const sd_unet_config *c, int level);
/* Layers behind ResBlock `block` of a level on the way down or up; more than SD_MAX_UNET_BLOCKS are
 * passed over, as building fails then. */
void sdi_unet_set_depth(sd_unet_config *c, bool up, int level, int block, int depth);
/* ... behind all of a level. */
void sdi_unet_set_depths(sd_unet_config *c, int level, int depth);
/* Whether any block of a level has attention; the middle is of the last. */
bool sdi_unet_has_attention(const sd_unet_config *c, int level);

/* Numbers of a picture that the second text encoder's model is told: the refiner is told how it is
 * liked in place of its size. */
enum { SD_SIZES_BASE = 6, SD_SIZES_REFINER = 5 };

/* Takes `path`, also where it fails. */
sd_status sdi_description_new(const sd_context *ctx, char *path, sd_description **out);
/* A description of its own that says the same, with another path. */
sd_status sdi_description_copy(const sd_context *ctx, const sd_description *from, const char *path,
                               sd_description **out);
void sdi_description_free(const sd_context *ctx, sd_description *d);
/* The scale of a family's latents, where nothing says it. */
double sdi_description_scale(const sd_description *d);
/* Completes a description when it is known what the UNet predicts, and with it the default size
 * where nothing said it: that of the 2.x models that predict v is 768 pixels. */
void sdi_description_predicts(sd_description *d, sd_prediction prediction);

#endif
