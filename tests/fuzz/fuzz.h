/*
 * Readers of foreign bytes under fuzzing. Each target takes any bytes and must come back with a
 * status, with every block given back and without a finding of the sanitizers. One source for two
 * programs: fuzz-NAME, where libFuzzer looks for inputs (Meson option `fuzz`, Clang), and
 * regress.c, which every build runs on the corpus and on mutations of it.
 *
 * Ten minutes of libFuzzer for each target (at bb5fcb5, one process, -max_len=8192, or 4096 for
 * torch and pickle) found nothing. Millions of inputs: bpe 1.0, image 4.3, json 10.5, pickle 8.3,
 * prompt 1.4, safetensors 2.3, torch 6.4, yaml 1.8.
 */
#ifndef SD_TESTS_FUZZ_H
#define SD_TESTS_FUZZ_H

#include "core/context.h"

typedef struct fuzz_target {
    const char *name; /* and of its folder in corpus/ */
    sd_status (*run)(const uint8_t *data, size_t size);
    int mutations; /* that regress.c makes of the corpus */
} fuzz_target;

extern const fuzz_target fuzz_targets[];
extern const size_t fuzz_n_targets;
const fuzz_target *fuzz_find(const char *name); /* NULL: none */

/* One input; ends the process where memory is left behind or a failure has no sentence. */
sd_status fuzz_run(const fuzz_target *target, const uint8_t *data, size_t size);

/* Without a device; its allocator refuses what goes beyond 64 MiB in all. */
extern sd_context *fuzz_ctx;
/* A small vocabulary. */
extern struct sd_tokenizer *fuzz_tokenizer;

/* Fails where a thing does not hold that must hold of any input. */
#define FUZZ_REQUIRE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_broken(__FILE__, __LINE__, #condition);                                           \
    } while (0)
void fuzz_broken(const char *file, int line, const char *condition);

/* A file of this process's own folder (in /dev/shm where there is one) with these bytes; folders in
 * its name are made. Static: the last four paths stay valid. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);
const char *fuzz_folder(void);

sd_status fuzz_adapter(const uint8_t *data, size_t size);
sd_status fuzz_safetensors(const uint8_t *data, size_t size);
sd_status fuzz_torch(const uint8_t *data, size_t size);
sd_status fuzz_pickle(const uint8_t *data, size_t size);
sd_status fuzz_json(const uint8_t *data, size_t size);
sd_status fuzz_bpe(const uint8_t *data, size_t size);
sd_status fuzz_clean(const uint8_t *data, size_t size);
sd_status fuzz_image(const uint8_t *data, size_t size);
sd_status fuzz_prompt(const uint8_t *data, size_t size);
sd_status fuzz_yaml(const uint8_t *data, size_t size);

#endif
