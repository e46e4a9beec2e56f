/* The layouts of packed weights and of the tiles of x, and the kernels for both.
 *
 * Packed weights consist of panels: 32 rows of w, which are 32 columns of y. A panel is a sequence of slices along k:
 *
 *   type   k of a slice  bytes of a slice
 *   BF16       2         [32 rows][2 k] BF16
 *   Q8_0      32         [8][32 rows][4 k] bytes, each plus 128 · scales f16 [32 rows]
 *   Q4_0      32         [8][16 rows][4 k] bytes · scales f16 [32 rows]
 *   Q4_K     256         scales, minimums f16 [32 rows] each, then 8 × ([8][16 rows][4 k] bytes · scales, minimums of
 *                        one byte [32 rows] each)
 *   Q6_K     256         scales f16 [32 rows], then 8 × ([8][16 rows][4 k] bytes · [4][16 rows][4 k] bytes · scales of
 *                        one byte [2][32 rows], for the first and the second 16 of k)
 *
 *                                row 0          row 1                 row 31
 *   a group of four k, Q8_0:   k0 k1 k2 k3 | k0 k1 k2 k3 | … | k0 k1 k2 k3          128 bytes
 *
 * One vector of weights is multiplied by one broadcast of four bytes of x, and sums need no reduction across lanes.
 * Four-bit weights of rows 0 … 15 are the low halves of 64 bytes, those of rows 16 … 31 the high halves. The upper two
 * bits of Q6_K: vector v (16 rows of group v / 2, from row 16 · (v % 2) on) has bits 2 · (v % 4) and up of the bytes of
 * line v / 4. All slices are whole cache lines. Zeros fill the missing rows of the last panel. A product with few rows
 * of x reads a panel in order. AMD's processors prefetch such reads, and software prefetching measured slower (Zen 3);
 * Intel's leave a third of the bandwidth unused without it (lk_stream_ahead).
 *
 * x is cut into tiles of R rows. For block types, R is at most LK_TILE_ROWS, and a tile has, for each 32 of k,
 *
 *   [8][R][4 k] signed bytes · scale f32 [R] · correction [2][R]
 *
 * The corrections undo the offset that packing added to the weights. Sums start from the correction -offset · Σ x
 * (int32). Q6_K has one correction for each half of the 32 k; types with one scale for 32 k use the first for all. Q4_K
 * has scale · Σ x (f32) instead, which is multiplied by the minimums.
 *
 * For BF16 weights a tile is [k / 2][R][2 k], in BF16 or, if the processor has no BF16 products, in floats. For a few
 * rows of x on a processor with BF16 products, rows 0 … R / 2 - 1 of the tile are x rounded to BF16, and the other rows
 * are the remainders.
 */
#ifndef LYRA_KERNELS_PACKED_H
#define LYRA_KERNELS_PACKED_H

#include "../include/lyra_kernels.h"

enum {
    LK_PANEL = 32,
    LK_TILE_ROWS = 6,      /* for block types: the sums and totals of a tile fill the registers */
    LK_TILE_ROWS_BF16 = 12 /* for BF16, which has sums only */
};

/* Sizes and offsets, in bytes, of the layouts above. */
enum {
    LK_Q8_0_LINE = 4 * LK_PANEL, /* four k of every row */
    LK_Q8_0_SCALES = 8 * LK_Q8_0_LINE,
    LK_Q8_0_SLICE = LK_Q8_0_SCALES + 2 * LK_PANEL,
    LK_HALF_LINE = LK_Q8_0_LINE / 2, /* of half bytes */
    LK_HALVES = 8 * LK_HALF_LINE,    /* scales, or the upper bits of Q6_K, follow */
    LK_Q4_BLOCK = LK_HALVES + 2 * LK_PANEL,
    LK_Q4_0_SLICE = LK_Q4_BLOCK,
    LK_MINIMUMS = 2 * LK_PANEL, /* in the header of Q4_K */
    LK_Q4_K_HEADER = 4 * LK_PANEL,
    LK_Q4_K_MINIMUMS = LK_HALVES + LK_PANEL,
    LK_Q4_K_SLICE = LK_Q4_K_HEADER + 8 * LK_Q4_BLOCK,
    LK_Q6_K_HEADER = 2 * LK_PANEL,
    LK_Q6_K_SCALES = LK_HALVES + LK_HALVES / 2,
    LK_Q6_K_BLOCK = LK_Q6_K_SCALES + 2 * LK_PANEL,
    LK_Q6_K_SLICE = LK_Q6_K_HEADER + 8 * LK_Q6_K_BLOCK,
    LK_BF16_SLICE = 4 * LK_PANEL,
    LK_X_BLOCK = 32 + 4 + 8 /* of one row of x in a tile */
};

