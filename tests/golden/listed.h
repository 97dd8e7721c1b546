/* Checkpoints of random weights whose names and shapes a generator of fixtures has listed. */
#ifndef SD_TESTS_LISTED_H
#define SD_TESTS_LISTED_H

#include "../tools/checkpoint.h"

/* Writes the tensors of a list, lines of "name TAB kind TAB 32,3,3,3", as a .safetensors file with
 * the values that make_ldm_golden.py gives them. Needs no Check around it. */
bool listed_write(const char *list, const char *path);

#endif
