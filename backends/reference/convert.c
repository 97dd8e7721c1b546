/* Elements of every type to float64 and back. */
#include "reference.h"

#include <math.h>
#include <string.h>

static float float_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* binary16 has 5 exponent and 10 mantissa bits. Read as the top of a float32 its exponent is
 * 112 too low, for subnormals too; all ones stays all ones. */
static double half_to_double(uint16_t h) {
    double sign = h & 0x8000 ? -1.0 : 1.0;
    if ((h & 0x7c00) == 0x7c00)
        return h & 0x03ff ? (double)NAN : sign * (double)INFINITY;
    return sign * (double)float_from_bits((uint32_t)(h & 0x7fff) << 13) * 0x1p112;
}

/*
 * The bits of `value` in a format with `mantissa` explicit bits and smallest normal exponent
 * `e_min`, rounded to nearest even. |value| is a whole number of quanta 2^(e - mantissa); a
 * mantissa that rounds up to 2^(mantissa + 1) carries into the exponent as it should.
 */
static uint16_t round_to_16_bits(double value, int mantissa, int e_min) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    uint16_t infinity = (uint16_t)(0x7fff >> mantissa << mantissa);
    double magnitude = fabs(value);
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1u << (mantissa - 1));
    if (magnitude >= ldexp(1.0, 2 - e_min)) /* 2^(e_max + 1) */
        return sign | infinity;
    int e = magnitude > 0 ? ilogb(magnitude) : e_min;
    if (e < e_min)
        e = e_min;
    unsigned quanta = (unsigned)nearbyint(ldexp(magnitude, mantissa - e));
    return (uint16_t)(sign | (((unsigned)(e - e_min) << mantissa) + quanta));
}

double ref_load(const void *data, sdb_type type, int64_t i) {
    switch (type) {
    case SDB_F32:
        return ((const float *)data)[i];
    case SDB_F16:
        return half_to_double(((const uint16_t *)data)[i]);
    case SDB_BF16:
        return float_from_bits((uint32_t)((const uint16_t *)data)[i] << 16);
    case SDB_I32:
        return ((const int32_t *)data)[i];
    case SDB_I64:
        return (double)((const int64_t *)data)[i];
    case SDB_F64:
        return ((const double *)data)[i];
    case SDB_U8:
        return ((const uint8_t *)data)[i];
    default:
        return NAN;
    }
}

void ref_store(void *data, sdb_type type, int64_t i, double value) {
    switch (type) {
    case SDB_F16:
        ((uint16_t *)data)[i] = round_to_16_bits(value, 10, -14);
        break;
    case SDB_BF16:
        ((uint16_t *)data)[i] = round_to_16_bits(value, 7, -126);
        break;
    case SDB_F64:
        ((double *)data)[i] = value;
        break;
    default: /* ref_check_types lets nothing else through */
        ((float *)data)[i] = (float)value;
        break;
    }
}
