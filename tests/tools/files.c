/* Makes and removes folders and files for tests. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what, const char *path) {
    fprintf(stderr, "cannot %s %s: %s\n", what, path, strerror(errno));
    exit(99);
}

/* ------------------------------------------------------------------------- folders, files */

void files_make_temp(char path[FILES_PATH]) {
    const char *base = getenv("TMPDIR");
    snprintf(path, FILES_PATH, "%s/sd-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        die("make", path);
}

void files_remove_tree(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char child[FILES_PATH];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(child, sizeof child, "%s/%s", path, entry->d_name) >= FILES_PATH)
            die("name", path);
        if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
            files_remove_tree(child);
        else if (unlink(child) != 0)
            die("remove", child);
    }
    if (dir)
        closedir(dir);
    if (rmdir(path) != 0)
        die("remove", path);
}

const char *files_path(const char *dir, const char *name) {
    static char buffers[4][FILES_PATH];
    static unsigned next;
    char *path = buffers[next++ % 4];
    if (snprintf(path, FILES_PATH, "%s/%s", dir, name) >= FILES_PATH)
        die("name", dir);
    for (char *slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            die("make", path);
        *slash = '/';
    }
    return path;
}

void files_write(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        die("write", path);
}

void files_write_text(const char *path, const char *text) {
    files_write(path, text, strlen(text));
}

uint8_t *files_read(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        die("read", path);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*n + 1);
    if (!bytes || fread(bytes, 1, *n, f) != *n)
        die("read", path);
    fclose(f);
    return bytes;
}

static json_t *parse(const char *text) {
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    if (!json)
        die(error.text, text);
    return json;
}

void files_write_json(const char *path, const char *base, const char *changes) {
    json_t *json = parse(base);
    if (changes) {
        json_t *over = parse(changes);
        json_object_update(json, over);
        json_decref(over);
    }
    if (json_dump_file(json, path, JSON_INDENT(2)) != 0)
        die("write", path);
    json_decref(json);
}

/* ------------------------------------------------------------------------- safetensors */

struct safetensors {
    json_t *header, *metadata;
};

safetensors *safetensors_new(void) {
    safetensors *s = calloc(1, sizeof *s);
    s->header = json_object();
    s->metadata = json_object();
    return s;
}

void safetensors_add(safetensors *s, const char *name, const char *dtype, const char *shape) {
    json_object_set_new(s->header, name,
                        json_pack("{s:s, s:o}", "dtype", dtype, "shape", parse(shape)));
}

void safetensors_metadata(safetensors *s, const char *key, const char *value) {
    json_object_set_new(s->metadata, key, json_string(value));
}

bool safetensors_drop(safetensors *s, const char *name) {
    return json_object_del(s->header, name) == 0;
}

safetensors *safetensors_open(const char *path) {
    uint8_t head[8];
    uint64_t n = 0;
    FILE *f = fopen(path, "rb");
    if (!f || fread(head, 1, 8, f) != 8)
        die("read", path);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | head[i];
    char *text = malloc((size_t)n + 1);
    if (!text || fread(text, 1, (size_t)n, f) != n)
        die("read", path);
    fclose(f);
    text[n] = '\0';
    safetensors *s = calloc(1, sizeof *s);
    s->header = parse(text);
    s->metadata = json_incref(json_object_get(s->header, "__metadata__"));
    if (!s->metadata)
        s->metadata = json_object();
    json_object_del(s->header, "__metadata__");
    free(text);
    return s;
}

size_t safetensors_count(const safetensors *s) {
    return json_object_size(s->header);
}

const char *safetensors_name(const safetensors *s, size_t i) {
    void *at = json_object_iter(s->header);
    while (at && i-- > 0)
        at = json_object_iter_next(s->header, at);
    return json_object_iter_key(at);
}

