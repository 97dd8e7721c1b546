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

/* Fails where the parameter is not there. */
void sdi_ldm_need(sd_ldm_section *s, const char *key);
/* The place of a string in `names`. */
int sdi_ldm_word(sd_ldm_section *s, const char *key, const char *fallback, const char *const *names,
                 int n, const char *expected);

/* {target, params} under `key` of the parent: the row of its class reads the parameters. */
sd_status sdi_ldm_instantiate(const sd_ldm_section *parent, const char *key, const json_t *v,
                              const sd_ldm_class *rows, size_t n_rows);
/* That of a parameter, which is needed; s keeps the failure. */
void sdi_ldm_instantiate_key(sd_ldm_section *s, const char *key, const sd_ldm_class *rows,
                             size_t n_rows);

/* ldm_networks.c: a parameter that is a UNet, or a first stage; a section that is one. */
void sdi_ldm_unet(sd_ldm_section *s, const char *key);
void sdi_ldm_first_stage(sd_ldm_section *s, const char *key);
void sdi_ldm_first_stage_alone(sd_ldm_section *s);
/* sgm_config.c: DiffusionEngine of generative-models. */
void sdi_sgm_engine(sd_ldm_section *s);

#endif
