/* Adapters as the programs are told of them: --lora FILE[:STRENGTH[:TEXT_STRENGTH]], and the web
 * UIs' <lora:NAME:STRENGTH> in prompts. */
#ifndef SD_EXAMPLES_LORA_H
#define SD_EXAMPLES_LORA_H

#include "cli.h"

typedef struct lora_list {
    sd_adapter_use uses[CLI_LIST_MAX]; /* their paths are owned */
    int n;
} lora_list;

/* One of --lora. False with a sentence printed. */
bool lora_add(lora_list *list, const char *program, const char *text);
/* A prompt without its tags, which the caller frees; their files, which are in `dir`, go to the
 * list. NULL with a sentence printed. */
char *lora_take(lora_list *list, const char *program, const char *prompt, const char *dir);
bool lora_same(const lora_list *a, const lora_list *b);
void lora_free(lora_list *list);

#endif
