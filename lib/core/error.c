/*
 * The last error of a thread in a context. A thread keeps the sentences of the few contexts that it
 * failed in most recently, in thread-local memory: nothing to allocate, lock or give back, and an
 * error can be told when memory is out. A call that is being made keeps its own (call.h), and files
 * it here where it fails.
 */
#include "core/call.h"

#include <string.h>

#define SLOTS 4

typedef struct error_slot {
    uint64_t context_id; /* 0: of no context */
    unsigned used;       /* age: the least is overwritten */
    bool taken;
    char text[SD_SENTENCE];
} error_slot;

static _Thread_local struct {
    error_slot slots[SLOTS];
    unsigned clock;
} errors;

static error_slot *find_slot(uint64_t id) {
    for (size_t i = 0; i < SLOTS; i++)
        if (errors.slots[i].taken && errors.slots[i].context_id == id)
            return &errors.slots[i];
    return NULL;
}

static error_slot *take_slot(uint64_t id) {
    error_slot *slot = find_slot(id);
    for (size_t i = 0; !slot && i < SLOTS; i++)
        if (!errors.slots[i].taken)
            slot = &errors.slots[i];
    if (!slot) {
        slot = &errors.slots[0];
        for (size_t i = 1; i < SLOTS; i++)
            if (errors.slots[i].used < slot->used)
                slot = &errors.slots[i];
    }
    slot->taken = true;
    slot->context_id = id;
    slot->used = ++errors.clock;
    return slot;
}

const char *sd_status_text(sd_status status) {
    static const char *const names[] = {
        [SD_OK] = "success",
        [SD_ERROR_ARGUMENT] = "bad argument",
        [SD_ERROR_MEMORY] = "out of memory",
        [SD_ERROR_IO] = "file cannot be opened, read or written",
        [SD_ERROR_FORMAT] = "damaged or unknown file format",
        [SD_ERROR_MODEL] = "tensors do not fit the model",
        [SD_ERROR_UNSUPPORTED] = "not supported",
        [SD_ERROR_BACKEND] = "backend failed",
        [SD_ERROR_STATE] = "call does not fit the handle's state",
        [SD_ERROR_CANCELLED] = "cancelled",
        [SD_ERROR_INTERNAL] = "internal error",
    };
    size_t i = (size_t)status;
    return i < SD_COUNT(names) ? names[i] : "unknown status";
}

void sd_error_keep(uint64_t context_id, const char *sentence) {
    error_slot *slot = take_slot(context_id);
    sd_print(slot->text, sizeof slot->text, "%s", sentence);
}

sd_status sd_vfail(const sd_context *ctx, sd_status status, const char *format, va_list args) {
    char text[SD_SENTENCE]; /* apart, since an argument may be the old sentence */
    sd_call *call = sd_call_current();
    if (sd_vprint(text, sizeof text, format, args) < 0)
        sd_print(text, sizeof text, "%s", sd_status_text(status));
    if (call) {
        call->failed = true;
        call->context_id = ctx ? ctx->id : 0;
        memcpy(call->sentence, text, sizeof text);
    } else {
        sd_error_keep(ctx ? ctx->id : 0, text);
    }
    if (ctx)
        sd_log(ctx, SD_LOG_LEVEL_DEBUG, "%s", text);
    return status;
}

sd_status sd_fail(const sd_context *ctx, sd_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sd_vfail(ctx, status, format, args);
    va_end(args);
    return status;
}

const char *sd_error_last(uint64_t context_id) {
    const error_slot *slot = find_slot(context_id);
    return slot ? slot->text : "";
}

const char *sd_error_get(uint64_t context_id) {
    const sd_call *call = sd_call_current();
    if (!call)
        return sd_error_last(context_id);
    return call->failed && call->context_id == context_id ? call->sentence : "";
}
