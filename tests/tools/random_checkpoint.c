/*
 * sd-random-checkpoint: a Stable Diffusion 1.x or XL model with random weights, as a file in the
 * original layout (safetensors or torch's) or as a diffusers folder; all hold the same weights. Or
 * a small autoencoder (TAESD). See --help.
 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: sd-random-checkpoint [options] --out PATH\n"
    "  --layout original|diffusers|ckpt|halves  one .safetensors file (default), a folder, or one\n"
    "                               file as torch.save writes it\n"
    "  --size tiny|tiny-inpaint|small|sd15|tiny-xl|tiny-xl-inpaint|tiny-xl-refiner|\n"
    "         sdxl|sdxl-inpaint|sdxl-refiner|tiny-taesd-vae|taesd|taesd-tiny\n"
    "                               default tiny; sd15 has the released file's 1,131 tensors;\n"
    "                               those for inpainting have 9 channels. SDXL comes in the first\n"
    "                               two layouts; TAESD as one file, as diffusers' folder, or as a\n"
    "                               folder of one file for each half\n"
    "  --dtype f32|f16|bf16         default f16\n"
    "  --seed N                     default 0\n"
    "  --bits N                     significant bits of a weight, 4 .. 24 (default 24: all that\n"
    "                               dtype holds); with 8, files of all dtypes hold equal numbers\n"
    "  --ema 0|1                    for ckpt: the UNet's weights are the averaged ones, beside\n"
    "                               those of the next seed (default 0)\n"
    "  --stamp FILE                 write FILE at the end (for build systems)\n";

typedef struct options {
    const model_size *size;
    value_options values;
    const tiny_size *tiny; /* in place of a model */
    bool diffusers, torch, ema, halves;
    const char *out;
    const char *stamp;
} options;

static bool parse_dtype(const char *text, dtype *type) {
    static const char *const names[] = {"f32", "f16", "bf16"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *type = (dtype)i;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value) {
    char *end;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && *value >= min && *value <= max;
}

static bool parse_option(options *o, const char *name, const char *value) {
    uint64_t number = 0;
    bool ok = true;

    if (strcmp(name, "--layout") == 0) {
        o->diffusers = strcmp(value, "diffusers") == 0;
        o->torch = strcmp(value, "ckpt") == 0;
        o->halves = strcmp(value, "halves") == 0;
        ok = o->diffusers || o->torch || o->halves || strcmp(value, "original") == 0;
    } else if (strcmp(name, "--ema") == 0) {
        ok = parse_number(value, 0, 1, &number);
        o->ema = number == 1;
    } else if (strcmp(name, "--size") == 0) {
        o->size = model_size_find(value);
        o->tiny = tiny_size_find(value);
        ok = o->size || o->tiny;
    } else if (strcmp(name, "--dtype") == 0) {
        ok = parse_dtype(value, &o->values.type);
    } else if (strcmp(name, "--seed") == 0) {
        ok = parse_number(value, 0, UINT64_MAX, &o->values.seed);
    } else if (strcmp(name, "--bits") == 0) {
        ok = parse_number(value, 4, 24, &number);
        o->values.bits = (int)number;
    } else if (strcmp(name, "--out") == 0) {
        o->out = value;
    } else if (strcmp(name, "--stamp") == 0) {
        o->stamp = value;
    } else {
        ok = false;
    }
    if (!ok)
        fprintf(stderr, "not understood: %s %s\n", name, value);
    return ok;
}

static bool write_folder(const options *o, const tensor_list *list) {
    static const struct {
        component network;
        const char *path;
    } files[] = {
        {TEXT, "text_encoder/model.safetensors"},
        {TEXT_2, "text_encoder_2/model.safetensors"},
        {UNET, "unet/diffusion_pytorch_model.safetensors"},
        {VAE, "vae/diffusion_pytorch_model.safetensors"},
    };
    bool ok = diffusers_configs_write(o->out, o->size) && tokenizer_write(o->out, o->size);
    for (size_t i = 0; ok && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[PATH_SIZE];
        if ((files[i].network == TEXT && is_refiner(o->size)) ||
            (files[i].network == TEXT_2 && !o->size->xl))
            continue;
        ok = join_path(path, o->out, files[i].path) &&
             safetensors_write(path, list, &o->values, files[i].network, true, o->size);
    }
    return ok;
}

static bool write_in(const options *o, const tensor_list *list, component network,
                     const char *name) {
    char path[PATH_SIZE];
    return join_path(path, o->out, name) &&
           safetensors_write(path, list, &o->values, network, o->diffusers, NULL);
}

/* A small autoencoder, in one of three layouts. */
static bool write_tiny(const options *o, tensor_list *list) {
    if (!tensor_list_add_tiny(o->tiny, list))
        return false;
    if (o->halves)
        return make_folder(o->out) &&
               write_in(o, list, TINY_ENCODER, "taesd_encoder.safetensors") &&
               write_in(o, list, TINY_DECODER, "taesd_decoder.safetensors");
    if (o->diffusers)
        return tiny_config_write(o->out, o->tiny) &&
               write_in(o, list, N_COMPONENTS, "diffusion_pytorch_model.safetensors");
    return safetensors_write(o->out, list, &o->values, N_COMPONENTS, false, NULL);
}

static bool write_model(const options *o, tensor_list *list) {
    if (!tensor_list_build(o->size, list))
        return false;
    if (o->diffusers)
        return write_folder(o, list);
    if (o->torch)
        return torch_write(o->out, list, &o->values, o->ema, o->size);
    return safetensors_write(o->out, list, &o->values, N_COMPONENTS, false, o->size);
}

static bool write_stamp(const char *path) {
    FILE *f = fopen(path, "wb");
    if (f && fclose(f) == 0)
        return true;
    fprintf(stderr, "cannot write %s\n", path);
    return false;
}

int main(int argc, char **argv) {
    options o = {.size = model_size_find("tiny"), .values = {0, DTYPE_F16, 24}};
    tensor_list list = {0};

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2;
    }
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !parse_option(&o, argv[i], argv[i + 1]))
            return 1;
    if (!o.out) {
        fputs("--out PATH is missing\n", stderr);
        return 1;
    }
    if (o.torch && (o.tiny || o.size->xl)) {
        fputs("--layout ckpt has no SDXL and no TAESD\n", stderr);
        return 1;
    }
    if (o.size && (o.halves || (o.size->tiny && !o.diffusers))) {
        fputs("this --layout is for TAESD, and --size tiny-taesd-vae for diffusers\n", stderr);
        return 1;
    }
    bool ok = o.tiny ? write_tiny(&o, &list) : write_model(&o, &list);
    if (ok && o.stamp)
        ok = write_stamp(o.stamp);
    free(list.items);
    return ok ? 0 : 1;
}
