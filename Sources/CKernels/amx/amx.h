/* Products of BF16 on Intel's tiles (AMX): eight registers of 16 rows of 64 bytes. One instruction multiplies two of
 * them: x, 16 rows of 32 k, and weights, 16 columns of 32 k. The layouts, by steps of 32 k:
 *
 *   x        [rows / 16][steps][parts][16 rows][32 k]   BF16
 *   panel    [steps][16][32 columns][2 k]               BF16: a packed panel of BF16 weights (packed.h) is one
 *
 * Each part is what rounding to BF16 left of x in the parts before: three parts keep all 24 bits of the mantissa. Zeros
 * fill the last step and the missing rows.
 *
 * Panels of other weights are widened to BF16 as they are used.
 *
 * A convolution multiplies weights with pairs of channels, and adds the products of all taps:
 *
 *   weights  [channels / 16][taps][steps of 32 in_channels][16 channels][32 in_channels]   BF16
 *   signal   [in_channels / 2][columns][2]                                                 BF16 */
#ifndef LYRA_KERNELS_AMX_H
#define LYRA_KERNELS_AMX_H

#include "../include/lyra_kernels.h"

enum {
    LK_AMX_ROWS = 16,
    LK_AMX_DEPTH = 32,
    LK_AMX_TILE = 1024, /* bytes of a tile */
    LK_AMX_STEP = 2048  /* bytes of a panel in a step */
};

/* The state of the calling thread's tiles, as the host has left it. */
typedef struct lk_amx_host {
    _Alignas(64) uint8_t configuration[64];
} lk_amx_host;

typedef struct lk_amx_kernels {
    /* Tile instructions are illegal outside begin and end. The host's configuration returns with `end`; the contents of
     * its tiles do not, since a call may change them (System V ABI). */
    void (*begin)(lk_amx_host *host);
    void (*end)(const lk_amx_host *host);
    /* Rounds x[rows, k] to one row of tiles. rows: 1 … LK_AMX_ROWS; parts, here and below: 1 or LK_AMX_EXACT. */
    void (*make_x)(char *tiles, const float *x, size_t ldx, size_t rows, size_t k, int parts);
    /* Widens `steps` steps of a packed panel of a block type, from step `first` on. */
    void (*widen)(char *panel, const char *packed, lk_type type, size_t first, size_t steps);
    /* Makes a panel of w[rows, k] in BF16, rows `apart` bytes apart. rows: 1 … 32; k is even. */
    void (*pair)(char *panel, const char *w, size_t apart, size_t rows, size_t k);
    /* sums[16 · tiles, 32] = x · panelᵀ, or += if `accumulate`. tiles: 1 or 2, `apart` bytes apart in x. Prefetches
     * what lies `ahead` bytes behind the panel in use, unless that is 0. */
    void (*multiply)(float *sums, const char *x, size_t apart, int tiles, int parts, const char *panel, size_t steps,
                     int accumulate, size_t ahead);
    /* sums[16 · tiles channels, 32 columns] of a convolution: tap j multiplies columns from x + j · dilation on. ldx:
     * columns of the signal. tiles: 1 or 2. */
    void (*convolve)(float *sums, const char *weights, int tiles, const uint32_t *x, size_t ldx, size_t dilation,
                     size_t taps, size_t steps);
    /* As lk_peak_operations with LK_PEAK_BF16, on one thread: `rounds` rounds. Between begin and end. */
    double (*peak)(size_t rounds);
} lk_amx_kernels;

/* The same functions without tiles, for tests: a tile instruction outside begin and end ends the process, as it would
 * with tiles. */
extern const lk_amx_kernels lk_amx_stand_in;
#if defined(__x86_64__)
extern const lk_amx_kernels lk_amx_tiles;
#endif

/* The functions in use; null if the processor has no tiles, or the system refuses them. */
const lk_amx_kernels *lk_amx(void);

/* Asks the system for tiles: 1 if this process may use them. */
int lk_amx_permitted(void);

/* Whether products of m rows of x run on tiles: more than LK_FEW_ROWS, as many as are rounded to BF16 with BF16 weights
 * on any processor. */
int lk_amx_serves(size_t m);

enum { LK_AMX_EXACT = 3 }; /* parts of x that lose nothing */

/* lk_packed_linear on tiles, of weights of one type, at most LK_PRODUCTS. If not `packed`, weights are as a file stores them, in BF16, and k
 * is even. */
int lk_amx_linear(const lk_packed_product *products, size_t count, int packed, const float *x, size_t ldx, size_t m,
                  size_t k, int parts);

struct lk_conv1d_job;

/* Columns [first, last) of channels 32 · block …: weights in the layout above; job->in_channels counts pairs, which
 * fill steps. The signal can be read for 32 columns from any on. Without tiles, the stand-in computes. */
void lk_amx_conv1d(const struct lk_conv1d_job *job, size_t block, size_t first, size_t last);

#endif
