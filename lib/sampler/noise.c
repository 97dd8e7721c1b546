/* Draws the noise of a batch. */
#include "sampler/noise.h"
#include "core/expect.h"

#include <math.h>
#include <string.h>

sd_status sdi_noise_init(sd_noise *noise, const sd_context *ctx, const sd_sampler_params *params) {
    int n = params->original->one_stream ? 1 : params->batch;
    *noise = (sd_noise){.n_generators = n, .n_pictures = params->batch, .kind = params->rng};
    noise->generators = sdi_alloc_array(ctx, (size_t)n, sizeof *noise->generators);
    noise->kept = sdi_alloc_array(ctx, (size_t)n, sizeof *noise->kept);
    noise->seeds = sdi_alloc_array(ctx, (size_t)n, sizeof *noise->seeds);
    if (!noise->generators || !noise->kept || !noise->seeds) {
        sdi_noise_free(noise, ctx);
        return SD_ERROR_MEMORY;
    }
    bool varied = params->subseed_strength != 0.0; /* by subseeds that differ */
    bool own_seeds = params->seeds && !params->original->one_stream;
    for (int i = 0; i < n; i++)
        noise->seeds[i] = own_seeds ? params->seeds[i] : params->seed + (varied ? 0 : (uint64_t)i);
    sdi_noise_restart(noise);
    return SD_OK;
}

void sdi_noise_free(sd_noise *noise, const sd_context *ctx) {
    sdi_free(ctx, noise->generators);
    sdi_free(ctx, noise->kept);
    sdi_free(ctx, noise->seeds);
    *noise = (sd_noise){0};
}

void sdi_noise_restart(sd_noise *noise) {
    for (int i = 0; i < noise->n_generators; i++)
        sdi_generator_init(&noise->generators[i], noise->kind, noise->seeds[i]);
}

void sdi_noise_keep(sd_noise *noise) {
    memcpy(noise->kept, noise->generators, (size_t)noise->n_generators * sizeof *noise->generators);
}

void sdi_noise_go_back(sd_noise *noise) {
    memcpy(noise->generators, noise->kept, (size_t)noise->n_generators * sizeof *noise->generators);
}

void sdi_noise_draw(sd_noise *noise, float *out, int64_t count) {
    int64_t each = noise->n_generators == 1 ? count * noise->n_pictures : count;
    for (int i = 0; i < noise->n_generators; i++)
        sdi_generator_normal(&noise->generators[i], out + i * each, each);
}

void sdi_noise_dropout(sd_noise *noise, float *x, int64_t count, double p) {
    int64_t each = noise->n_generators == 1 ? count * noise->n_pictures : count;
    for (int i = 0; i < noise->n_generators; i++)
        sdi_generator_dropout(&noise->generators[i], x + i * each, each, p);
}

void sdi_q_sample(double a, const float *x0, const float *noise, float *out, int64_t n) {
    float signal = (float)sqrt(a), sigma = (float)sqrt(1.0 - a);
    for (int64_t i = 0; i < n; i++)
        out[i] = signal * x0[i] + sigma * noise[i];
}

void sdi_noise_latents(double alpha, const sd_tensor *x0, sd_tensor *x) {
    int64_t each = x->n_elements / x->dims[0];
    for (int64_t i = 0; i < x->dims[0]; i++) {
        const float *from = x0->data + i % x0->dims[0] * each;
        float *to = x->data + i * each;
        if (alpha == 1.0)
            memcpy(to, from, (size_t)each * sizeof *to);
        else
            sdi_q_sample(alpha, from, to, to, each);
    }
}

sd_status sdi_add_noise(const sd_schedule *schedule, const sd_tensor *x0, const sd_tensor *noise,
                        int timestep, sd_tensor **out) {
    sd_status status;
    if ((status = sdi_expect_finite(x0, "x0")) ||
        (status = sdi_expect_tensor(noise, "noise", x0->n_dims, x0->dims)) ||
        (status = sdi_tensor_new_raw(x0->ctx, x0->n_dims, x0->dims, out)))
        return status;
    sdi_q_sample(schedule->alphas_cumprod[timestep], x0->data, noise->data, (*out)->data,
                 x0->n_elements);
    return SD_OK;
}
