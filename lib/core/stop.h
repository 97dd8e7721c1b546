/*
 * How a call ends before its work is done: by sd_context_cancel, which counts the epoch of its
 * context up, and the sd_stop tokens among the call's parameters.
 */
#ifndef SD_CORE_STOP_H
#define SD_CORE_STOP_H

#include "core/context.h"

struct sd_stop {
    sd_handle handle;
    sd_context *ctx; /* retained */
    atomic_bool set;
};

sd_status sdi_stop_new(sd_context *ctx, sd_stop **out);

#define SD_CALL_STOPS 4 /* that one call may be given: its own and those of its stages */

/* A copy for the threads that work for a call, which outlives their work and has retained the
 * tokens. */
typedef struct sd_interrupt {
    const sd_context *ctx;
    unsigned epoch;                      /* when the call began */
    const sd_stop *stops[SD_CALL_STOPS]; /* the last are NULL */
} sd_interrupt;

/* Work begins: the epoch is now's, and there are no tokens. */
sd_interrupt sdi_interrupt_begin(const sd_context *ctx);
bool sdi_interrupted(const sd_interrupt *interrupt);

/* --- call.c --- */
/* The interrupt of the current call; outside of calls the work begins now. */
sd_interrupt sdi_interrupt_now(const sd_context *ctx);
/* For between two pieces of work: SD_ERROR_CANCELLED where the current call is to end. */
sd_status sdi_check_interrupt(const sd_context *ctx);

#endif
