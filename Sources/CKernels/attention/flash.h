/* Attention over many rows in BF16, and how its factors lie. Each instruction set has a row of functions, or none.
 *
 * Queries are taken in blocks of up to 48, keys and values in blocks of up to 128. Queries lie across the lanes of
 * vectors throughout, so that maxima, sums and rescaling never cross lanes:
 *
 *   queries    [dim / 2][queries][2 of dim]      BF16, times scale · log2(e)
 *   keys       [keys / 8][dim / 2][8 keys][2]    BF16: two of one key meet a vector of queries
 *   scores     [keys][queries]                   floats, then weights in their place:
 *   weights    [keys / 2][queries][2 keys]       BF16
 *   values     [dim / 8][keys / 2][8 of dim][2]  BF16: two keys' of one column meet a vector of weights
 *   sums       [dim][queries]                    floats
 *
 * What is missing in the last eight of keys or of dim, or in the last pair, is zeros; queries fill whole vectors. */
#ifndef LYRA_KERNELS_FLASH_H
#define LYRA_KERNELS_FLASH_H

#include "../include/lyra_kernels.h"

enum {
    LK_FLASH_LANES = 16,
    LK_FLASH_VECTORS = 3, /* of queries in a block: with 8 keys, or 8 of dim, their sums fill the registers */
    LK_FLASH_QUERIES = LK_FLASH_LANES * LK_FLASH_VECTORS,
    LK_FLASH_GROUP = 8,
    LK_FLASH_KEYS = 128 /* keys, values and scores of a block stay in the second cache, and most in the first */
};

/* One block of queries, and what it has gathered of the keys so far. */
typedef struct lk_flash_block {
    size_t vectors;      /* of queries: 1 … LK_FLASH_VECTORS */
    size_t pairs;        /* of dim */
    size_t groups;       /* eights of dim */
    const uint32_t *q;   /* pairs */
    const int32_t *last; /* the last key that each query sees */
    float *sums;
    float *row_max;      /* of each query's scores, in powers of 2 */
    float *row_sum;      /* of its weights */
} lk_flash_block;

typedef struct lk_flash_table {
    /* LK_FLASH_LANES rows[dim] times `factor`: pair p of the first half of them goes to to[p · apart …], of the second
     * half `upper` further on. A row that is null is zeros; the first is not. */
    void (*pack_rows)(uint32_t *to, size_t apart, size_t upper, const float *const *rows, size_t dim, float factor);
    /* Values [count, dim], rows `stride` floats apart, become a block. */
    void (*pack_values)(uint32_t *block, const float *src, size_t stride, size_t count, size_t dim);
    /* Adds the keys first_key … first_key + count - 1, the first of `packed`. `scores` is memory for LK_FLASH_KEYS
     * rows. */
    void (*add_keys)(const lk_flash_block *block, const uint32_t *keys, const uint32_t *values, size_t first_key,
                     size_t count, size_t packed, float *scores);
    /* The attention of one vector of queries, each to its row[dim]; to none where that is null. */
    void (*take_rows)(const lk_flash_block *block, size_t vector, float *const *rows, size_t dim);
} lk_flash_table;

#if defined(__x86_64__)
extern const lk_flash_table lk_flash_avx512bf16;
#endif

/* The row in use; null if the instruction set has none. */
const lk_flash_table *lk_flash_kernels(void);

/* lk_attention in BF16, with this row. */
int lk_flash_attention(float *out, const float *q, const void *const *k_pages, const void *const *v_pages,
                       const float *const *k_scales, const float *const *v_scales, const lk_attention_shape *shape);

#endif
