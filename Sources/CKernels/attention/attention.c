/* Tiled attention: for a tile of queries, the scores of one tile of keys at a time, with a running softmax. */
#include "flash.h"
#include "tiles.h"
#include <math.h>
#include <stdatomic.h>

typedef struct attention_job {
    attention_input in;
    const lk_attention_output *out;
    atomic_int status;
} attention_job;

/* One task and its memory. Its row t · group + g is head g of the group in query row t. */
typedef struct attention_task {
    size_t kv_head, first, rows; /* query rows first … first + rows - 1 */
    size_t m;                    /* rows · group */
    size_t *columns;             /* the number of a tile's keys that each query sees */
    float *q, *sums, *scores;    /* [m, dim], [m, dim], [m, TILE_KEYS] */
    float *row_max, *row_sum;    /* of each query: its largest scaled score, Σ exp(scaled score - row_max) */
    float *keep;                 /* of each query: the factor for its earlier sums */
    float *dequantized;
} attention_task;

/* Returns 0 if the allocation fails. */
static int start_task(attention_task *t, const attention_job *j, size_t index) {
    const attention_input *in = &j->in;
    const size_t dim = in->q->dim, room = in->tile_rows * in->group;
    t->kv_head = index % in->kv->heads;
    t->first = index / in->kv->heads * in->tile_rows;
    t->rows = smaller(in->tile_rows, in->q->rows - t->first);
    t->m = t->rows * in->group;
    const size_t per_column = sizeof(size_t) / sizeof(float);
    float *memory = lk_scratch(1, room * (2 * dim + TILE_KEYS + 3 + per_column) + dequantized_room(in, t->m));
    if (!memory) return 0;
    t->columns = (size_t *)(void *)memory;
    t->q = memory + room * per_column;
    t->sums = t->q + room * dim;
    t->scores = t->sums + room * dim;
    t->row_max = t->scores + room * TILE_KEYS;
    t->row_sum = t->row_max + room;
    t->keep = t->row_sum + room;
    t->dequantized = t->keep + room;
    gather(in, t->kv_head, t->first, t->rows, t->q);
    memset(t->sums, 0, t->m * dim * sizeof(float));
    for (size_t r = 0; r < t->m; r++) t->row_max[r] = -INFINITY, t->row_sum[r] = 0;
    return 1;
}

/* Adds keys and values start … start + n - 1. Returns LK_OK, or the status of a product that failed. */
static int add_tile(const attention_task *t, const attention_input *in, size_t start, size_t n) {
    const size_t dim = in->q->dim, m = t->m;
    kv_tile k = tile_at(in->kv, in->kv->keys, t->kv_head, start, n);
    kv_tile v = tile_at(in->kv, in->kv->values, t->kv_head, start, n);
    for (size_t r = 0; r < m; r++) {
        size_t seen = keys_seen(in, t->first + r / in->group);
        t->columns[r] = seen > start ? smaller(n, seen - start) : 0;
    }
    int status = score(m, dim, t->q, m > FEW_QUERIES ? dequantized(k, dim, t->dequantized) : k, t->scores);
    if (status != LK_OK) return status;
    lk_kernels()->softmax_tile(t->scores, TILE_KEYS, m, t->columns, n, in->scale, t->row_max, t->row_sum, t->keep);
    for (size_t r = 0; r < m; r++)
        if (t->keep[r] != 1) lk_kernels()->scale(t->sums + r * dim, dim, t->keep[r]);
    return mix(m, dim, t->scores, m > FEW_QUERIES ? dequantized(v, dim, t->dequantized) : v, t->sums);
}

static void store_results(const attention_task *t, const attention_job *j) {
    const size_t dim = j->in.q->dim, group = j->in.group;
    for (size_t r = 0; r < t->m; r++) {
        const size_t row = t->first + r / group, head = t->kv_head * group + r % group;
        float *out = j->out->data + row * j->out->row_stride + head * j->out->head_stride;
        float inverse = t->row_sum[r] > 0 ? 1 / t->row_sum[r] : 0;
        for (size_t d = 0; d < dim; d++) out[d] = t->sums[r * dim + d] * inverse;
        if (j->out->log_sum_exp)
            j->out->log_sum_exp[row * j->in.q->heads + head] = t->row_max[r] + logf(t->row_sum[r]);
    }
}

static void run_task(void *context, size_t index) {
    attention_job *j = context;
    attention_task t;
    int status = start_task(&t, j, index) ? LK_OK : LK_NO_MEMORY;
    const size_t limit = status == LK_OK ? keys_seen(&j->in, t.first + t.rows - 1) : 0;
    for (size_t start = 0, n; start < limit && status == LK_OK && !lk_interrupted(); start += n) {
        n = keys_in_tile(j->in.kv, start, limit, TILE_KEYS);
        status = add_tile(&t, &j->in, start, n);
    }
    if (status == LK_OK) store_results(&t, j);
    else atomic_store(&j->status, status);
}

int lk_attention(const lk_attention_output *output, const lk_queries *queries, const lk_keys_values *keys_values,
                 const lk_attention_options *options) {
    if (queries->rows == 0) return LK_OK;
    attention_job job = {attention_input_of(queries, keys_values, options->scale, options->causal), output, LK_OK};
    /* lk_flash_attention packs keys in groups of 8 or more; only the last group of all may be incomplete. */
    int in_groups = keys_values->page_rows % 8 == 0 || keys_values->page_rows >= keys_values->rows;
    if (options->fast && queries->rows > LK_FEW_ROWS && in_groups && lk_flash_kernels())
        return lk_flash_attention(output, &job.in);
    int status = prepare_products(&job.in);
    if (status != LK_OK) return status;
    lk_parallel((queries->rows + job.in.tile_rows - 1) / job.in.tile_rows * keys_values->heads, run_task, &job);
    return job.status;
}
