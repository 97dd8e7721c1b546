/* The types of tensors in files, and the numbers that bytes of them mean. */
#ifndef SD_IO_DTYPE_H
#define SD_IO_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sd_dtype { /* safetensors' names, in the order of the table in dtype.c */
                        SD_DTYPE_F64,
                        SD_DTYPE_F32,
                        SD_DTYPE_F16,
                        SD_DTYPE_BF16,
                        SD_DTYPE_F8_E4M3, /* torch's float8_e4m3fn: no infinity */
                        SD_DTYPE_F8_E5M2,
                        SD_DTYPE_F8_E4M3FNUZ, /* no infinity and one zero */
                        SD_DTYPE_F8_E5M2FNUZ,
                        SD_DTYPE_F8_E8M0, /* powers of two: scales of blocks */
                        SD_DTYPE_F6_E2M3,
                        SD_DTYPE_F6_E3M2,
                        SD_DTYPE_F4,
                        SD_DTYPE_I64,
                        SD_DTYPE_I32,
                        SD_DTYPE_I16,
                        SD_DTYPE_I8,
                        SD_DTYPE_U64,
                        SD_DTYPE_U32,
                        SD_DTYPE_U16,
                        SD_DTYPE_U8,
                        SD_DTYPE_BOOL,
                        SD_DTYPE_C128,
                        SD_DTYPE_C64,
                        SD_DTYPE_C32,
                        SD_DTYPE_OTHER, /* a name that is not among these */
                        SD_N_DTYPES
} sd_dtype;

const char *sdi_dtype_name(sd_dtype type); /* "F16" */
sd_dtype sdi_dtype_find(const char *name); /* SD_DTYPE_OTHER: none has it */
unsigned sdi_dtype_bits(sd_dtype type);    /* of an element; 0: unknown */
size_t sdi_dtype_size(sd_dtype type);      /* in bytes; 0: no whole number of them */

/* F64, F32, F16, BF16 and the four types of float8 but E8M0. */
bool sdi_dtype_is_weight(sd_dtype type);
bool sdi_dtype_is_float8(sd_dtype type); /* those four */
double sdi_dtype_value(sd_dtype type, const void *element);
uint16_t sdi_half_of(double x); /* float16, rounded to nearest even */

#endif
