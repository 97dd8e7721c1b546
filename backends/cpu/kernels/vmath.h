/*
 * Elementary functions of vectors. The polynomials are minimax fits of our own (Lawson's
 * iteration); each comment states the relative error of the fit, rounding comes on top.
 */

/* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
#define SD_ROUND_MAGIC 12582912.0f

/* 2^x, 1e-7; 2^-125 for all below that. Above 127 it is wrong. NaN stays NaN. */
SD_INLINE vf v_exp2(vf x) {
    x = v_max(v_set(-125.0f), x);
    vf t = x + SD_ROUND_MAGIC;
    vf r = x - (t - SD_ROUND_MAGIC);
    vf p = 9.671512643e-03f + r * 1.326472715e-03f;
    p = 5.550733743e-02f + r * p;
    p = 2.402224209e-01f + r * p;
    p = 6.931469776e-01f + r * p;
    p = 1.0f + r * p;
    return (vf)((vu)p + ((vu)t << 23));
}

/* e^x, 2e-9, for x limited to [-87, 88]. */
SD_INLINE vf v_exp(vf x) {
    x = v_max(v_set(-87.0f), v_min(v_set(88.0f), x));
    vf t = x * 1.44269504f + SD_ROUND_MAGIC;
    vf n = t - SD_ROUND_MAGIC;
    vf r = x - n * 0.693359375f; /* ln 2 in two parts (Cody and Waite 1980) */
    r = r + n * 2.12194440e-4f;
    vf p = 8.374155310e-03f + r * 1.384365352e-03f;
    p = 4.166800204e-02f + r * p;
    p = 1.666643126e-01f + r * p;
    p = 4.999999421e-01f + r * p;
    p = 1.000000032e+00f + r * p;
    p = 1.0f + r * p;
    return (vf)((vu)p + ((vu)t << 23));
}

/* erf(x) as x P(x^2) / Q(x^2), 2.5e-8; erf(4) is 1 - 1.5e-8. */
SD_INLINE vf v_erf(vf x) {
    x = v_max(v_set(-4.0f), v_min(v_set(4.0f), x));
    vf t = x * x;
    vf p = 2.845656103e-04f + t * 1.986774388e-06f;
    vf q = 1.185572298e-03f + t * 3.742007591e-05f;
    p = 3.883352641e-03f + t * p;
    q = 1.520726921e-02f + t * q;
    p = 5.310177215e-02f + t * p;
    q = 1.153501065e-01f + t * q;
    p = 1.935453431e-01f + t * p;
    q = 5.048576499e-01f + t * q;
    p = 1.128379139e+00f + t * p;
    q = 1.0f + t * q;
    return x * p / q;
}

SD_INLINE vf v_silu(vf x) {
    return x / (1.0f + v_exp(-x));
}

SD_INLINE vf v_quick_gelu(vf x) {
    return x / (1.0f + v_exp(x * -1.702f));
}

SD_INLINE vf v_gelu(vf x) {
    /* Far below zero what rounding leaves of 1 + erf would be multiplied with a large x. */
    vf y = 0.5f * x * (1.0f + v_erf(x * 0.70710678f));
    return v_select(x < v_set(-5.6f), v_set(0.0f), y);
}

/* `act` is a constant wherever this is inlined into a loop. */
SD_INLINE vf v_act(sdb_act act, vf x) {
    switch (act) {
    case SDB_ACT_SILU:
        return v_silu(x);
    case SDB_ACT_QUICK_GELU:
        return v_quick_gelu(x);
    case SDB_ACT_GELU:
        return v_gelu(x);
    case SDB_ACT_RELU:
        return v_max(v_set(0.0f), x);
    default:
        return x;
    }
}
