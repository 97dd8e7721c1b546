/* Many pictures in one, as torchvision's make_grid lays them out. */
#ifndef SD_EXAMPLES_GRID_H
#define SD_EXAMPLES_GRID_H

#include <sd/sd.h>

/* `n` RGB pictures of one size, `columns` side by side, 2 black pixels around each; one picture
 * alone is its own grid. */
sd_status grid_make(sd_context *ctx, sd_image *const *images, int n, int columns, sd_image **out);

#endif
