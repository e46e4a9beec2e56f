/* Gradients of the kernels, for training. Included by lyra_kernels.h. In every name d… is the derivative of the loss
 * with respect to …; results marked += are added to what is there. */
#ifndef LYRA_GRADIENTS_H
#define LYRA_GRADIENTS_H

/* c[m, n] = a · b, or c += a · b if `accumulate`. a is [m, k], or [k, m] if it is transposed; b is [k, n], or [n, k].
 * Needs OpenBLAS. */
typedef struct lk_factor {
    const float *data;
    size_t ld;
    int transposed;
} lk_factor;
int lk_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate);

/* y[rows, columns] += x. */
void lk_add_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t columns);
/* sums[c] += Σ_r x[r, c]. */
void lk_add_column_sums(float *sums, const float *x, size_t ldx, size_t rows, size_t columns);

/* y = x · i · weight with i = 1 / rms(x). dx = i · (g - x · i² · mean(g · x)) with g = weight · dy; dweight += Σ dy · x · i,
 * unless it is null. `statistics` has room for 2 · rows floats. */
void lk_rms_norm_gradient(float *dx, float *dweight, const float *dy, size_t lddy, const float *x, size_t ldx,
                          const float *weight, size_t rows, size_t columns, float epsilon, float *statistics);
/* y = h · weight + bias with h = (x - mean) · i. dx = i · (g - mean(g) - h · mean(g · h)) with g = weight · dy; dweight
 * += Σ dy · h, dbias += Σ dy, unless they are null. `statistics` has room for 2 · rows floats. */
void lk_layer_norm_gradient(float *dx, float *dweight, float *dbias, const float *dy, size_t lddy, const float *x,
                            size_t ldx, const float *weight, size_t rows, size_t columns, float epsilon,
                            float *statistics);
/* y = g · s · up with s = σ(g). dgate = dy · up · s · (1 + g · (1 - s)); dup = dy · g · s. */
void lk_silu_mul_gradient(float *dgate, size_t ld_dgate, float *dup, size_t ld_dup, const float *dy, size_t lddy,
                          const float *gate, size_t ld_gate, const float *up, size_t ld_up, size_t rows,
                          size_t columns);
/* In place: GELU or quick GELU, as LK_GELU or LK_QUICK_GELU says. */
void lk_activate(float *x, size_t count, lk_epilogue activation);
/* dx = dy · f'(x), for the function f that LK_GELU or LK_QUICK_GELU names. All [count]; dx may be dy. */
void lk_activation_gradient(float *dx, const float *dy, const float *x, size_t count, lk_epilogue activation);

/* Softmax attention within segments: rows starts[s] … starts[s + 1] - 1 of the queries attend to rows key_starts[s] …
 * key_starts[s + 1] - 1 of the keys, the last of which belong to the queries if the attention is causal. Every array is
 * [rows, heads, dim] with heads side by side and rows ld… floats apart; dkeys and dvalues have the heads of the keys. The outputs and the log-sum-exps [rows, heads] are those of lk_attention. Holds one tile of scores
 * for each thread. Needs OpenBLAS. */
typedef struct lk_attention_gradients {
    float *dqueries, *dkeys, *dvalues;
    size_t ld_dqueries, ld_dkeys, ld_dvalues;
} lk_attention_gradients;
typedef struct lk_attention_forward {
    const float *queries, *keys, *values, *output, *doutput, *log_sum_exp;
    size_t ld_queries, ld_keys, ld_values, ld_output, ld_doutput;
    const size_t *starts, *key_starts; /* segments + 1 rows each, ascending */
    size_t segments, heads, kv_heads, dim;
    float scale;
    int causal;
} lk_attention_forward;
int lk_attention_gradient(const lk_attention_gradients *gradients, const lk_attention_forward *forward);

#endif
