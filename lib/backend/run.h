/*
 * Running programs: a loop over their operations, with no network code.
 *
 * An executor knows the programs that it ran last. Where the backend has recorded regions, each
 * segment is one: its first two runs give their operations to the queue one by one; the second
 * records them besides, while the device computes, so that a program that makes one picture does
 * not pay for recording; later ones replay. A program's addresses depend on nothing but the
 * program, so that the next one to run it on this executor replays at once. Graphs are forgotten
 * when the arena or the queue's scratch moves.
 */
#ifndef SD_BACKEND_RUN_H
#define SD_BACKEND_RUN_H

#include "backend/exec.h"

sd_status sdi_exec_new(sd_context *ctx, sdb_type act, sd_exec **out);
void sdi_exec_free(sd_exec *e);

/* The program's memory is the arena's beginning from now on. Its operations have noted their
 * scratch, and planning goes on for tensors and operations of the caller's own until
 * sdi_exec_commit allocates the arena (growing it where it is too small) and the queue's scratch. p
 * NULL: there are those alone. */
void sdi_exec_plan(sd_exec *e, sd_program *p);
sd_status sdi_exec_commit(sd_exec *e);
/* Ends planning and allocates nothing: for estimates. Bytes of arena and scratch. */
size_t sdi_exec_abandon(sd_exec *e);

/* Plans and commits a program with nothing around it, unless the executor knows it. */
void sdi_exec_use(sd_exec *e, sd_program *p);
/* A tensor that the host puts into, or gets from, the program that is used. */
sdb_tensor sdi_exec_io(const sd_exec *e, int index);
/* Computes nothing while planning, and counts its arithmetic. */
void sdi_exec_run(sd_exec *e, int segment);

#endif
