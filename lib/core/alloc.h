/* The allocator of a context that was given none. */
#ifndef SD_CORE_ALLOC_H
#define SD_CORE_ALLOC_H

#include "core/context.h"

extern const sd_alloc_fn sdi_heap_alloc;
extern const sd_free_fn sdi_heap_free;

#endif
