/* The kernels that compute in floats: a table of functions for each instruction set. dispatch.c chooses the table. */
#ifndef LYRA_KERNELS_TABLE_H
#define LYRA_KERNELS_TABLE_H

#include "include/lyra_kernels.h"
#include "lyra_interruption.h"

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t divided_up(size_t a, size_t b) { return a / b + (a % b != 0); }

/* Output channels are packed in groups of this many, so that one load of x feeds a whole group. */
enum { LK_CONV_GROUP = 4 };

typedef struct lk_conv1d_job {
    lk_conv1d_output output;
    const float *x;
    size_t ldx, out_columns;
    const float *packed, *bias;
    size_t in_channels, out_channels, kernel, dilation;
} lk_conv1d_job;

typedef struct lk_float_kernels {
    void (*dequantize)(float *dst, const void *src, lk_type type, size_t count);
    /* y[m, n] = x[m, k] · w[n, k]ᵀ for few rows of x; reads weights once, in their stored type. */
    void (*dot_rows)(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_type type, size_t n);
    /* The same for short rows, with k around 100; LK_KV_Q8 codes are integers, without their scale. */
    void (*dot_keys)(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_kv_type type, size_t n);
    /* y[m, n] += x[m, k] · w[k, n] for few rows of x; LK_KV_Q8 codes are integers, without their scale. */
    void (*mix_rows)(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_kv_type type, size_t n);
    /* y[r, c] *= factors[c] */
    void (*scale_columns)(float *y, size_t ldy, size_t rows, size_t columns, const float *factors);
    /* dst[i] = codes[i] · scale */
    void (*dequantize_codes)(float *dst, const int8_t *codes, float scale, size_t count);
    /* dst[i] = src[i] as F16 or BF16, to nearest, ties to even. */
    void (*round_to_half)(void *dst, const float *src, lk_kv_type type, size_t count);
    /* As LK_KV_Q8 says; returns the scale. */
    float (*quantize_codes)(int8_t *codes, const float *src, size_t count);
    /* One tile of scores s[rows, columns] becomes exp(scale · s - row_max), where row_max is the largest scaled score
     * of this tile and the earlier ones. Updates row_sum; row_keep is the factor for earlier sums. */
    void (*softmax_tile)(float *s, size_t lds, size_t rows, const size_t *columns, size_t padded, float scale,
                         float *row_max, float *row_sum, float *row_keep);
    /* sums[c] = Σ_r exp(scale · s[r, c] - row_max[r]) · row_factor[r] */
    void (*softmax_columns)(float *sums, const float *s, size_t lds, size_t rows, size_t columns, float scale,
                            const float *row_max, const float *row_factor);
    void (*rms_norm)(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, size_t rows, size_t columns,
                     float epsilon);
    void (*layer_norm)(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, const float *bias,
                       size_t rows, size_t columns, float epsilon);
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t count);
    void (*gelu)(float *x, size_t count);
    void (*quick_gelu)(float *x, size_t count);
    void (*leaky_relu)(float *x, size_t count, float slope);
    void (*tanh_)(float *x, size_t count);
    void (*add)(float *y, const float *x, size_t count);
    void (*scale)(float *y, size_t count, float factor);
    void (*rope)(float *y, size_t ldy, const float *x, size_t ldx, const float *cos, const float *sin, size_t rows,
                 size_t heads, size_t dim);
    /* y (+)= epilogue(sums + bias) for `rows` rows of a tile and `columns` columns of a panel. sums: [rows,
     * LK_PANEL]. */
    void (*finish)(float *y, size_t ldy, const float *sums, size_t rows, size_t columns, const float *bias,
                   lk_epilogue epilogue);
    /* y[m, n] = x · w, or y += x · w if `accumulate`, with x and w as lk_matrix_product has a and b. `memory` is for
     * product_floats floats. */
    void (*product)(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate,
                    float *memory);
    size_t product_floats;
    /* Output channels [4 · first_group, 4 · last_group) and columns [first_column, last_column) of a convolution. */
    void (*conv1d)(const lk_conv1d_job *job, size_t first_group, size_t last_group, size_t first_column,
                   size_t last_column);
    /* As lk_read_all, on one thread. */
    uint32_t (*read_bytes)(const void *data, size_t bytes);
    /* As lk_peak_operations with LK_PEAK_F32, on one thread: `rounds` rounds. */
    double (*peak)(size_t rounds);
} lk_float_kernels;

extern const lk_float_kernels lk_float_generic;
#if defined(__x86_64__)
extern const lk_float_kernels lk_float_avx2, lk_float_avx512;
#endif

/* The table in use. */
const lk_float_kernels *lk_kernels(void);

/* At least `floats` floats, which the calling thread may use until its next call with the same slot: 0, 1, or 2, which
 * is lk_sgemm's. Null if the allocation fails. */
float *lk_scratch(int slot, size_t floats);
/* Memory aligned to 64 bytes, for `free`. Frees the kept memory if an allocation fails; null if it fails again. */
void *lk_allocate(size_t bytes);

#endif
