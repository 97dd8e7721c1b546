/* A table of the types, and the value of an element of each. */
#include "io/dtype.h"

#include <math.h>
#include <string.h>

/* In the order of sd_dtype. Of floats: bits of exponent and fraction, bias, and what the highest
 * codes mean. */
typedef enum codes {
    NO_FLOAT,
    IEEE, /* the highest exponent is infinity and NaN */
    FN,   /* "finite": only all ones are NaN (Micikevicius et al. 2022, FP8 formats) */
    FNUZ  /* the negative zero is NaN */
} codes;

static const struct {
    const char *name;
    uint8_t bits, exponent, fraction;
    short bias;
    codes special;
} dtypes[SD_N_DTYPES] = {
    {"F64", 64, 11, 52, 1023, IEEE},   {"F32", 32, 8, 23, 127, IEEE},
    {"F16", 16, 5, 10, 15, IEEE},      {"BF16", 16, 8, 7, 127, IEEE},
    {"F8_E4M3", 8, 4, 3, 7, FN},       {"F8_E5M2", 8, 5, 2, 15, IEEE},
    {"F8_E4M3FNUZ", 8, 4, 3, 8, FNUZ}, {"F8_E5M2FNUZ", 8, 5, 2, 16, FNUZ},
    {"F8_E8M0", 8, 0, 0, 0, NO_FLOAT}, {"F6_E2M3", 6, 0, 0, 0, NO_FLOAT},
    {"F6_E3M2", 6, 0, 0, 0, NO_FLOAT}, {"F4", 4, 0, 0, 0, NO_FLOAT},
    {"I64", 64, 0, 0, 0, NO_FLOAT},    {"I32", 32, 0, 0, 0, NO_FLOAT},
    {"I16", 16, 0, 0, 0, NO_FLOAT},    {"I8", 8, 0, 0, 0, NO_FLOAT},
    {"U64", 64, 0, 0, 0, NO_FLOAT},    {"U32", 32, 0, 0, 0, NO_FLOAT},
    {"U16", 16, 0, 0, 0, NO_FLOAT},    {"U8", 8, 0, 0, 0, NO_FLOAT},
    {"BOOL", 8, 0, 0, 0, NO_FLOAT},    {"C128", 128, 0, 0, 0, NO_FLOAT},
    {"C64", 64, 0, 0, 0, NO_FLOAT},    {"C32", 32, 0, 0, 0, NO_FLOAT},
    {"?", 0, 0, 0, 0, NO_FLOAT},
};

const char *sdi_dtype_name(sd_dtype type) {
    return dtypes[(unsigned)type < SD_N_DTYPES ? type : SD_DTYPE_OTHER].name;
}

sd_dtype sdi_dtype_find(const char *name) {
    int i = 0;
    while (i < SD_DTYPE_OTHER && strcmp(dtypes[i].name, name) != 0)
        i++;
    return (sd_dtype)i;
}

unsigned sdi_dtype_bits(sd_dtype type) {
    return dtypes[(unsigned)type < SD_N_DTYPES ? type : SD_DTYPE_OTHER].bits;
}

size_t sdi_dtype_size(sd_dtype type) {
    unsigned bits = sdi_dtype_bits(type);
    return bits % 8 ? 0 : bits / 8;
}

bool sdi_dtype_is_weight(sd_dtype type) {
    return (unsigned)type < SD_N_DTYPES && dtypes[type].special != NO_FLOAT;
}

bool sdi_dtype_is_float8(sd_dtype type) {
    return sdi_dtype_is_weight(type) && dtypes[type].bits == 8;
}

static bool is_nan(codes special, uint64_t magnitude, uint64_t ones, bool negative) {
    return (special == FN && magnitude == ones) || (special == FNUZ && negative && !magnitude);
}

double sdi_dtype_value(sd_dtype type, const void *element) {
    const uint8_t *bytes = element;
    const unsigned n = dtypes[type].bits, fraction_bits = dtypes[type].fraction;
    const codes special = dtypes[type].special;
    uint64_t code = 0;
    for (unsigned i = n / 8; i-- > 0;)
        code = code << 8 | bytes[i];
    bool negative = code >> (n - 1);
    uint64_t ones = ((uint64_t)1 << (n - 1)) - 1, magnitude = code & ones;
    uint64_t one = (uint64_t)1 << fraction_bits, fraction = magnitude & (one - 1);
    int exponent = (int)(magnitude >> fraction_bits), top = (1 << dtypes[type].exponent) - 1;
    double x;
    if (is_nan(special, magnitude, ones, negative))
        x = NAN;
    else if (special == IEEE && exponent == top)
        x = fraction ? NAN : INFINITY;
    else
        x = ldexp((double)(exponent ? one + fraction : fraction),
                  (exponent ? exponent : 1) - dtypes[type].bias - (int)fraction_bits);
    return negative ? -x : x;
}

uint16_t sdi_half_of(double x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double size = fabs(x);
    if (isnan(x))
        return sign | 0x7e00;
    if (size >= 65520.0) /* halfway to what would be next after 65504 */
        return sign | 0x7c00;
    int exponent;
    (void)frexp(size, &exponent);      /* size < 2^exponent */
    if (size == 0.0 || exponent < -13) /* subnormal from 2^-14 downward */
        exponent = -13;
    /* ten bits of fraction below a leading one, which carries into the exponent */
    double steps = nearbyint(ldexp(size, 11 - exponent));
    return sign | (uint16_t)((unsigned)(exponent + 13) * 1024 + (unsigned)steps);
}
