/* Gradients of the kernels, for training. Included by lyra_kernels.h. In every name d… is the derivative of the loss
 * with respect to …; results marked += are added to what is there. */
#ifndef LYRA_GRADIENTS_H
#define LYRA_GRADIENTS_H

/* c[m, n] = a · b, or c += a · b if `accumulate`. a is [m, k], or [k, m] if it is transposed; b is [k, n], or [n, k].
 * Uses OpenBLAS. */
typedef struct lk_factor {
    const float *data;
    size_t ld;
    int transposed;
} lk_factor;
int lk_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate);
/* The same on the calling thread, with lyra's own kernels whether or not OpenBLAS has better ones: for tests. */
int lk_sgemm_own(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate);

/* The same with both factors rounded to BF16 and sums in floats. Uses no OpenBLAS, but memory of
 * lk_bf16_product_floats floats, aligned to 64 bytes. */
int lk_bf16_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate,
                           float *memory);
/* Packs b[k, n], or b[n, k] if it is transposed, as BF16 weights [n, k] of lk_packed_linear. */
void lk_bf16_pack(void *packed, lk_factor b, size_t n, size_t k);
size_t lk_bf16_product_floats(lk_factor a, size_t m, size_t n, size_t k);
/* Whether the kernels in use multiply BF16 faster than floats: the processor has instructions for it. */
int lk_bf16_is_fast(void);

/* y[rows, columns] += x. */
void lk_add_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t columns);
/* sums[c] += Σ_r x[r, c]. */
void lk_add_column_sums(float *sums, const float *x, size_t ldx, size_t rows, size_t columns);

/* y = x · i · weight with i = 1 / rms(x). dx = i · (g - x · i² · mean(g · x)) with g = weight · dy; dweight += Σ dy · x
 * · i, unless it is null. `statistics` has room for 2 · rows floats. */
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
/* dx = dy · f'(x), for the function f that LK_GELU or LK_QUICK_GELU names. All [count]; dx may be dy. */
void lk_activation_gradient(float *dx, const float *dy, const float *x, size_t count, lk_epilogue activation);
/* y = max(x, slope · x): dx = dy where y is above 0, else slope · dy. All [count]. */
void lk_leaky_relu_gradient(float *dx, const float *dy, const float *y, size_t count, float slope);
/* y = tanh x: dx = dy · (1 - y²). All [count]. */
void lk_tanh_gradient(float *dx, const float *dy, const float *y, size_t count);

/* w[out, in, kernel] = the weights that lk_conv1d_pack packed, or lk_conv1d_pack_pairs if `in_pairs`. */
void lk_conv1d_unpack(float *w, const float *packed, size_t in_channels, size_t out_channels, size_t kernel,
                      int in_pairs);
/* taps[kernel, count] = w[count, kernel], one matrix for each tap; and back, w += taps. */
void lk_conv1d_taps(float *taps, const float *w, size_t count, size_t kernel);
void lk_conv1d_add_taps(float *w, const float *taps, size_t count, size_t kernel);
/* y[c, t] = x[c, t · step]: the opposite of lk_spread. */
void lk_collect(float *y, size_t ldy, const float *x, size_t ldx, size_t step, size_t channels, size_t columns);
/* The gradient dy[out, columns] of y[o, t] = Σ w[o, i, j] · x[i, t + j · dilation]. */
typedef struct lk_conv1d_gradient {
    const float *dy;
    size_t ld_dy, columns, in_channels, out_channels, kernel, dilation;
} lk_conv1d_gradient;
/* dx[i, t + j · dilation] += Σ_o w[o, i, j] · dy[o, t]; taps: [kernel, out, in]. Uses OpenBLAS. */
int lk_conv1d_input_gradient(float *dx, size_t ldx, const lk_conv1d_gradient *gradient, const float *taps);
/* taps[j] = dy · x[columns from j · dilation on]ᵀ: [kernel, out, in], or [kernel, in, out] if `by_inputs`. Uses
 * OpenBLAS. */
int lk_conv1d_weight_gradient(float *taps, const lk_conv1d_gradient *gradient, const float *x, size_t ldx,
                              int by_inputs);
/* sums[r] += Σ_c x[r, c]. */
void lk_add_row_sums(float *sums, const float *x, size_t ldx, size_t rows, size_t columns);

/* Softmax attention within segments: rows starts[s] … starts[s + 1] - 1 of the queries attend to rows key_starts[s] …
 * key_starts[s + 1] - 1 of the keys, the last of which belong to the queries if the attention is causal. Every array is
 * [rows, heads, dim] with heads side by side and rows ld… floats apart; dkeys and dvalues have the heads of the keys.
 * The outputs and the log-sum-exps [rows, heads] are those of lk_attention. Holds one tile of scores for each thread.
 * Uses OpenBLAS. */
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
