/* The context of the targets, and what must hold after each input. */
#include "fuzz.h"

#include "../tools/files.h"
#include "core/context_new.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const fuzz_target fuzz_targets[] = {
    {"safetensors", fuzz_safetensors, 5000},
    {"adapter", fuzz_adapter, 5000},
    {"torch", fuzz_torch, 5000},
    {"pickle", fuzz_pickle, 20000},
    {"json", fuzz_json, 10000},
    {"bpe", fuzz_bpe, 5000},
    {"clean", fuzz_clean, 10000},
    {"image", fuzz_image, 10000},
    {"prompt", fuzz_prompt, 15000},
    {"yaml", fuzz_yaml, 10000},
};
const size_t fuzz_n_targets = SD_COUNT(fuzz_targets);

#define MAX_MEMORY (64u << 20)

sd_context *fuzz_ctx;
struct sd_tokenizer *fuzz_tokenizer;
static size_t live;
static char folder[FILES_PATH];

const fuzz_target *fuzz_find(const char *name) {
    for (size_t i = 0; i < fuzz_n_targets; i++)
        if (!strcmp(fuzz_targets[i].name, name))
            return &fuzz_targets[i];
    return NULL;
}

void fuzz_broken(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

static void *limited_alloc(void *user, size_t size, size_t alignment) {
    void *p;
    (void)user;
    if (size > MAX_MEMORY - live || posix_memalign(&p, alignment, size ? size : 1))
        return NULL;
    live += size;
    return p;
}

static void limited_free(void *user, void *ptr, size_t size) {
    (void)user;
    live -= size;
    free(ptr);
}

static void end(void) {
    sdi_tokenizer_release(fuzz_tokenizer);
    sdi_context_release(fuzz_ctx);
    files_remove_tree(folder);
}

static void begin(void) {
    struct stat st;
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    params.allocate = limited_alloc;
    params.deallocate = limited_free;
    FUZZ_REQUIRE(sdi_context_new(&params, &fuzz_ctx) == SD_OK);
    FUZZ_REQUIRE(sdi_tokenizer_load(fuzz_ctx, SD_TEST_DATA "/tokenizer", &fuzz_tokenizer) == SD_OK);
    if (!getenv("TMPDIR") && !stat("/dev/shm", &st) && S_ISDIR(st.st_mode))
        setenv("TMPDIR", "/dev/shm", 1);
    files_make_temp(folder);
    atexit(end);
}

sd_status fuzz_run(const fuzz_target *target, const uint8_t *data, size_t size) {
    if (!fuzz_ctx)
        begin();
    size_t before = live;
    sdi_fail(fuzz_ctx, SD_OK, "%s", "");
    sd_status status = target->run(data, size);
    FUZZ_REQUIRE(live == before);
    FUZZ_REQUIRE(status != SD_ERROR_INTERNAL);
    FUZZ_REQUIRE(!status || *sdi_error_get());
    return status;
}

const char *fuzz_folder(void) {
    return folder;
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size) {
    const char *path = files_path(folder, name);
    files_write(path, data, size);
    return path;
}
