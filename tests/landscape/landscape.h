/* Shared by the tests of models/landscape: painting with it, and measures of a picture. */
#ifndef SD_TESTS_LANDSCAPE_H
#define SD_TESTS_LANDSCAPE_H

#include <check.h>
#include <sd/sd.h>
#include <stdio.h>

#define STEPS 10 /* enough to see what a picture shows */
#define MAX_BATCH 4

extern sd_context *ctx;
extern sd_model *model;

void open_landscape(void);
void close_landscape(void);

#define ck_ok(call)                                                                                \
    do {                                                                                           \
        sd_status status_ = (call);                                                                \
        ck_assert_msg(status_ == SD_OK, "%s: %s", #call, sd_last_error());                         \
    } while (0)

/* `n` pictures of 256 x 256 from the seeds 1, 2, ... */
typedef struct pictures {
    sd_image *image[MAX_BATCH];
    int n;
} pictures;

sd_sampler_params sampling(int n, float guidance);
pictures paint(const char *prompt, const char *negative, int n, float guidance);
void free_pictures(pictures *p);

/* Rec. 709 luma, 0 .. 255, over all pixels of all pictures. */
double brightness(const pictures *p);

/* The pixels of strong red in the upper 60 of 100 rows: how many, and where they are on average. */
typedef struct blob {
    int n;
    double x, y; /* 0 .. 1 */
} blob;
blob red_blob(const sd_image *image);

/* Environment variable, or the test fails. */
const char *from_environment(const char *name);

int run_tests(const char *name, const TTest *const *tests, int n);

#endif
