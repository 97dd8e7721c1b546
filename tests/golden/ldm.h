/*
 * Shared by the tests of YAML configs: each of data/ldm/NAME.yaml with a checkpoint of random
 * weights, whose names and shapes are the reference's (NAME.tsv), against make_ldm_golden.py.
 */
#ifndef SD_TESTS_LDM_H
#define SD_TESTS_LDM_H

#include "golden.h"
#include "listed.h"

/* docs/numerics: 1e-4 is right; what is measured is near 1e-6. */
#define LIMIT 1e-5
#define LIMIT_DDIM 1e-4 /* four guided steps */
#define STEPS 4
#define SCALE 3.0f

typedef struct ldm_case {
    const char *name;
    sd_conditioning conditioning;
    int n_classes, unet_channels, latent_channels, downscale, tokens;
    bool vq, bare; /* bare: known without its config too */
    const char *prediction;
    int halvings; /* that a UNet without convolutions for them makes: sizes must be whole */
} ldm_case;

enum { N_CASES = 9 };
extern const ldm_case ldm_cases[N_CASES];

extern char ldm_folder[]; /* of the checkpoints: a template of mkdtemp */
const char *checkpoint_path(const char *name, char path[PATH_SIZE]);
const char *data_path(const char *name, const char *ending, char path[PATH_SIZE]);
/* Outside of tests: Check's macros do not work in it. */
bool write_checkpoint(const char *name);

typedef struct subject {
    golden g;
    const ldm_case *c;
    char label[64];
} subject;

/* False: this processor does not have the backend. golden_close ends it. */
bool subject_open(subject *s, const ldm_case *c, const char *backend, bool with_config);
const char *fixture(const subject *s, const char *what, char name[64]);
/* Rows first .. first + n - 1 of a fixture; n 0: all. */
sd_tensor *fixture_tensor(const subject *s, const char *what, int64_t first, int64_t n);
sd_cond *fixture_cond(const subject *s, int64_t first, int64_t n);
/* golden_check, which takes `got` over. */
void check_fixture(const subject *s, const char *what, sd_tensor *got, double limit);

/* A sampler of 8 x 8 latents, and all that it takes. */
typedef struct scene {
    sd_sampler *sampler;
    sd_cond *cond, *uncond;
    sd_tensor *noise, *concat;
} scene;

scene scene_open(const subject *s, const sd_sampler_params *params);
void scene_close(scene *v);
/* A run of the scene, from `init` or from `noise`, either of which may be NULL. */
sd_run_params run_from(const scene *v, const sd_tensor *init, const sd_tensor *noise);

/* ldm_beside.c: the tests of UNets that take more than the latent. Returns how many there are. */
enum { MAX_BESIDE = 10 };
int ldm_beside_tests(golden_test tests[MAX_BESIDE]);

#endif
