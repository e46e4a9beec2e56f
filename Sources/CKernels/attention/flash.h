/* Attention of many rows in BF16: the functions that each instruction set implements, and the layout of their operands.
 *
 * Queries come in tiles of up to 48, keys and values in tiles of up to 128. Queries lie across the lanes of vectors
 * throughout, so that maxima, sums and rescaling never cross lanes:
 *
 *   queries    [dim / 2][queries][2 of dim]      BF16, times scale · log2(e)
 *   keys       [keys / 8][dim / 2][8 keys][2]    BF16: a pair of one key multiplies a vector of queries
 *   scores     [keys][queries]                   floats, replaced by the weights:
 *   weights    [keys / 2][queries][2 keys]       BF16
 *   values     [dim / 8][keys / 2][8 of dim][2]  BF16: a pair of one column multiplies a vector of weights
 *   sums       [dim][queries]                    floats
 *
 * Zeros fill the last group of 8 keys or of 8 of dim, and the last pair; queries fill whole vectors.
 *
 * On tiles, zeros fill groups of 16 of dim in values and of 32 in keys, and groups of 32 keys:
 *
 *   keys       [keys / 16][dim / 32][16 keys][32 of dim]
 *   values     [dim / 16][keys / 32][16 of dim][32 keys] */
#ifndef LYRA_KERNELS_FLASH_H
#define LYRA_KERNELS_FLASH_H

#include "../amx/amx.h"
#include "tiles.h"

enum {
    LK_FLASH_LANES = 16,
    LK_FLASH_VECTORS = 3, /* of queries in a tile: with 8 keys, or 8 of dim, their sums fill the registers */
    LK_FLASH_QUERIES = LK_FLASH_LANES * LK_FLASH_VECTORS,
    LK_FLASH_GROUP = 8,
    LK_FLASH_KEYS = 128 /* keys, values and scores of a tile stay in L2, most of them in L1 */
};

/* One tile of queries, and its results for the keys added so far. */
typedef struct lk_flash_tile {
    size_t vectors;      /* of queries: 1 … LK_FLASH_VECTORS */
    size_t pairs;        /* of dim */
    size_t groups;       /* of 8 elements of dim */
    const uint32_t *q;   /* pairs of BF16 */
    const int32_t *last; /* the last key that each query sees */
    float *sums;
    float *row_max;      /* each query's largest score, as an exponent of 2 */
    float *row_sum;      /* the sum of each query's weights, relative to 2^row_max */
} lk_flash_tile;

typedef struct lk_flash_table {
    /* As in lk_amx_kernels; null without tiles. */
    void (*begin)(lk_amx_host *host);
    void (*end)(const lk_amx_host *host);
    size_t depth; /* of which dim fills a multiple in queries and keys: the pairs of a tile are those of this many dim */
    size_t keys;  /* of which a tile's keys fill a multiple: at most 2 · LK_FLASH_LANES */
    size_t rows;  /* of which dim fills a multiple in values and sums: a multiple of LK_FLASH_GROUP */
    /* Rounds LK_FLASH_LANES queries[dim] times `factor` to BF16, to one vector of a tile of `queries` queries. A null
     * row is zeros; the first row is not null. */
    void (*pack_queries)(uint32_t *to, size_t queries, const float *const *rows, size_t dim, float factor);
    /* Rounds LK_FLASH_LANES keys[dim], which take `pairs` pairs each; rows as above. */
    void (*pack_keys)(uint32_t *to, const float *const *rows, size_t dim, size_t pairs);
    /* Packs values [count, dim], rows `stride` floats apart. */
    void (*pack_values)(uint32_t *packed, const float *src, size_t stride, size_t count, size_t dim);
    /* Adds keys first_key … first_key + count - 1: the first `count` of the `packed` packed keys. `scores` is memory
     * for LK_FLASH_KEYS rows. */
    void (*add_keys)(const lk_flash_tile *tile, const uint32_t *keys, const uint32_t *values, size_t first_key,
                     size_t count, size_t packed, float *scores);
    /* Stores the results of one vector of queries: query i to rows[i][dim], unless that is null. */
    void (*store_rows)(const lk_flash_tile *tile, size_t vector, float *const *rows, size_t dim);
} lk_flash_table;

#if defined(__x86_64__)
extern const lk_flash_table lk_flash_avx512bf16, lk_flash_amx, lk_flash_amx_stand_in;
#endif

/* The functions in use; null if no usable instruction set implements them. */
const lk_flash_table *lk_flash_kernels(void);

/* lk_attention in BF16. Needs lk_flash_kernels. */
int lk_flash_attention(const lk_attention_output *output, const attention_input *in);

#endif
