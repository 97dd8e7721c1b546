/*
 * sd-random-checkpoint: a Stable Diffusion 1.x or XL model with random weights, as a file in the
 * original layout (safetensors or torch's) or as a diffusers folder; all hold the same weights. See
 * --help.
 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: sd-random-checkpoint [options] --out PATH\n"
    "  --layout original|diffusers|ckpt  one .safetensors file (default), a folder, or one file\n"
    "                               as torch.save writes it\n"
    "  --size tiny|tiny-inpaint|small|sd15|tiny-xl|tiny-xl-inpaint|tiny-xl-refiner|\n"
    "         sdxl|sdxl-inpaint|sdxl-refiner\n"
    "                               default tiny; sd15 has the released file's 1,131 tensors;\n"
    "                               those for inpainting have 9 channels. SDXL comes in the first\n"
    "                               two layouts\n"
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
    bool diffusers, torch, ema;
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
        ok = o->diffusers || o->torch || strcmp(value, "original") == 0;
    } else if (strcmp(name, "--ema") == 0) {
        ok = parse_number(value, 0, 1, &number);
        o->ema = number == 1;
    } else if (strcmp(name, "--size") == 0) {
        o->size = model_size_find(value);
        ok = o->size != NULL;
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
    if (o.torch && o.size->xl) {
        fputs("--layout ckpt has no SDXL\n", stderr);
        return 1;
    }
    bool ok = tensor_list_build(o.size, &list);
    if (ok && o.diffusers)
        ok = write_folder(&o, &list);
    else if (ok && o.torch)
        ok = torch_write(o.out, &list, &o.values, o.ema, o.size);
    else if (ok)
        ok = safetensors_write(o.out, &list, &o.values, N_COMPONENTS, false, o.size);
    if (ok && o.stamp)
        ok = write_stamp(o.stamp);
    free(list.items);
    return ok ? 0 : 1;
}