bool safetensors_reshape(safetensors *s, const char *name, int more, bool longer) {
    json_t *shape = json_object_get(json_object_get(s->header, name), "shape");
    if (json_array_size(shape) == 0)
        return false;
    json_int_t first = json_integer_value(json_array_get(shape, 0));
    json_array_set_new(shape, 0, json_integer(first + more));
    if (longer)
        json_array_append_new(shape, json_integer(2));
    return true;
}

bool safetensors_retype(safetensors *s, const char *name, const char *dtype) {
    return json_object_set_new(json_object_get(s->header, name), "dtype", json_string(dtype)) == 0;
}

static int64_t type_size(const char *dtype) {
    return strstr(dtype, "64") ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
}

void safetensors_save(const safetensors *s, const char *path) {
    const char *name;
    json_t *tensor;
    int64_t at = 0;
    json_object_foreach(s->header, name, tensor) {
        int64_t size = type_size(json_string_value(json_object_get(tensor, "dtype")));
        json_t *shape = json_object_get(tensor, "shape");
        for (size_t i = 0; i < json_array_size(shape); i++)
            size *= json_integer_value(json_array_get(shape, i));
        json_object_set_new(tensor, "data_offsets",
                            json_pack("[I, I]", (json_int_t)at, (json_int_t)(at + size)));
        at += size;
    }
    json_t *whole = json_copy(s->header);
    if (json_object_size(s->metadata))
        json_object_set(whole, "__metadata__", s->metadata);
    char *text = json_dumps(whole, JSON_COMPACT);
    safetensors_write_raw(path, strlen(text), text, (size_t)at);
    free(text);
    json_decref(whole);
}

void safetensors_free(safetensors *s) {
    json_decref(s->header);
    json_decref(s->metadata);
    free(s);
}

void safetensors_write_raw(const char *path, uint64_t length, const char *header, size_t n_data) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (8 * i));
    FILE *f = fopen(path, "wb");
    size_t n = strlen(header);
    if (!f || fwrite(bytes, 1, 8, f) != 8 || fwrite(header, 1, n, f) != n || fclose(f) != 0 ||
        truncate(path, (off_t)(8 + n + n_data)) != 0)
        die("write", path);
}

/* ------------------------------------------------------------------------- tiny models */

