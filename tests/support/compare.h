/* Errors as docs and tests state them: relative in the 2-norm, and PSNR of 8-bit pictures. */
#ifndef SD_SUPPORT_COMPARE_H
#define SD_SUPPORT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* |got - want| / |want|; infinite where a value of `got` is not finite. */
double relative_error(const float *got, const float *want, size_t n);
double largest_difference(const float *got, const float *want, size_t n);

/* In decibels; infinite for equal pictures. */
double psnr_u8(const uint8_t *got, const uint8_t *want, size_t n);

/* An error, printed after `what` with the limit and a hash of `got`. True: within the limit. */
bool check_error(const char *what, const float *got, const float *want, size_t n, double limit);
bool check_psnr(const char *what, const uint8_t *got, const uint8_t *want, size_t n, double limit);

#endif
