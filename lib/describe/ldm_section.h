/* {target: ..., params: {...}} of a YAML config, as ldm_config.c reads it. */
#ifndef SD_DESCRIBE_LDM_SECTION_H
#define SD_DESCRIBE_LDM_SECTION_H

#include "describe/description.h"
#include "io/reader.h"

/* A mapping of `target` and `params`, or a mapping of parameters. */
typedef struct sd_ldm_section {
    const sd_context *ctx;
    sd_description *desc; /* that is being filled */
    const char *file;
    char *path;      /* "v1-inference.yaml: model.params.unet_config", allocated */
    sd_reader r;     /* of `params`; its root is borrowed */
    json_t *nothing; /* the parameters of a class that has none, owned */
    const char *target;
} sd_ldm_section;

typedef struct sd_ldm_class {
    const char *target;
    void (*read)(sd_ldm_section *s); /* its `params` */
} sd_ldm_class;

/* Opens the mapping `v` as parameters; `where` is its name among its parent's. */
void sdi_ldm_open(sd_ldm_section *s, const sd_ldm_section *parent, const char *where,
                  const json_t *v);
sd_status sdi_ldm_close(sd_ldm_section *s);
/* The first failure of both. */
void sdi_ldm_keep(sd_ldm_section *s, sd_status status);

/* Every parameter is one of the names in the NULL-ended lists, or of the fixed rows, which are
 * looked at here. */
void sdi_ldm_check(sd_ldm_section *s, const char *const *read, const char *const *ignored,
                   const sd_fixed *fixed, size_t n_fixed);
/* For a class that takes **ignore_kwargs: others are passed over, as there. */
void sdi_ldm_ignore_others(sd_ldm_section *s, const char *const *read, const sd_fixed *fixed,
                           size_t n_fixed);

/* {target, params} under `key` of the parent: the row of its class reads the parameters. */
sd_status sdi_ldm_instantiate(const sd_ldm_section *parent, const char *key, const json_t *v,
                              const sd_ldm_class *rows, size_t n_rows);

#endif