/* Vectors of LK_WIDTH lanes that cover the rows of a panel. */
#define LK_PANEL_VECTORS (LK_PANEL / LK_WIDTH)
/* Vectors of a panel whose sums are in registers at the same time. */
#define LK_TOGETHER (LK_WIDTH == 16 ? 2 : 1)

/* What a row of a BF16 tile holds. If pairs are BF16, a rounded row and a row of remainders together keep 16 bits of
 * the mantissa. */
typedef enum lk_bf16_form {
    LK_BF16_ROUNDED,
    LK_BF16_REMAINDER, /* x - rounded x, rounded */
    LK_BF16_EXACT      /* only where pairs are floats */
} lk_bf16_form;

struct lk_conv1d_job;

/* Products with weights of block types. */
typedef struct lk_integer_kernels {
    /* Rounds x[rows, k] to one tile of `rows` rows, for weights of `type`. */
    void (*make_tile)(char *tile, const float *x, size_t ldx, size_t rows, size_t k, lk_type type);
    /* sums[rows][LK_PANEL] = tile · panelᵀ over `slices` slices. rows: 1 … LK_TILE_ROWS. Prefetches what lies `ahead`
     * bytes behind the weights in use, unless that is 0. */
    void (*multiply)(float *sums, const char *tile, size_t rows, const char *panel, lk_type type, size_t slices,
                     size_t ahead);
    /* As lk_peak_operations with LK_PEAK_INT8, on one thread: `rounds` rounds. */
    double (*peak)(size_t rounds);
} lk_integer_kernels;

/* Products with BF16 weights, and convolutions with BF16 weights and signals. */
typedef struct lk_bf16_kernels {
    size_t pair_bytes; /* of two values of x in a tile: 4 as BF16, 8 as floats */
    /* Writes x[count, k] as rows first … first + count - 1 of a tile of `rows` rows. */
    void (*make_rows)(char *tile, const float *x, size_t ldx, size_t first, size_t count, size_t rows, size_t k,
                      lk_bf16_form form);
    /* As lk_integer_kernels.multiply. rows: 1 … LK_TILE_ROWS, and LK_TILE_ROWS_BF16. */
    void (*multiply)(float *sums, const char *tile, size_t rows, const char *panel, size_t slices, size_t ahead);
    /* Interleaves two channels as pairs of BF16, `even` in the lower half. `odd` may be null. */
    void (*make_channel_pairs)(uint32_t *pairs, const float *even, const float *odd, size_t count);
    /* As lk_float_kernels.conv1d, but 32 bits of x or of a weight are a pair of channels; in_channels counts pairs. */
    void (*conv1d)(const struct lk_conv1d_job *job, size_t first_group, size_t last_group, size_t first_column,
                   size_t last_column);
    /* As lk_peak_operations with LK_PEAK_BF16, on one thread: `rounds` rounds. */
    double (*peak)(size_t rounds);
} lk_bf16_kernels;

extern const lk_integer_kernels lk_integer_generic;
extern const lk_bf16_kernels lk_bf16_generic;
#if defined(__x86_64__)
extern const lk_integer_kernels lk_integer_avx2, lk_integer_avxvnni, lk_integer_avx512, lk_integer_avx512vnni;
extern const lk_bf16_kernels lk_bf16_avx2, lk_bf16_avx512, lk_bf16_avx512bf16;
#elif defined(__aarch64__)
extern const lk_integer_kernels lk_integer_neondot, lk_integer_neoni8mm;
extern const lk_bf16_kernels lk_bf16_neonbf16;
#endif

/* How many bytes ahead a product with few rows of x prefetches weights into L2; 0 where the processor does better alone.
 * Constant. */
size_t lk_stream_ahead(void);

/* The kernels in use for weights of a block type, and for BF16. */
const lk_integer_kernels *lk_integer_kernels_for(lk_type type);
const lk_bf16_kernels *lk_bf16_kernels_in_use(void);

#endif
