/*
 * The sd15 model of sd-random-checkpoint has exactly the names, types and shapes of the released
 * file: SD_TEST_SHARED/reference/sd15-manifest.tsv lists them, a line a tensor. Skips (77) where
 * SD_TEST_SHARED is not set.
 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(((const tensor_spec *)a)->original, ((const tensor_spec *)b)->original);
}

/* "name\tF16\t320,320,3,3" */
static void describe(const tensor_spec *t, char *line, size_t size) {
    dtype type = t->kind == KIND_POSITIONS ? DTYPE_I64 : DTYPE_F16;
    size_t n = (size_t)snprintf(line, size, "%s\t%s\t", t->original, dtype_names[type]);
    for (int i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(line + n, size - n, "%s%lld", i ? "," : "", (long long)t->dims[i]);
}

/* The manifest is sorted by name, and the list was. Returns the count of lines that differ. */
static int compare(FILE *manifest, const tensor_list *list, size_t *n_lines) {
    char want[512], got[512];
    int differ = 0;
    for (*n_lines = 0; fgets(want, sizeof(want), manifest); ++*n_lines) {
        want[strcspn(want, "\r\n")] = 0;
        if (*n_lines >= list->n)
            continue;
        describe(&list->items[*n_lines], got, sizeof(got));
        if (strcmp(want, got) != 0 && differ++ < 10)
            printf("expected %s\nfound    %s\n", want, got);
    }
    return differ;
}

int main(void) {
    const char *shared = getenv("SD_TEST_SHARED");
    char path[PATH_SIZE], heading[512];
    tensor_list list;
    size_t n_lines = 0;

    if (!shared) {
        printf("skipped: SD_TEST_SHARED names no folder with reference/sd15-manifest.tsv\n");
        return 77;
    }
    if (!join_path(path, shared, "reference/sd15-manifest.tsv") ||
        !tensor_list_build(model_size_find("sd15"), &list))
        return 1;
    qsort(list.items, list.n, sizeof(list.items[0]), by_name);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(heading, sizeof(heading), f)) {
        printf("cannot read %s\n", path);
        return 1;
    }
    int differ = compare(f, &list, &n_lines);
    printf("%zu tensors in the manifest, %zu here, %d differ\n", n_lines, list.n, differ);
    bool ok = differ == 0 && n_lines == list.n && n_lines == 1131;
    fclose(f);
    free(list.items);
    return ok ? 0 : 1;
}
