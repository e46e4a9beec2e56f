/* Mean attention weight of each key: the column means of the softmax matrix, which is never stored as a whole. Pass one
 * finds each query's largest score and sum. In pass two each task owns some columns and adds all queries in a fixed
 * order. */
#include "tiles.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct weights_job {
    attention_input in;
    float *means;
    float *row_max, *row_factor; /* of query t, head h · group + g: at (h · rows + t) · group + g */
    atomic_int status;
} weights_job;

/* Pass one: one tile of queries over all keys. row_factor becomes 1 / Σ exp(score - row_max). */
static void find_sums(void *context, size_t index) {
    weights_job *j = context;
    const attention_input *in = &j->in;
    const lk_keys_values *kv = in->kv;
    size_t dim = in->q->dim, kv_head = index % kv->heads, first = index / kv->heads * in->tile_rows;
    size_t rows = smaller(in->tile_rows, in->q->rows - first), m = rows * in->group;
    const size_t per_column = sizeof(size_t) / sizeof(float);
    float *memory = lk_scratch(1, m * (dim + TILE_KEYS + 1 + per_column) + dequantized_room(in, m));
    if (!memory) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    size_t *columns = (size_t *)(void *)memory, at = (kv_head * in->q->rows + first) * in->group;
    float *q = memory + m * per_column, *scores = q + m * dim, *keep = scores + m * TILE_KEYS, *copy = keep + m;
    float *row_max = j->row_max + at, *row_sum = j->row_factor + at;
    gather(in, kv_head, first, rows, q);
    for (size_t r = 0; r < m; r++) row_max[r] = -INFINITY, row_sum[r] = 0;
    for (size_t start = 0, n; start < kv->rows && !lk_interrupted(); start += n) {
        n = keys_in_tile(kv, start, kv->rows, TILE_KEYS);
        kv_tile k = tile_at(kv, kv->keys, kv_head, start, n);
        for (size_t r = 0; r < m; r++) columns[r] = n;
        int status = score(m, dim, q, m > FEW_QUERIES ? dequantized(k, dim, copy) : k, scores);
        if (status != LK_OK) {
            atomic_store(&j->status, status);
            return;
        }
        lk_kernels()->softmax_tile(scores, TILE_KEYS, m, columns, n, in->scale, row_max, row_sum, keep);
    }
    for (size_t r = 0; r < m; r++) row_sum[r] = 1 / row_sum[r];
}

static size_t tiles_per_page(const lk_keys_values *kv) { return (kv->page_rows + TILE_KEYS - 1) / TILE_KEYS; }

/* Pass two: one tile of keys, all queries. The columns are summed in floats within a tile of queries, in doubles across
 * tiles. */
static void add_columns(void *context, size_t index) {
    weights_job *j = context;
    const attention_input *in = &j->in;
    const lk_keys_values *kv = in->kv;
    size_t dim = in->q->dim, room = in->tile_rows * in->group, offset = index % tiles_per_page(kv) * TILE_KEYS;
    size_t start = index / tiles_per_page(kv) * kv->page_rows + offset;
    if (start >= kv->rows) return;
    size_t n = smaller(smaller(kv->rows - start, TILE_KEYS), kv->page_rows - offset);
    float *memory = lk_scratch(1, room * (dim + TILE_KEYS) + dequantized_room(in, room));
    if (!memory) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    float *q = memory, *scores = q + room * dim, *copy = scores + room * TILE_KEYS, sums[TILE_KEYS];
    double totals[TILE_KEYS] = {0};
    for (size_t kv_head = 0; kv_head < kv->heads; kv_head++) {
        kv_tile k = tile_at(kv, kv->keys, kv_head, start, n);
        if (room > FEW_QUERIES) k = dequantized(k, dim, copy);
        for (size_t first = 0; first < in->q->rows && !lk_interrupted(); first += in->tile_rows) {
            size_t rows = smaller(in->tile_rows, in->q->rows - first), at = (kv_head * in->q->rows + first) * in->group;
            gather(in, kv_head, first, rows, q);
            int status = score(rows * in->group, dim, q, k, scores);
            if (status != LK_OK) {
                atomic_store(&j->status, status);
                return;
            }
            lk_kernels()->softmax_columns(sums, scores, TILE_KEYS, rows * in->group, n, in->scale, j->row_max + at,
                                          j->row_factor + at);
            for (size_t c = 0; c < n; c++) totals[c] += (double)sums[c];
        }
    }
    const double count = (double)in->q->rows * (double)in->q->heads;
    for (size_t c = 0; c < n; c++) j->means[start + c] = (float)(totals[c] / count);
}

int lk_mean_attention_weights(float *means, const lk_queries *queries, const lk_keys_values *keys_values, float scale) {
    if (queries->rows == 0 || keys_values->rows == 0) return LK_OK;
    weights_job job = {attention_input_of(queries, keys_values, scale, 0), means, NULL, NULL, LK_OK};
    int status = prepare_products(&job.in);
    if (status != LK_OK) return status;
    const size_t count = queries->rows * queries->heads;
    float *memory = lk_allocate(2 * count * sizeof(float));
    if (!memory) return LK_NO_MEMORY;
    job.row_max = memory;
    job.row_factor = memory + count;
    lk_parallel((queries->rows + job.in.tile_rows - 1) / job.in.tile_rows * keys_values->heads, find_sums, &job);
    size_t pages = (keys_values->rows + keys_values->page_rows - 1) / keys_values->page_rows;
    if (job.status == LK_OK) lk_parallel(pages * tiles_per_page(keys_values), add_columns, &job);
    free(memory);
    return job.status;
}
