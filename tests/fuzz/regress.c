/*
 * Runs the targets without libFuzzer: regress CORPUS [TARGET...]. Each on every file of
 * CORPUS/TARGET, then on mutations of these, the same in every run.
 */
#include "fuzz.h"

#include "../tools/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEEDS 256
#define MAX_SIZE 65536 /* of a mutation */

typedef struct seed {
    char name[256];
    uint8_t *data;
    size_t size;
} seed;

static uint64_t state;

/* xorshift64*: Vigna 2016. */
static size_t below(size_t n) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n ? (size_t)((state * 0x2545F4914F6CDD1Dull) >> 33) % n : 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const seed *)a)->name, ((const seed *)b)->name);
}

static int load(const char *path, seed *seeds) {
    DIR *dir = opendir(path);
    int n = 0;
    FUZZ_REQUIRE(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char file[FILES_PATH + 256];
        if (entry->d_name[0] == '.')
            continue;
        FUZZ_REQUIRE(n < MAX_SEEDS);
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        snprintf(seeds[n].name, sizeof seeds[n].name, "%s", entry->d_name);
        seeds[n].data = files_read(file, &seeds[n].size);
        n++;
    }
    closedir(dir);
    qsort(seeds, (size_t)n, sizeof *seeds, by_name);
    return n;
}

/* One change to the n bytes at x, where MAX_SIZE have room; the new size. */
static size_t mutate(uint8_t *x, size_t n, const seed *other) {
    static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, '0', '9', '-', '"', '{', '[', ':'};
    size_t at = below(n), length = 1 + below(8), from;
    if (n == 0)
        return n;
    switch (below(6)) {
    case 0:
        x[at] ^= (uint8_t)(1u << below(8));
        return n;
    case 1:
        x[at] = special[below(sizeof special)];
        return n;
    case 2: /* out */
        length = length < n - at ? length : n - at;
        memmove(x + at, x + at + length, n - at - length);
        return n - length;
    case 3: /* a piece of the input again */
        from = below(n);
        length = below(n - from) + 1;
        if (n + length > MAX_SIZE)
            return n;
        memmove(x + at + length, x + at, n - at);
        memmove(x + at, x + from, length);
        return n + length;
    case 4: /* the end of another */
        from = below(other->size);
        length = other->size - from;
        if (at + length > MAX_SIZE)
            return n;
        memcpy(x + at, other->data + from, length);
        return at + length;
    default: /* cut off */
        return at;
    }
}

static bool run_target(const fuzz_target *target, const char *corpus) {
    static seed seeds[MAX_SEEDS];
    static uint8_t x[MAX_SIZE];
    char path[FILES_PATH];
    int accepted = 0, mutants = 0;
    snprintf(path, sizeof path, "%s/%s", corpus, target->name);
    int n = load(path, seeds);
    for (int i = 0; i < n; i++)
        accepted += fuzz_run(target, seeds[i].data, seeds[i].size) == SD_OK;
    state = 88172645463325252ull;
    for (int i = 0; i < target->mutations && n; i++) {
        const seed *s = &seeds[below((size_t)n)];
        size_t size = s->size < MAX_SIZE ? s->size : MAX_SIZE;
        memcpy(x, s->data, size);
        for (size_t k = 1 + below(4); k; k--)
            size = mutate(x, size, &seeds[below((size_t)n)]);
        mutants += fuzz_run(target, x, size) == SD_OK;
    }
    for (int i = 0; i < n; i++)
        free(seeds[i].data);
    printf("%-12s %3d files, %3d accepted; %5d mutations, %5d accepted\n", target->name, n,
           accepted, target->mutations, mutants);
    if (!accepted) /* then the corpus reaches nothing */
        fprintf(stderr, "%s: no file of the corpus was accepted\n", path);
    return accepted > 0;
}

int main(int argc, char **argv) {
    bool good = true;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS [TARGET...]\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < fuzz_n_targets && argc == 2; i++)
        good = run_target(&fuzz_targets[i], argv[1]) && good;
    for (int i = 2; i < argc; i++) {
        const fuzz_target *target = fuzz_find(argv[i]);
        if (!target) {
            fprintf(stderr, "no target %s\n", argv[i]);
            return 2;
        }
        good = run_target(target, argv[1]) && good;
    }
    return good ? 0 : 1;
}
