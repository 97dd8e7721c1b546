/* Heap memory through the context's allocator. A block carries its size in a 64-byte header, so
 * that data stays aligned for SIMD and the host's free gets the size. */
#include "core/context.h"
#include "core/os.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 64
#define LARGE ((size_t)4 << 20) /* at least one whole 2 MB page lies in such a block */

static void *heap_alloc(void *user, size_t size, size_t alignment) {
    (void)user;
    void *p = NULL;
    if (posix_memalign(&p, alignment, size) != 0)
        return NULL;
    if (size >= LARGE)
        sdi_prefer_large_pages(p, size);
    return p;
}

static void heap_free(void *user, void *ptr, size_t size) {
    (void)user;
    (void)size;
    free(ptr);
}

const sd_alloc_fn sdi_heap_alloc = heap_alloc;
const sd_free_fn sdi_heap_free = heap_free;

static void *no_memory(const sd_context *ctx, size_t size) {
    sdi_fail(ctx, SD_ERROR_MEMORY, "out of memory: %zu bytes were asked for", size);
    return NULL;
}

void *sdi_alloc(const sd_context *ctx, size_t size) {
    if (size > SIZE_MAX - HEADER)
        return no_memory(ctx, size);
    uint8_t *block = ctx->host.allocate(ctx->host.alloc_user, size + HEADER, HEADER);
    if (!block)
        return no_memory(ctx, size);
    memcpy(block, &size, sizeof size);
    return block + HEADER;
}

void *sdi_zalloc(const sd_context *ctx, size_t size) {
    void *p = sdi_alloc(ctx, size);
    return p ? memset(p, 0, size) : NULL;
}

void *sdi_alloc_array(const sd_context *ctx, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size)
        return no_memory(ctx, SIZE_MAX);
    return sdi_zalloc(ctx, n * size);
}

static size_t block_size(const void *ptr) {
    size_t size;
    memcpy(&size, (const uint8_t *)ptr - HEADER, sizeof size);
    return size;
}

void *sdi_realloc(const sd_context *ctx, void *ptr, size_t size) {
    void *grown = sdi_alloc(ctx, size);
    if (grown && ptr) {
        size_t old = block_size(ptr);
        memcpy(grown, ptr, old < size ? old : size);
        sdi_free(ctx, ptr);
    }
    return grown;
}

void sdi_free(const sd_context *ctx, void *ptr) {
    if (!ptr)
        return;
    ctx->host.deallocate(ctx->host.alloc_user, (uint8_t *)ptr - HEADER, block_size(ptr) + HEADER);
}

char *sdi_strndup(const sd_context *ctx, const char *s, size_t n) {
    char *copy = sdi_alloc(ctx, n + 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *sdi_strdup(const sd_context *ctx, const char *s) {
    return sdi_strndup(ctx, s, strlen(s));
}

bool sdi_ends_with(const char *text, size_t size, const char *end) {
    size_t n = strlen(end);
    return size >= n && memcmp(text + size - n, end, n) == 0;
}

char *sdi_format(const sd_context *ctx, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = sdi_vprint(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : sdi_alloc(ctx, (size_t)n + 1);
    if (text)
        sdi_vprint(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}
