/* LatentDiffusion.p_losses, from what the UNet predicted: ldm/models/diffusion/ddpm.py. Sums are in
 * double. */
#include "sampler/loss.h"

#include <math.h>

/* lvlb_weights of register_schedule, with v_posterior 0. For x0 the original divides by
 * `2. * 1 - alphas_cumprod`, which is kept; for v (SD 2.x) its weights are ones. */
static double vlb_weight(const sd_schedule *s, sd_prediction prediction, int t) {
    t = t ? t : 1; /* lvlb_weights[0] = lvlb_weights[1] */
    double beta = s->betas[t], a = s->alphas_cumprod[t], previous = s->alphas_cumprod[t - 1];
    double posterior_variance = beta * (1.0 - previous) / (1.0 - a);
    if (prediction == SD_PREDICT_EPSILON)
        return beta * beta / (2.0 * posterior_variance * (1.0 - beta) * (1.0 - a));
    return prediction == SD_PREDICT_SAMPLE ? 0.5 * sqrt(a) / (2.0 - a) : 1.0;
}

/* get_loss(...).mean([1, 2, 3]) of one picture; the target is never stored. */
static double simple_loss(const sd_schedule *s, sd_prediction prediction, sd_loss_type type, int t,
                          const float *y, const float *x0, const float *noise, int64_t n) {
    double a = s->alphas_cumprod[t], of_noise = 1.0, of_x0 = 0.0, sum = 0.0;
    if (prediction == SD_PREDICT_SAMPLE) {
        of_noise = 0.0;
        of_x0 = 1.0;
    } else if (prediction == SD_PREDICT_V) { /* get_v */
        of_noise = sqrt(a);
        of_x0 = -sqrt(1.0 - a);
    }
    for (int64_t i = 0; i < n; i++) {
        double d = (double)y[i] - (of_noise * (double)noise[i] + of_x0 * (double)x0[i]);
        sum += type == SD_LOSS_L1 ? fabs(d) : d * d;
    }
    return sum / (double)n;
}

void sdi_loss_sums(const sd_schedule *s, sd_prediction prediction, const sd_tensor *x0,
                   const sd_tensor *noise, const int32_t *timesteps, const sd_tensor *y,
                   const sd_loss_params *p, sd_loss_info *loss, float *samples) {
    int n = (int)x0->dims[0], n_train = s->n;
    int64_t each = x0->n_elements / n;
    for (int i = 0; i < n; i++) {
        int t = timesteps[i];
        double logvar = p->logvar ? (double)p->logvar[t] : p->logvar_init;
        double simple = simple_loss(s, prediction, p->type, t, y->data + i * each,
                                    x0->data + i * each, noise->data + i * each, each);
        double row[] = {simple, simple / exp(logvar) + logvar,
                        vlb_weight(s, prediction, t) * simple};
        loss->simple += row[0] / n;
        loss->gamma += row[1] / n;
        loss->vlb += row[2] / n;
        for (int k = 0; samples && k < 3; k++)
            samples[3 * i + k] = (float)row[k];
    }
    for (int t = 0; p->logvar && t < n_train; t++)
        loss->logvar += (double)p->logvar[t] / n_train;
    if (!p->logvar)
        loss->logvar = p->logvar_init;
    loss->total = p->l_simple_weight * loss->gamma + p->original_elbo_weight * loss->vlb;
}
