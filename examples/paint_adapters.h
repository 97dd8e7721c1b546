/* What paint.c asks paint_adapters.c for. */
#ifndef SD_EXAMPLES_PAINT_ADAPTERS_H
#define SD_EXAMPLES_PAINT_ADAPTERS_H

#include "paint.h"

/* Loads p->model with the embeddings of the options and with these adapters. */
sd_status paint_load_model(paint *p, sd_model_params *model, const lora_list *loras);

/* Whether the files of all tags are there, before anything is painted: else an exit code, with a
 * sentence printed. */
int paint_check_tags(const paint *p);

#endif
