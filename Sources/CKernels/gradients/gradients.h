/* The kernels for gradients: a table of functions for each instruction set, beside that of the forward kernels. Only
 * training refers to it, so a library without training does not contain it. */
#ifndef LYRA_KERNELS_GRADIENTS_H
#define LYRA_KERNELS_GRADIENTS_H

#include "../table.h"

typedef struct lk_gradient_kernels {
    /* For each of `rows` rows: dx, and statistics[2r] = mean (0 for the RMS norm), statistics[2r + 1] = i. */
    void (*norm)(float *dx, const float *dy, size_t lddy, const float *x, size_t ldx, const float *weight, size_t rows,
                 size_t columns, float epsilon, int centred, float *statistics);
    /* dweight[c] += Σ_r dy[r, c] · (x[r, c] - mean_r) · i_r and dbias[c] += Σ_r dy[r, c]; either may be null. */
    void (*norm_weight)(float *dweight, float *dbias, const float *dy, size_t lddy, const float *x, size_t ldx,
                        size_t rows, size_t columns, const float *statistics);
    void (*silu_mul)(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t count);
    void (*activation)(float *dx, const float *dy, const float *x, size_t count, int quick);
    /* A row of scores s[n] becomes the attention weights p = exp(scale · s - log_sum_exp), and dp, the gradient of p,
     * becomes that of s: p · (dp - mean) · scale. What lies from `seen` on becomes 0. */
    void (*attention_row)(float *s, float *dp, size_t n, size_t seen, float scale, float log_sum_exp, float mean);
    float (*dot)(const float *x, const float *y, size_t count);
} lk_gradient_kernels;

extern const lk_gradient_kernels lk_gradients_generic;
#if defined(__x86_64__)
extern const lk_gradient_kernels lk_gradients_avx2, lk_gradients_avx512;
#endif

/* The table in use. */
const lk_gradient_kernels *lk_gradients(void);

#endif
