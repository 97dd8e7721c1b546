/*
 * The networks. Each is a part of a model, built once and then immutable; forward functions note
 * operations with an executor that builds a program (backend/program.h), and may be used by several
 * at once. Tensors are NHWC on the device.
 */
#ifndef SD_MODEL_NETWORKS_H
#define SD_MODEL_NETWORKS_H

#include "backend/exec.h"
#include "model/part.h"

typedef struct sd_text_model sd_text_model;
typedef struct sd_class_model sd_class_model;
typedef struct sd_unet sd_unet;
typedef struct sd_vae sd_vae;

/* CLIP text tower: Radford et al. 2021; FrozenCLIPEmbedder, FrozenOpenCLIPEmbedder. */
/* ids [n, tokens, 1] of SDB_I32; y [n, tokens, width] of SDB_F32. The last `skip` layers are left
 * out. `pooled`, or no tensor, is [n, tokens, projection] of SDB_F32: each token as the text's one
 * vector, of which that of the end token counts; no layer is left out of it. */
void sdi_text_model_forward(sd_exec *e, const sd_text_model *m, sdb_tensor y, sdb_tensor pooled,
                            sdb_tensor ids, int skip);

/* ClassEmbedder: ids [n, 1, 1] of SDB_I32; y [n, 1, 1, context_dim] of SDB_F32. */
void sdi_class_model_forward(sd_exec *e, const sd_class_model *m, sdb_tensor y, sdb_tensor ids);

/* UNetModel of the original (openaimodel.py). */
/* Cross-attention keys and values of a prompt, for all layers: computed once a run. `context` is
 * [n, tokens, context_dim] of SDB_F32. `kv` is one tensor [n, tokens, 1, sdi_unet_kv_width] of
 * e->act that the caller took from the executor. A width of 0: the network looks at no context, and
 * kv may be no tensor. */
int sdi_unet_kv_width(const sd_unet *m);
void sdi_unet_kv(sd_exec *e, const sd_unet *m, sdb_tensor kv, sdb_tensor context);
/* What is told beside the time, which is the same in all steps: pooled [n, 1, 1, label_dim -
 * n_sizes * size_dim] and sizes [n, 1, 1, n_sizes] of SDB_F32 to `label` [n, 1, 1,
 * sdi_unet_label_width] of e->act, which the caller took. A width of 0: there is no such thing. */
int sdi_unet_label_width(const sd_unet *m);
void sdi_unet_label(sd_exec *e, const sd_unet *m, sdb_tensor label, sdb_tensor pooled,
                    sdb_tensor sizes);
/* Width of the embedding that a UNet is told the guidance scale by; 0: it is not. */
int sdi_unet_guidance_dim(const sd_unet *m);
/* get_guidance_scale_embedding of diffusers' LatentConsistencyModelPipeline (Kingma et al. 2021) at
 * w = scale - 1, into sdi_unet_guidance_dim numbers. */
void sdi_unet_guidance(const sd_unet *m, double scale, float *embedding);
/* x [n, h, w, in_channels] of any type, t [n, 1, 1, 1] of SDB_F32, y [n, h, w, out_channels] of
 * SDB_F32. h and w must be multiples of 2^(n_levels - 1). `guidance` [n, 1, 1, guidance_dim] of
 * SDB_F32, or no tensor: the UNet is told of none; `label` as sdi_unet_label leaves it, or none. */
void sdi_unet_forward(sd_exec *e, const sd_unet *m, sdb_tensor y, sdb_tensor x, sdb_tensor t,
                      sdb_tensor kv, sdb_tensor guidance, sdb_tensor label);

/* AutoencoderKL, VQModelInterface, IdentityFirstStage, AutoencoderTiny (whose pixels here are in
 * [0, 1]). */
/* z [n, h, w, latent] (already divided by the scale) of SDB_F32 to y [n, 8h, 8w, 3] of SDB_F32. A
 * VQ model quantises z first where `quantize`. */
void sdi_vae_decoder_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor z,
                             bool quantize);
/* x [n, 8h, 8w, 3] of SDB_F32 to moments [n, h, w, sdi_vae_moments] of SDB_F32: mean and logvar, or
 * the latent itself where there is no posterior. */
void sdi_vae_encoder_forward(sd_exec *e, const sd_vae *m, sdb_tensor moments, sdb_tensor x);
int sdi_vae_moments(const sd_vae *m);
/* VQ models alone. y, which may be x, gets the nearest rows of the codebook, and ids [n, h, w, 1]
 * of SDB_I32, which may be no tensor, their indices (VectorQuantizer2). */
bool sdi_vae_has_codebook(const sd_vae *m);
void sdi_vae_quantize_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor ids,
                              sdb_tensor x);
/* y [n, k, 1, latent] of SDB_F32 gets the rows of ids [n, k, 1, 1]. */
void sdi_vae_codes_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor ids);

#endif
