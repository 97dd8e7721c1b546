/*
 * Recorded regions: on a backend that has them, operations whose inputs and outputs lie in device
 * memory at fixed places are noted once and replayed with one call.
 *
 * An executor knows the stages that it ran last, by their keys: such a stage need not be measured
 * again, and its region is kept. The first two runs give their operations to the queue one by one;
 * the second records them besides, while the device computes, so that a program that makes one
 * picture does not pay for recording. All are forgotten when the arena or the queue's scratch
 * moves.
 */
#ifndef SD_BACKEND_REGION_H
#define SD_BACKEND_REGION_H

#include "backend/exec.h"

/* The stage of this key runs from now on, if it is known; else it is to be measured and committed,
 * and then added. */
bool sd_exec_find_stage(sd_exec *e, const sd_stage_key *key);
/* In place of the one that was not run for the longest time, where there are many. */
void sd_exec_add_stage(sd_exec *e, const sd_stage_key *key);
void sd_exec_forget_stages(sd_exec *e);

/* The region of the stage that runs: run, recorded or replayed. A stage has one, which it may run
 * several times, with the stack at the same place. Uploads and downloads stay outside. */
void sd_exec_region(sd_exec *e, sd_exec_fn fn, void *arg);

#endif
