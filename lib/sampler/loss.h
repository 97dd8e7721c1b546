/* The training loss of predictions. */
#ifndef SD_SAMPLER_LOSS_H
#define SD_SAMPLER_LOSS_H

#include "core/tensor.h"
#include "sampler/schedule.h"

/* The weighted sums of p_losses, of a UNet's output y, added to a zeroed `loss`. `samples`, [n, 3],
 * may be NULL. */
void sdi_loss_sums(const sd_schedule *s, sd_prediction prediction, const sd_tensor *x0,
                   const sd_tensor *noise, const int32_t *timesteps, const sd_tensor *y,
                   const sd_loss_params *p, sd_loss_info *loss, float *samples);

#endif
