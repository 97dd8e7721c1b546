/* Computes and prints errors. */
#include "compare.h"

#include <math.h>
#include <stdio.h>

double relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - want[i];
        difference += d * d;
        norm += (double)want[i] * want[i];
    }
    if (!isfinite(difference))
        return INFINITY;
    if (norm == 0)
        return difference == 0 ? 0 : INFINITY;
    return sqrt(difference / norm);
}

double largest_difference(const float *got, const float *want, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (!(d <= largest)) /* also where d is not a number */
            largest = isnan(d) ? INFINITY : d;
    }
    return largest;
}

double psnr_u8(const uint8_t *got, const uint8_t *want, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - want[i];
        sum += d * d;
    }
    return sum == 0 ? INFINITY : 10 * log10(255.0 * 255.0 * (double)n / sum);
}

/* FNV-1a, 64 bits: by it the numbers of two builds are known to be equal. */
static unsigned long long hash(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

bool check_error(const char *what, const float *got, const float *want, size_t n, double limit) {
    double error = relative_error(got, want, n);
    printf("%-44s relative error %.2e (limit %.0e) hash %016llx\n", what, error, limit,
           hash(got, n * sizeof *got));
    return error <= limit;
}

bool check_psnr(const char *what, const uint8_t *got, const uint8_t *want, size_t n, double limit) {
    double psnr = psnr_u8(got, want, n);
    printf("%-44s PSNR %.1f dB (limit %.0f) hash %016llx\n", what, psnr, limit, hash(got, n));
    return psnr >= limit;
}