static const struct {
    const char *name, *shape;
} tiny[] = {
    {"model.diffusion_model.input_blocks.0.0.weight", "[32, 4, 3, 3]"},
    {"model.diffusion_model.input_blocks.1.0.in_layers.2.weight", "[32, 32, 3, 3]"},
    {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", "[32, 128]"},
    {"model.diffusion_model.input_blocks.2.0.in_layers.2.weight", "[32, 32, 3, 3]"},
    {"model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight", "[32, 128]"},
    {"model.diffusion_model.input_blocks.3.0.op.weight", "[32, 32, 3, 3]"},
    {"model.diffusion_model.input_blocks.4.0.in_layers.2.weight", "[64, 32, 3, 3]"},
    {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.input_blocks.5.0.in_layers.2.weight", "[64, 64, 3, 3]"},
    {"model.diffusion_model.input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.input_blocks.6.0.op.weight", "[64, 64, 3, 3]"},
    {"model.diffusion_model.input_blocks.7.0.in_layers.2.weight", "[64, 64, 3, 3]"},
    {"model.diffusion_model.input_blocks.8.0.in_layers.2.weight", "[64, 64, 3, 3]"},
    {"model.diffusion_model.middle_block.1.proj_in.weight", "[64, 64, 1, 1]"},
    {"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.output_blocks.3.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.output_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.output_blocks.5.1.transformer_blocks.0.attn2.to_k.weight", "[64, 128]"},
    {"model.diffusion_model.output_blocks.6.1.transformer_blocks.0.attn2.to_k.weight", "[32, 128]"},
    {"model.diffusion_model.output_blocks.7.1.transformer_blocks.0.attn2.to_k.weight", "[32, 128]"},
    {"model.diffusion_model.output_blocks.8.1.transformer_blocks.0.attn2.to_k.weight", "[32, 128]"},
    {"model.diffusion_model.out.2.weight", "[4, 32, 3, 3]"},
    {"first_stage_model.encoder.conv_in.weight", "[32, 3, 3, 3]"},
    {"first_stage_model.encoder.down.0.block.0.conv1.weight", "[32, 32, 3, 3]"},
    {"first_stage_model.encoder.down.1.block.0.conv1.weight", "[64, 32, 3, 3]"},
    {"first_stage_model.encoder.mid.attn_1.q.weight", "[64, 64, 1, 1]"},
    {"first_stage_model.quant_conv.weight", "[8, 8, 1, 1]"},
    {"first_stage_model.decoder.conv_in.weight", "[64, 4, 3, 3]"},
    {"first_stage_model.decoder.conv_out.weight", "[3, 32, 3, 3]"},
    {"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", "[100, 128]"},
    {"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", "[77, 128]"},
    {"cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight", "[512, 128]"},
    {"cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight", "[512, 128]"},
};

safetensors *safetensors_tiny_original(void) {
    safetensors *s = safetensors_new();
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++)
        safetensors_add(s, tiny[i].name, "F16", tiny[i].shape);
    return s;
}

const char *const tiny_model_index =
    "{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": [\"diffusers\", "
    "\"UNet2DConditionModel\"], \"vae\": [\"diffusers\", \"AutoencoderKL\"], \"text_encoder\": "
    "[\"transformers\", \"CLIPTextModel\"], \"safety_checker\": [null, null]}";
const char *const tiny_unet_config =
    "{\"_class_name\": \"UNet2DConditionModel\", \"attention_head_dim\": 4, "
    "\"block_out_channels\": [32, 64, 64], \"cross_attention_dim\": 128, \"down_block_types\": "
    "[\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"DownBlock2D\"], \"up_block_types\": "
    "[\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\"], \"layers_per_block\": 2, "
    "\"sample_size\": 16}";
const char *const tiny_vae_config =
    "{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [32, 64], \"down_block_types\": "
    "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], \"up_block_types\": "
    "[\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"layers_per_block\": 1}";
const char *const tiny_text_config =
    "{\"model_type\": \"clip_text_model\", \"vocab_size\": 100, \"hidden_size\": 128, "
    "\"intermediate_size\": 512, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
    "\"bos_token_id\": 0, \"eos_token_id\": 2, \"pad_token_id\": 1}";
const char *const tiny_scheduler_config =
    "{\"_class_name\": \"PNDMScheduler\", \"beta_schedule\": \"scaled_linear\", \"beta_start\": "
    "0.00085, \"beta_end\": 0.012, \"num_train_timesteps\": 1000}";

static void save_one(const char *path, const char *name) {
    safetensors *s = safetensors_new();
    safetensors_add(s, name, "F32", "[2, 3]");
    safetensors_save(s, path);
    safetensors_free(s);
}

void files_make_tiny_diffusers(const char *dir) {
    files_write_json(files_path(dir, "model_index.json"), tiny_model_index, NULL);
    files_write_json(files_path(dir, "unet/config.json"), tiny_unet_config, NULL);
    files_write_json(files_path(dir, "vae/config.json"), tiny_vae_config, NULL);
    files_write_json(files_path(dir, "text_encoder/config.json"), tiny_text_config, NULL);
    files_write_json(files_path(dir, "scheduler/scheduler_config.json"), tiny_scheduler_config,
                     NULL);
    save_one(files_path(dir, "unet/diffusion_pytorch_model.safetensors"), "conv_in.weight");
    save_one(files_path(dir, "vae/diffusion_pytorch_model.safetensors"), "encoder.conv_in.weight");
    save_one(files_path(dir, "text_encoder/model.safetensors"),
             "text_model.embeddings.token_embedding.weight");
}
