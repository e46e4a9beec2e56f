/* Tiled attention: for a block of queries, scores against one page of keys at a time, with a running softmax. */
#include "attention_tiles.h"
#include "flash.h"
#include <math.h>
#include <stdatomic.h>

typedef struct attention_job {
    float *out;
    const float *q;
    const void *const *k_pages, *const *v_pages;
    const float *const *k_scales, *const *v_scales;
    const lk_attention_shape *s;
    size_t group;      /* query heads of one key/value head */
    size_t tile_rows;  /* query rows of one task */
    atomic_int status;
} attention_job;

static void attention_tile(void *context, size_t index) {
    attention_job *j = context;
    const lk_attention_shape *s = j->s;
    size_t dim = s->dim, kv_head = index % s->kv_heads, first = index / s->kv_heads * j->tile_rows;
    size_t rows = smaller(j->tile_rows, s->rows - first), m = rows * j->group, room = j->tile_rows * j->group;
    const size_t per_column = sizeof(size_t) / sizeof(float);
    float *memory = lk_scratch(1, room * (2 * dim + TILE_KEYS + 3 + per_column) + wide_room(s, m));
    if (!memory) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    size_t *columns = (size_t *)(void *)memory;
    float *q = memory + room * per_column, *sums = q + room * dim, *scores = sums + room * dim;
    float *row_max = scores + room * TILE_KEYS, *row_sum = row_max + room, *keep = row_sum + room, *wide = keep + room;
    gather(s, j->q, kv_head, first, rows, q);
    memset(sums, 0, m * dim * sizeof(float));
    for (size_t r = 0; r < m; r++) row_max[r] = -INFINITY, row_sum[r] = 0;
    size_t past = s->kv_rows - s->rows, limit = s->causal ? past + first + rows : s->kv_rows;
    for (size_t start = 0, n; start < limit && !lk_interrupted(); start += n) {
        n = smaller(smaller(limit - start, TILE_KEYS), s->page_rows - start % s->page_rows);
        kv_tile k = tile_at(s, j->k_pages, j->k_scales, kv_head, start, n);
        kv_tile v = tile_at(s, j->v_pages, j->v_scales, kv_head, start, n);
        for (size_t r = 0; r < m; r++) {
            size_t seen = s->causal ? past + first + r / j->group + 1 : s->kv_rows;
            columns[r] = seen > start ? smaller(n, seen - start) : 0;
        }
        int status = score(m, dim, q, m > FEW_QUERIES ? widened(k, dim, wide) : k, scores);
        if (status != LK_OK) {
            atomic_store(&j->status, status);
            return;
        }
        lk_kernels()->softmax_tile(scores, TILE_KEYS, m, columns, n, s->scale, row_max, row_sum, keep);
        for (size_t r = 0; r < m; r++)
            if (keep[r] != 1) lk_kernels()->scale(sums + r * dim, dim, keep[r]);
        status = mix(m, dim, scores, m > FEW_QUERIES ? widened(v, dim, wide) : v, sums);
        if (status != LK_OK) {
            atomic_store(&j->status, status);
            return;
        }
    }
    for (size_t r = 0; r < m; r++) {
        float *out = j->out + (first + r / j->group) * s->out_row_stride + (kv_head * j->group + r % j->group) * dim;
        float inverse = row_sum[r] > 0 ? 1 / row_sum[r] : 0;
        for (size_t d = 0; d < dim; d++) out[d] = sums[r * dim + d] * inverse;
    }
}

int lk_attention(float *out, const float *q, const void *const *k_pages, const void *const *v_pages,
                 const float *const *k_scales, const float *const *v_scales, const lk_attention_shape *shape) {
    if (shape->rows == 0) return LK_OK;
    /* Keys are padded to groups of 8, which only the end of them all may cut. */
    int in_groups = shape->page_rows % 8 == 0 || shape->page_rows >= shape->kv_rows;
    if (shape->fast && shape->rows > LK_FEW_ROWS && in_groups && lk_flash_kernels())
        return lk_flash_attention(out, q, k_pages, v_pages, k_scales, v_scales, shape);
    attention_job job = {out, q, k_pages, v_pages, k_scales, v_scales, shape, shape->heads / shape->kv_heads,
                         tile_rows(shape), 0};
    int status = prepare_products(shape);
    if (status != LK_OK) return status;
    lk_parallel((shape->rows + job.tile_rows - 1) / job.tile_rows * shape->kv_heads, attention_tile, &job);
    return job.status;
}
