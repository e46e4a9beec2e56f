/* How much each key is looked at: the sums of the columns of softmax, which is never held as a whole. First every query's
 * largest score and sum are found; then each task owns some columns and adds up all queries in a fixed order. */
#include "attention_tiles.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct columns_job {
    float *out;
    const float *q;
    const void *const *k_pages;
    const float *const *k_scales;
    const lk_attention_shape *s;
    size_t group, tile_rows;
    float *row_max, *row_factor; /* of query t, head h · group + g: at (h · rows + t) · group + g */
    atomic_int status;
} columns_job;

/* Pass one: one tile of queries over all keys. row_factor becomes 1 / Σ exp(score - row_max). */
static void find_sums(void *context, size_t index) {
    columns_job *j = context;
    const lk_attention_shape *s = j->s;
    size_t dim = s->dim, kv_head = index % s->kv_heads, first = index / s->kv_heads * j->tile_rows;
    size_t rows = smaller(j->tile_rows, s->rows - first), m = rows * j->group;
    const size_t per_column = sizeof(size_t) / sizeof(float);
    float *memory = lk_scratch(1, m * (dim + TILE_KEYS + 1 + per_column) + wide_room(s, m));
    if (!memory) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    size_t *columns = (size_t *)(void *)memory, at = (kv_head * s->rows + first) * j->group;
    float *q = memory + m * per_column, *scores = q + m * dim, *keep = scores + m * TILE_KEYS, *wide = keep + m;
    float *row_max = j->row_max + at, *row_sum = j->row_factor + at;
    gather(s, j->q, kv_head, first, rows, q);
    for (size_t r = 0; r < m; r++) row_max[r] = -INFINITY, row_sum[r] = 0;
    for (size_t start = 0, n; start < s->kv_rows && !lk_interrupted(); start += n) {
        n = smaller(smaller(s->kv_rows - start, TILE_KEYS), s->page_rows - start % s->page_rows);
        kv_tile k = tile_at(s, j->k_pages, j->k_scales, kv_head, start, n);
        for (size_t r = 0; r < m; r++) columns[r] = n;
        int status = score(m, dim, q, m > FEW_QUERIES ? widened(k, dim, wide) : k, scores);
        if (status != LK_OK) {
            atomic_store(&j->status, status);
            return;
        }
        lk_kernels()->softmax_tile(scores, TILE_KEYS, m, columns, n, s->scale, row_max, row_sum, keep);
    }
    for (size_t r = 0; r < m; r++) row_sum[r] = 1 / row_sum[r];
}

static size_t tiles_per_page(const lk_attention_shape *s) { return (s->page_rows + TILE_KEYS - 1) / TILE_KEYS; }

/* Pass two: one tile of keys, all queries. A tile's columns are summed as floats, tiles as doubles. */
static void add_columns(void *context, size_t index) {
    columns_job *j = context;
    const lk_attention_shape *s = j->s;
    size_t dim = s->dim, room = j->tile_rows * j->group, offset = index % tiles_per_page(s) * TILE_KEYS;
    size_t start = index / tiles_per_page(s) * s->page_rows + offset;
    if (start >= s->kv_rows) return;
    size_t n = smaller(smaller(s->kv_rows - start, TILE_KEYS), s->page_rows - offset);
    float *memory = lk_scratch(1, room * (dim + TILE_KEYS) + wide_room(s, room));
    if (!memory) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    float *q = memory, *scores = q + room * dim, *wide = scores + room * TILE_KEYS, sums[TILE_KEYS];
    double totals[TILE_KEYS] = {0};
    for (size_t kv_head = 0; kv_head < s->kv_heads; kv_head++) {
        kv_tile k = tile_at(s, j->k_pages, j->k_scales, kv_head, start, n);
        if (room > FEW_QUERIES) k = widened(k, dim, wide);
        for (size_t first = 0; first < s->rows && !lk_interrupted(); first += j->tile_rows) {
            size_t rows = smaller(j->tile_rows, s->rows - first), at = (kv_head * s->rows + first) * j->group;
            gather(s, j->q, kv_head, first, rows, q);
            int status = score(rows * j->group, dim, q, k, scores);
            if (status != LK_OK) {
                atomic_store(&j->status, status);
                return;
            }
            lk_kernels()->softmax_columns(sums, scores, TILE_KEYS, rows * j->group, n, s->scale, j->row_max + at,
                                          j->row_factor + at);
            for (size_t c = 0; c < n; c++) totals[c] += (double)sums[c];
        }
    }
    for (size_t c = 0; c < n; c++) j->out[start + c] = (float)(totals[c] / ((double)s->rows * (double)s->heads));
}

int lk_attention_columns(float *out, const float *q, const void *const *k_pages, const float *const *k_scales,
                         const lk_attention_shape *shape) {
    if (shape->rows == 0 || shape->kv_rows == 0) return LK_OK;
    int status = prepare_products(shape);
    if (status != LK_OK) return status;
    size_t queries = shape->rows * shape->heads;
    float *memory = malloc(2 * queries * sizeof(float));
    if (!memory) return LK_NO_MEMORY;
    columns_job job = {out, q, k_pages, k_scales, shape, shape->heads / shape->kv_heads, tile_rows(shape), memory,
                       memory + queries, 0};
    lk_parallel((shape->rows + job.tile_rows - 1) / job.tile_rows * shape->kv_heads, find_sums, &job);
    size_t pages = (shape->kv_rows + shape->page_rows - 1) / shape->page_rows;
    if (job.status == LK_OK) lk_parallel(pages * tiles_per_page(shape), add_columns, &job);
    free(memory);
    return job.status;
}
