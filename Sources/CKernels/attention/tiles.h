/* Tiles of queries, tiles of one head's keys or values, and their products. */
#ifndef LYRA_KERNELS_ATTENTION_TILES_H
#define LYRA_KERNELS_ATTENTION_TILES_H

#include "../linear/sgemm.h"
#include "../table.h"
#include <string.h>

enum {
    TILE_QUERIES = 192,
    TILE_KEYS = 256,
    FEW_QUERIES = 24 /* up to here OpenBLAS takes longer to pack keys and values than to multiply them */
};

/* What every task of an attention reads. */
typedef struct attention_input {
    const lk_queries *q;
    const lk_keys_values *kv;
    float scale;
    int causal;
    int all_f32;      /* every page is LK_KV_F32 */
    size_t group;     /* query heads that one key/value head serves */
    size_t tile_rows; /* query rows of a tile: about TILE_QUERIES / group */
} attention_input;

static inline attention_input attention_input_of(const lk_queries *q, const lk_keys_values *kv, float scale,
                                                 int causal) {
    attention_input in = {q, kv, scale, causal, 1, q->heads / kv->heads, 0};
    in.tile_rows = smaller(in.group >= TILE_QUERIES ? 1 : TILE_QUERIES / in.group, q->rows);
    const size_t pages = (kv->rows + kv->page_rows - 1) / kv->page_rows;
    for (size_t i = 0; i < pages && in.all_f32; i++) in.all_f32 = kv->keys[i].type == LK_KV_F32;
    return in;
}

/* The number of keys that row `row` of the queries sees. */
static inline size_t keys_seen(const attention_input *in, size_t row) {
    return in->causal ? in->kv->rows - in->q->rows + row + 1 : in->kv->rows;
}

/* Rows of one head, keys or values, within a page: as they are stored, or as floats. */
typedef struct kv_tile {
    const void *data;
    lk_kv_type type;
    size_t n, stride;    /* rows; elements between rows */
    const float *scales; /* LK_KV_Q8: one for each row */
} kv_tile;

/* Bytes of one element. */
static inline size_t kv_bytes(lk_kv_type type) {
    static const size_t sizes[] = {[LK_KV_F32] = 4, [LK_KV_F16] = 2, [LK_KV_BF16] = 2, [LK_KV_Q8] = 1};
    return sizes[type];
}

/* Rows start … start + n - 1, which lie in one page of `pages`, the keys or the values of kv. */
static inline kv_tile tile_at(const lk_keys_values *kv, const lk_kv_page *pages, size_t head, size_t start, size_t n) {
    const lk_kv_page *page = pages + start / kv->page_rows;
    const size_t row = start % kv->page_rows, element = row * kv->row_stride + head * kv->head_stride;
    const char *data = (const char *)page->data + element * kv_bytes(page->type);
    const float *scales = page->type == LK_KV_Q8 ? page->scales + head * kv->page_rows + row : NULL;
    return (kv_tile){data, page->type, n, kv->row_stride, scales};
}

/* Rows of a tile of at most `most` keys that starts at `start` and ends before `limit`: they lie in one page. */
static inline size_t keys_in_tile(const lk_keys_values *kv, size_t start, size_t limit, size_t most) {
    return smaller(smaller(limit - start, most), kv->page_rows - start % kv->page_rows);
}

/* The tile in floats: `t` itself, or a copy in `memory`, [n, dim]. */
static inline kv_tile dequantized(kv_tile t, size_t dim, float *memory) {
    if (t.type == LK_KV_F32) return t;
    for (size_t r = 0; r < t.n; r++) {
        float *row = memory + r * dim;
        if (t.type == LK_KV_Q8)
            lk_kernels()->dequantize_codes(row, (const int8_t *)t.data + r * t.stride, t.scales[r], dim);
        else
            lk_kernels()->dequantize(row, (const uint16_t *)t.data + r * t.stride,
                                     t.type == LK_KV_F16 ? LK_F16 : LK_BF16, dim);
    }
    return (kv_tile){memory, LK_KV_F32, t.n, dim, NULL};
}

/* Floats of memory that `m` queries need to dequantize a tile: none for few queries, which read stored tiles. */
static inline size_t dequantized_room(const attention_input *in, size_t m) {
    return in->all_f32 || m <= FEW_QUERIES ? 0 : TILE_KEYS * in->q->dim;
}

/* scores[m, n] *= the scale of each row of the tile */
static inline void apply_scales(kv_tile t, size_t m, float *scores) {
    lk_kernels()->scale_columns(scores, TILE_KEYS, m, t.n, t.scales);
}

/* scores[m, n] = q[m, dim] · kᵀ. More than a few queries need keys in floats. Returns LK_OK, or what lk_sgemm
 * returns. */
static inline int score(size_t m, size_t dim, const float *q, kv_tile k, float *scores) {
    if (m > FEW_QUERIES) return lk_sgemm(scores, TILE_KEYS, q, dim, k.data, k.stride, 1, m, k.n, dim, 0);
    lk_kernels()->dot_keys(scores, TILE_KEYS, q, dim, m, dim, k.data, k.stride, k.type, k.n);
    if (k.type == LK_KV_Q8) apply_scales(k, m, scores);
    return LK_OK;
}

/* sums[m, dim] += weights[m, n] · v, with the conditions and statuses of score. May overwrite the weights. */
static inline int mix(size_t m, size_t dim, float *weights, kv_tile v, float *sums) {
    if (m > FEW_QUERIES) return lk_sgemm(sums, dim, weights, TILE_KEYS, v.data, v.stride, 0, m, dim, v.n, 1);
    if (v.type == LK_KV_Q8) apply_scales(v, m, weights);
    lk_kernels()->mix_rows(sums, dim, weights, TILE_KEYS, m, v.n, v.data, v.stride, v.type, dim);
    return LK_OK;
}

/* Prepares lk_sgemm if more than a few queries need it. Returns LK_OK, or what lk_sgemm_prepare returns. */
static inline int prepare_products(const attention_input *in) {
    return in->q->rows * in->group > FEW_QUERIES ? lk_sgemm_prepare() : LK_OK;
}

/* Copies the queries of one task to dst, [rows · group, dim]: row t, head g of the group becomes row t · group + g. */
static inline void gather(const attention_input *in, size_t kv_head, size_t first, size_t rows, float *dst) {
    const lk_queries *q = in->q;
    for (size_t t = 0; t < rows; t++)
        for (size_t g = 0; g < in->group; g++, dst += q->dim)
            memcpy(dst, q->data + (first + t) * q->row_stride + (kv_head * in->group + g) * q->head_stride,
                   q->dim * sizeof(float));
}

#endif
