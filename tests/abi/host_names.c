/* A host that has functions and variables of the names that libsd uses within, linked with the
 * static library: neither is taken for the other's. */
#include <sd/profile.h>
#include <sd/sd.h>
#include <stdio.h>

static int met; /* calls of libsd's that came here */

#define OURS(name)                                                                                 \
    int name(void);                                                                                \
    int name(void) {                                                                               \
        return ++met;                                                                              \
    }

/* of lib/ */
OURS(sdi_alloc)
OURS(sdi_condvar_wait)
OURS(sdi_device_open)
OURS(sdi_exec_new)
OURS(sdi_fail)
OURS(sdi_free)
OURS(sdi_json_parse)
OURS(sdi_log)
OURS(sdi_parallel_for)
OURS(sdi_model_load)
/* of backends/ */
OURS(conv_bias)
OURS(conv_direct)
OURS(cpu_clamp)
OURS(cpu_conv2d)
OURS(cpu_kernels_by_index)
OURS(cpu_linear)
OURS(cpu_linear_blas)
OURS(ref_linear)
OURS(ref_load)
int sdb_cpu_backend = 7, sdb_reference_backend = 7, cpu_kernels_portable = 7, cpu_kernels_avx2 = 7,
    cpu_kernels_avx512 = 7;

int main(int argc, char **argv) {
    sd_context *ctx;
    sd_model *model = NULL;
    sd_image *image = NULL;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    if (argc != 2)
        return 2;
    sampling.width = sampling.height = 64;
    sampling.steps = 1;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_status status = sd_context_new(NULL, &ctx);
    if (!status)
        status = sd_model_load(ctx, argv[1], NULL, &model);
    if (!status)
        status = sd_generate(model, &params, &image, 1);
    if (status)
        printf("%s\n", sd_last_error());
    sd_image_free(image);
    sd_model_free(model);
    sd_context_free(ctx);
    int ours = sdb_cpu_backend + sdb_reference_backend + cpu_kernels_portable + cpu_kernels_avx2 +
               cpu_kernels_avx512;
    printf("%d of libsd's calls came to the host's functions\n", met);
    return status || met || ours != 35;
}
