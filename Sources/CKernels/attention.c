/* Tiled attention: for a block of queries, scores against one page of keys at a time, with a running softmax. */
#include "table.h"
#include <cblas.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    TILE_QUERIES = 192,
    TILE_KEYS = 256,
    FEW_QUERIES = 24 /* up to here OpenBLAS packs keys and values for longer than it multiplies */
};

typedef struct attention_job {
    float *out;
    const float *q;
    const float *const *k_pages;
    const float *const *v_pages;
    const lk_attention_shape *s;
    size_t group;      /* query heads of one key/value head */
    size_t tile_rows;  /* query rows of one task */
    atomic_int failed;
} attention_job;

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* The queries of one task, one after another: row t · group + g. */
static void gather(const attention_job *j, size_t kv_head, size_t first, size_t rows, float *dst) {
    size_t dim = j->s->dim;
    for (size_t t = 0; t < rows; t++)
        for (size_t g = 0; g < j->group; g++, dst += dim)
            memcpy(dst, j->q + (first + t) * j->s->q_row_stride + (kv_head * j->group + g) * dim, dim * sizeof(float));
}

/* scores[m, n] = q[m, dim] · k[n, dim]ᵀ */
static void score(const lk_attention_shape *s, size_t m, size_t n, const float *q, const float *k, float *scores) {
    if (m <= FEW_QUERIES)
        lk_kernels()->dot_rows(scores, TILE_KEYS, q, s->dim, m, s->dim, k, s->kv_row_stride, LK_F32, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)s->dim, 1, q, (int)s->dim, k,
                    (int)s->kv_row_stride, 0, scores, TILE_KEYS);
}

/* sums[m, dim] += weights[m, n] · v[n, dim] */
static void mix(const lk_attention_shape *s, size_t m, size_t n, const float *weights, const float *v, float *sums) {
    if (m <= FEW_QUERIES)
        lk_kernels()->mix_rows(sums, s->dim, weights, TILE_KEYS, m, n, v, s->kv_row_stride, s->dim);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)s->dim, (int)n, 1, weights, TILE_KEYS, v,
                    (int)s->kv_row_stride, 1, sums, (int)s->dim);
}

static void attention_tile(void *context, size_t index) {
    attention_job *j = context;
    const lk_attention_shape *s = j->s;
    size_t dim = s->dim, kv_head = index % s->kv_heads, first = index / s->kv_heads * j->tile_rows;
    size_t rows = smaller(j->tile_rows, s->rows - first), m = rows * j->group, room = j->tile_rows * j->group;
    const size_t per_column = sizeof(size_t) / sizeof(float);
    float *memory = lk_scratch(1, room * (2 * dim + TILE_KEYS + 3 + per_column));
    if (!memory) {
        atomic_store(&j->failed, 1);
        return;
    }
    size_t *columns = (size_t *)(void *)memory;
    float *q = memory + room * per_column, *sums = q + room * dim, *scores = sums + room * dim;
    float *row_max = scores + room * TILE_KEYS, *row_sum = row_max + room, *keep = row_sum + room;
    gather(j, kv_head, first, rows, q);
    memset(sums, 0, m * dim * sizeof(float));
    for (size_t r = 0; r < m; r++) row_max[r] = -INFINITY, row_sum[r] = 0;
    size_t past = s->kv_rows - s->rows, limit = s->causal ? past + first + rows : s->kv_rows;
    for (size_t start = 0, n; start < limit; start += n) {
        size_t offset = start % s->page_rows;
        n = smaller(smaller(limit - start, TILE_KEYS), s->page_rows - offset);
        size_t at = offset * s->kv_row_stride + kv_head * dim;
        const float *k = j->k_pages[start / s->page_rows] + at, *v = j->v_pages[start / s->page_rows] + at;
        for (size_t r = 0; r < m; r++) {
            size_t seen = s->causal ? past + first + r / j->group + 1 : s->kv_rows;
            columns[r] = seen > start ? smaller(n, seen - start) : 0;
        }
        score(s, m, n, q, k, scores);
        lk_kernels()->softmax_tile(scores, TILE_KEYS, m, columns, n, s->scale, row_max, row_sum, keep);
        for (size_t r = 0; r < m; r++)
            if (keep[r] != 1) lk_kernels()->scale(sums + r * dim, dim, keep[r]);
        mix(s, m, n, scores, v, sums);
    }
    for (size_t r = 0; r < m; r++) {
        float *out = j->out + (first + r / j->group) * s->out_row_stride + (kv_head * j->group + r % j->group) * dim;
        float inverse = row_sum[r] > 0 ? 1 / row_sum[r] : 0;
        for (size_t d = 0; d < dim; d++) out[d] = sums[r * dim + d] * inverse;
    }
}

int lk_attention(float *out, const float *q, const float *const *k_pages, const float *const *v_pages,
                 const lk_attention_shape *shape) {
    size_t group = shape->heads / shape->kv_heads;
    size_t tile_rows = group >= TILE_QUERIES ? 1 : TILE_QUERIES / group;
    attention_job job = {out, q, k_pages, v_pages, shape, group, smaller(tile_rows, shape->rows), 0};
    if (shape->rows == 0) return LK_OK;
    lk_calm_blas();
    lk_parallel((shape->rows + job.tile_rows - 1) / job.tile_rows * shape->kv_heads, attention_tile, &job);
    return job.failed ? LK_NO_MEMORY : LK_OK;
}
