/* Attention over keys and values that lie in pages. Included by lyra_kernels.h. */
#ifndef LYRA_ATTENTION_H
#define LYRA_ATTENTION_H

/* How keys and values are stored. LK_KV_Q8: signed bytes (codes), and one float (the scale) for each row and head. */
typedef enum lk_kv_type { LK_KV_F32 = 0, LK_KV_F16 = 1, LK_KV_BF16 = 2, LK_KV_Q8 = 3 } lk_kv_type;

/* [rows, heads, dim]: element d of head h of row r is data[r * row_stride + h * head_stride + d]. */
typedef struct lk_queries {
    const float *data;
    size_t rows, heads, dim;
    size_t row_stride, head_stride;
} lk_queries;

/* One page of keys or of values. */
typedef struct lk_kv_page {
    const void *data;
    const float *scales; /* LK_KV_Q8: the scale of row r, head h is scales[h * page_rows + r]; null for other types */
    lk_kv_type type;
} lk_kv_page;

/* Keys and values, [rows, heads, dim] each, in ⌈rows / page_rows⌉ pages each. Element d of head h of row r is element
 * (r % page_rows) * row_stride + h * head_stride + d of page r / page_rows. */
typedef struct lk_keys_values {
    const lk_kv_page *keys, *values;
    size_t rows, heads; /* the number of query heads is a multiple of `heads`: each head serves a group of them */
    size_t page_rows, row_stride, head_stride;
} lk_keys_values;

typedef struct lk_attention_options {
    float scale; /* multiplies the scores */
    int causal;  /* query r sees keys 0 … key rows - query rows + r; otherwise all keys */
    int fast;    /* with more than LK_FEW_ROWS query rows, round queries, keys, values and attention weights to BF16
                    where the processor multiplies BF16; otherwise compute everything in floats */
} lk_attention_options;

/* The output, with the rows and heads of the queries. */
typedef struct lk_attention_output {
    float *data;
    size_t row_stride, head_stride;
    float *log_sum_exp; /* [rows, heads]: ln Σ exp(scale · score) over the keys that the query sees. May be null */
} lk_attention_output;

/* Softmax attention: output = softmax(scale · queries · keysᵀ) · values. Holds no more than one tile of scores for each
 * thread. */
int lk_attention(const lk_attention_output *output, const lk_queries *queries, const lk_keys_values *keys_values,
                 const lk_attention_options *options);

/* means[j] = the mean attention weight of key j over all queries and heads. No causal mask; `values` may be null. The
 * same bits with any number of threads. */
int lk_mean_attention_weights(float *means, const lk_queries *queries, const lk_keys_values *keys_values, float scale);

/* A page of a cache, for writing. The rows of a head are contiguous, because one thread reads them: element d of row r
 * of head h is data[(h * page_rows + r) * dim + d]. */
typedef struct lk_kv_mutable_page {
    void *data;
    float *scales; /* as in lk_kv_page */
    lk_kv_type type;
    size_t page_rows, heads, dim;
} lk_kv_mutable_page;

/* Stores src [rows, heads, dim] as the rows of a page from first_row on. Rows of src lie row_stride floats apart, heads
 * of a row head_stride. F16 and BF16 round to nearest even; infinities and NaN stay. LK_KV_Q8: the scale of a row's
 * head is its largest magnitude / 127, its codes are the nearest integers; a head with an infinity or NaN becomes all
 * NaN. */
void lk_kv_store(const lk_kv_mutable_page *page, size_t first_row, const float *src, size_t row_stride,
                 size_t head_stride, size_t rows);

#endif
