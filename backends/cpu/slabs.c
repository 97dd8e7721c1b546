/*
 * Memory of weights, which are cut one after the other from large blocks, so that nearly all of it
 * comes in large pages: a load touches each page for the first time, and with small ones the faults
 * take a tenth of its time.
 */
#include "cpu.h"

#define FIRST ((size_t)1 << 20)
#define LARGEST ((size_t)64 << 20) /* each block is twice as large as the one before */

struct cpu_slab {
    size_t size, used;
    int live; /* weights */
    uint8_t *data;
};

/* Held for a few instructions: nothing is allocated meanwhile. A child of a fork takes it from a
 * thread that it does not have; what that one was at is whole but for its own weight. */
static cpu_slabs *lock(sdb_device *dev) {
    cpu_slabs *s = &dev->slabs;
    unsigned mine = dev->host->forks(dev->host->user) + 1, seen = 0;
    while (!atomic_compare_exchange_weak_explicit(&s->taken, &seen, mine, memory_order_acquire,
                                                  memory_order_relaxed))
        if (seen == mine)
            seen = 0;
    return s;
}

static void unlock(cpu_slabs *s) {
    atomic_store_explicit(&s->taken, 0, memory_order_release);
}

static cpu_slab *new_slab(const sdb_host *host, size_t size) {
    cpu_slab *slab = host->alloc(host->user, sizeof *slab, 64);
    if (!slab)
        return NULL;
    *slab = (cpu_slab){.size = size};
    slab->data = host->alloc(host->user, size, 64);
    if (!slab->data) {
        host->free(host->user, slab);
        return NULL;
    }
    return slab;
}

/* NULL: the slab has no room. */
static uint8_t *cut(cpu_slab *slab, size_t size) {
    if (!slab || slab->size - slab->used < size)
        return NULL;
    uint8_t *data = slab->data + slab->used;
    slab->used += size;
    slab->live++;
    return data;
}

/* A weight that is large beside a slab gets one of its own, which leaves the rest of the current
 * one to smaller weights. */
static cpu_slab *grow(sdb_device *dev, size_t size, uint8_t **data) {
    cpu_slabs *s = lock(dev);
    size_t next = s->next < FIRST ? FIRST : s->next;
    unlock(s);
    bool shared = size <= next / 4;
    cpu_slab *slab = new_slab(dev->host, shared ? next : size);
    if (!slab)
        return NULL;
    lock(dev);
    *data = cut(slab, size);
    if (shared)
        s->current = slab;
    if (next < LARGEST)
        s->next = 2 * next;
    unlock(s);
    return slab;
}

void *cpu_slab_take(sdb_device *dev, size_t size, cpu_slab **out) {
    size = (size + 63) / 64 * 64;
    cpu_slabs *s = lock(dev);
    cpu_slab *slab = s->current;
    uint8_t *data = cut(slab, size);
    unlock(s);
    if (!data)
        slab = grow(dev, size, &data);
    *out = slab;
    return slab ? data : NULL;
}

void cpu_slab_give(sdb_device *dev, cpu_slab *slab) {
    cpu_slabs *s = lock(dev);
    bool last = --slab->live == 0;
    if (last && slab == s->current) {
        s->current = NULL;
        s->next = 0;
    }
    unlock(s);
    if (last) {
        dev->host->free(dev->host->user, slab->data);
        dev->host->free(dev->host->user, slab);
    }
}
