/* What attention is made of: tiles of queries and of one head's keys or values, and their products. */
#ifndef LYRA_ATTENTION_TILES_H
#define LYRA_ATTENTION_TILES_H

#include "../linear/blas.h"
#include "../table.h"
#include <string.h>

enum {
    TILE_QUERIES = 192,
    TILE_KEYS = 256,
    FEW_QUERIES = 24 /* up to here OpenBLAS packs keys and values for longer than it multiplies */
};

/* Rows of one head, keys or values, within a page: as they are stored, or widened to floats. */
typedef struct kv_tile {
    const void *data;
    lk_kv_type type;
    size_t n, stride;    /* elements between rows */
    const float *scales; /* LK_KV_Q8: one for each row */
} kv_tile;

/* Bytes of one element. */
static inline size_t kv_bytes(lk_kv_type type) {
    static const size_t sizes[] = {[LK_KV_F32] = 4, [LK_KV_F16] = 2, [LK_KV_BF16] = 2, [LK_KV_Q8] = 1};
    return sizes[type];
}

/* Rows start … start + n, which lie in one page. */
static inline kv_tile tile_at(const lk_attention_shape *s, const void *const *pages, const float *const *scales,
                              size_t kv_head, size_t start, size_t n) {
    size_t page = start / s->page_rows, row = start % s->page_rows;
    lk_kv_type type = page < s->narrow_pages ? s->kv_type : LK_KV_F32;
    size_t element = row * s->kv_row_stride + kv_head * s->kv_head_stride;
    const char *data = (const char *)pages[page] + element * kv_bytes(type);
    const float *factors = type == LK_KV_Q8 ? scales[page] + kv_head * s->page_rows + row : NULL;
    return (kv_tile){data, type, n, s->kv_row_stride, factors};
}

/* The same values as floats: `t` itself, or what `memory`, [n, dim], holds then. */
static inline kv_tile widened(kv_tile t, size_t dim, float *memory) {
    if (t.type == LK_KV_F32) return t;
    for (size_t r = 0; r < t.n; r++) {
        float *row = memory + r * dim;
        if (t.type == LK_KV_Q8)
            lk_kernels()->widen_codes(row, (const int8_t *)t.data + r * t.stride, t.scales[r], dim);
        else
            lk_kernels()->widen(row, (const uint16_t *)t.data + r * t.stride,
                                t.type == LK_KV_F16 ? LK_F16 : LK_BF16, dim);
    }
    return (kv_tile){memory, LK_KV_F32, t.n, dim, NULL};
}

/* Floats of memory that `m` queries need to see tiles widened; few read them as they are. */
static inline size_t wide_room(const lk_attention_shape *s, size_t m) {
    return s->kv_type == LK_KV_F32 || s->narrow_pages == 0 || m <= FEW_QUERIES ? 0 : TILE_KEYS * s->dim;
}

/* scores[m, n] *= the scale of each row of the tile */
static inline void apply_scales(kv_tile t, size_t m, float *scores) {
    lk_kernels()->scale_columns(scores, TILE_KEYS, m, t.n, t.scales);
}

/* scores[m, n] = q[m, dim] · kᵀ; more than a few queries want the keys widened. → LK_OK, or as lk_sgemm fails. */
static inline int score(size_t m, size_t dim, const float *q, kv_tile k, float *scores) {
    if (m > FEW_QUERIES) return lk_sgemm(scores, TILE_KEYS, q, dim, k.data, k.stride, 1, m, k.n, dim, 0);
    lk_kernels()->dot_keys(scores, TILE_KEYS, q, dim, m, dim, k.data, k.stride, k.type, k.n);
    if (k.type == LK_KV_Q8) apply_scales(k, m, scores);
    return LK_OK;
}

/* sums[m, dim] += weights[m, n] · v; as above. The weights are spent. */
static inline int mix(size_t m, size_t dim, float *weights, kv_tile v, float *sums) {
    if (m > FEW_QUERIES) return lk_sgemm(sums, dim, weights, TILE_KEYS, v.data, v.stride, 0, m, dim, v.n, 1);
    if (v.type == LK_KV_Q8) apply_scales(v, m, weights);
    lk_kernels()->mix_rows(sums, dim, weights, TILE_KEYS, m, v.n, v.data, v.stride, v.type, dim);
    return LK_OK;
}

/* Products of more than a few queries need OpenBLAS. → LK_OK, or as lk_blas_prepare fails. */
static inline int prepare_products(const lk_attention_shape *s) {
    return s->rows * (s->heads / s->kv_heads) > FEW_QUERIES ? lk_blas_prepare() : LK_OK;
}

/* The queries of one task, one after another: row t · group + g. */
static inline void gather(const lk_attention_shape *s, const float *q, size_t kv_head, size_t first, size_t rows,
                          float *dst) {
    size_t dim = s->dim, group = s->heads / s->kv_heads;
    for (size_t t = 0; t < rows; t++)
        for (size_t g = 0; g < group; g++, dst += dim)
            memcpy(dst, q + (first + t) * s->q_row_stride + (kv_head * group + g) * dim, dim * sizeof(float));
}

/* Query rows of one task, so that with all heads of a group they fill a tile. */
static inline size_t tile_rows(const lk_attention_shape *s) {
    size_t group = s->heads / s->kv_heads;
    return smaller(group >= TILE_QUERIES ? 1 : TILE_QUERIES / group, s->rows);
}

#endif
