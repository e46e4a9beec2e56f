/* The functions on tiles, written once over vectors of LK_WIDTH lanes and the instructions of amx_unit.h. */
#include "../simd.h"
#include "../quantized/blocks.h"
#include "../quantized/packed.h"
#include "../quantized/block_parts_isa.h"
#include "../transpose_isa.h"
#include "amx.h"
#include "amx_unit.h"

/* ---------------------------------------------------------------------------------------------------------------- x */

/* `count` values, at most LK_WIDTH, as BF16, `parts` times: each part is what the parts before left. */
LK_INLINE void put_parts(char *to, vf v, int parts) {
    for (int part = 0; part < parts; part++, to += LK_AMX_TILE) {
        const vu rounded = vu_round_bf16(v);
        const vh halves = __builtin_convertvector(rounded >> 16, vh);
        memcpy(to, &halves, sizeof halves);
        const vf left = v - (vf)rounded;
        v = vf_select(left == left, left, vf_set(0)); /* of infinity and NaN nothing is left */
    }
}

static void make_x(char *tiles, const float *x, size_t ldx, size_t rows, size_t k, int parts) {
    const size_t step = (size_t)parts * LK_AMX_TILE;
    for (size_t start = 0; start < k; start += LK_AMX_DEPTH, tiles += step) {
        const size_t depth = smaller(LK_AMX_DEPTH, k - start);
        if (rows < LK_AMX_ROWS || depth < LK_AMX_DEPTH) memset(tiles, 0, step);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < depth; i += LK_WIDTH)
                put_parts(tiles + r * 64 + 2 * i,
                          vf_load_part(x + r * ldx + start + i, smaller(LK_WIDTH, depth - i)), parts);
    }
}

/* ----------------------------------------------------------------------------------------------------------- panels */

/* Rounds halves away from zero, which is as good as to even; NaN must have its usual bits. */
LK_INLINE vu pair_of(vf even, vf odd) {
    return (((vu)even + 0x8000u) >> 16) | (((vu)odd + 0x8000u) & 0xffff0000u);
}

LK_INLINE vf usual_nan(vf v) { return vf_select(v == v, v, vf_set(NAN)); }

/* What is added to the scaled weights. */
LK_INLINE vf block_offsets(const lk_type type, const char *w, const char *super, vf scale, int vector) {
    if (type == LK_Q4_K) return -usual_nan(block_minimums(w, super, vector));
    return scale * vf_set(type == LK_Q8_0 ? -128 : type == LK_Q4_0 ? -8 : -32);
}

LK_INLINE vf scaled_byte(vu four, int byte, vf scale, vf offset) {
    const vu one = byte == 3 ? four >> 24 : (four >> (8 * byte)) & 255;
    return __builtin_convertvector((vi)one, vf) * scale + offset;
}

/* One step of a panel, from a block of 32 k. */
LK_INLINE void widen_block(const lk_type type, char *panel, const char *w, const char *super) {
    for (int vector = 0; vector < LK_PANEL_VECTORS; vector++) {
        char *to = panel + 4 * LK_WIDTH * vector;
        LK_UNROLL for (int half = 0; half < 2; half++) {
            const vf scale = usual_nan(block_scales(type, w, super, half, vector));
            const vf offset = block_offsets(type, w, super, scale, vector);
            LK_UNROLL for (int i = 4 * half; i < 4 * half + 4; i++) {
                const vu four = block_weights(type, w, i, vector);
                LK_UNROLL for (int byte = 0; byte < 4; byte += 2, to += 4 * LK_PANEL) {
                    const vu pair = pair_of(scaled_byte(four, byte, scale, offset),
                                            scaled_byte(four, byte + 1, scale, offset));
                    memcpy(to, &pair, sizeof pair);
                }
            }
        }
    }
}

/* Steps of blocks of `bytes` bytes, of which a slice has `blocks` behind a header. */
LK_INLINE void widen_blocks(const lk_type type, char *panel, const char *packed, size_t first, size_t steps) {
    const size_t blocks = type == LK_Q4_K || type == LK_Q6_K ? 8 : 1;
    const size_t header = type == LK_Q4_K ? LK_Q4_K_HEADER : type == LK_Q6_K ? LK_Q6_K_HEADER : 0;
    const size_t bytes = type == LK_Q8_0 ? LK_Q8_0_SLICE : type == LK_Q6_K ? LK_Q6_K_BLOCK : LK_Q4_BLOCK;
    for (size_t step = first; step < first + steps; step++, panel += LK_AMX_STEP) {
        const char *super = packed + step / blocks * (header + blocks * bytes);
        widen_block(type, panel, super + header + step % blocks * bytes, super);
    }
}

static void widen(char *panel, const char *packed, lk_type type, size_t first, size_t steps) {
    switch (type) {
    case LK_Q8_0: widen_blocks(LK_Q8_0, panel, packed, first, steps); break;
    case LK_Q4_0: widen_blocks(LK_Q4_0, panel, packed, first, steps); break;
    case LK_Q4_K: widen_blocks(LK_Q4_K, panel, packed, first, steps); break;
    default: widen_blocks(LK_Q6_K, panel, packed, first, steps); break;
    }
}

/* A pair of k is one lane of a row of w, and goes to the row's column of the panel. */
static void pair(char *panel, const char *w, size_t apart, size_t rows, size_t k) {
    const size_t pairs = k / 2;
    memset(panel + pairs * 4 * LK_PANEL, 0, (16 - pairs % 16) % 16 * 4 * LK_PANEL);
    for (size_t first = 0; first < LK_PANEL; first += LK_WIDTH, panel += 4 * LK_WIDTH, w += LK_WIDTH * apart) {
        const size_t here = first < rows ? smaller(LK_WIDTH, rows - first) : 0;
        for (size_t p = 0; p < pairs; p += LK_WIDTH) {
            const size_t bytes = 4 * smaller(LK_WIDTH, pairs - p);
            vf square[LK_WIDTH] = {{0}};
            for (size_t r = 0; r < here; r++) memcpy(&square[r], w + r * apart + 4 * p, bytes);
            transpose_square(square);
            for (size_t i = 0; i < bytes / 4; i++) vf_store(panel + (p + i) * 4 * LK_PANEL, square[i]);
        }
    }
}

/* --------------------------------------------------------------------------------------------------------- products */

/* Tiles 0 … 3 hold sums of two tiles of rows with two of columns, and 4 … 7 their factors. In memory, a row of sums has
 * 32 columns. With one tile of rows, only 0 and 1 are used. */
enum { SUM_ROW = LK_PANEL * sizeof(float), SECOND_SUMS = LK_AMX_ROWS * LK_PANEL };

LK_INLINE void zero_sums(void) {
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
}

LK_INLINE void load_sums(const int TILES, const float *sums) {
    tile_load(0, sums, SUM_ROW);
    tile_load(1, sums + 16, SUM_ROW);
    if (TILES == 1) return;
    tile_load(2, sums + SECOND_SUMS, SUM_ROW);
    tile_load(3, sums + SECOND_SUMS + 16, SUM_ROW);
}

LK_INLINE void store_sums(const int TILES, float *sums) {
    tile_store(0, sums, SUM_ROW);
    tile_store(1, sums + 16, SUM_ROW);
    if (TILES == 1) return;
    tile_store(2, sums + SECOND_SUMS, SUM_ROW);
    tile_store(3, sums + SECOND_SUMS + 16, SUM_ROW);
}

/* 4, 5: x; 6, 7: the panel. */
LK_INLINE void multiply_tiles(const int TILES, const int PARTS, float *sums, const char *x, size_t apart,
                              const char *panel, size_t steps, int accumulate, size_t ahead) {
    if (accumulate) load_sums(TILES, sums);
    else zero_sums();
    for (size_t step = 0; step < steps; step++, panel += LK_AMX_STEP) {
        if (ahead) lk_prefetch(panel + ahead, LK_AMX_STEP);
        tile_load(6, panel, 4 * LK_PANEL);
        tile_load(7, panel + 64, 4 * LK_PANEL);
        LK_UNROLL for (int part = 0; part < PARTS; part++, x += LK_AMX_TILE) {
            tile_load(4, x, 64);
            tile_dot(0, 4, 6);
            tile_dot(1, 4, 7);
            if (TILES == 2) {
                tile_load(5, x + apart, 64);
                tile_dot(2, 5, 6);
                tile_dot(3, 5, 7);
            }
        }
    }
    store_sums(TILES, sums);
}

static void multiply(float *sums, const char *x, size_t apart, int tiles, int parts, const char *panel, size_t steps,
                     int accumulate, size_t ahead) {
    if (tiles == 1 && parts == 1) multiply_tiles(1, 1, sums, x, apart, panel, steps, accumulate, ahead);
    else if (tiles == 1) multiply_tiles(1, LK_AMX_EXACT, sums, x, apart, panel, steps, accumulate, ahead);
    else if (parts == 1) multiply_tiles(2, 1, sums, x, apart, panel, steps, accumulate, ahead);
    else multiply_tiles(2, LK_AMX_EXACT, sums, x, apart, panel, steps, accumulate, ahead);
}

/* 4, 5: weights, whose channels are the rows; 6, 7: the signal. */
LK_INLINE void convolve_tiles(const int TILES, float *sums, const char *weights, const uint32_t *x, size_t ldx,
                              size_t dilation, size_t taps, size_t steps) {
    const size_t apart = taps * steps * LK_AMX_TILE;
    zero_sums();
    for (size_t tap = 0; tap < taps; tap++)
        for (size_t step = 0; step < steps; step++, weights += LK_AMX_TILE) {
            const uint32_t *pairs = x + step * (LK_AMX_DEPTH / 2) * ldx + tap * dilation;
            tile_load(6, pairs, 4 * ldx);
            tile_load(7, pairs + 16, 4 * ldx);
            tile_load(4, weights, 64);
            tile_dot(0, 4, 6);
            tile_dot(1, 4, 7);
            if (TILES == 2) {
                tile_load(5, weights + apart, 64);
                tile_dot(2, 5, 6);
                tile_dot(3, 5, 7);
            }
        }
    store_sums(TILES, sums);
}

static void convolve(float *sums, const char *weights, int tiles, const uint32_t *x, size_t ldx, size_t dilation,
                     size_t taps, size_t steps) {
    if (tiles == 1) convolve_tiles(1, sums, weights, x, ldx, dilation, taps, steps);
    else convolve_tiles(2, sums, weights, x, ldx, dilation, taps, steps);
}

static double peak(size_t rounds) {
    zero_sums();
    tile_zero(4);
    tile_zero(5);
    tile_zero(6);
    tile_zero(7);
    for (size_t round = 0; round < rounds; round++) {
        tile_dot(0, 4, 6);
        tile_dot(1, 4, 7);
        tile_dot(2, 5, 6);
        tile_dot(3, 5, 7);
    }
    return 4.0 * 2 * LK_AMX_ROWS * 16 * LK_AMX_DEPTH * (double)rounds;
}

const lk_amx_kernels LK_AMX_KERNELS = {
    .begin = begin,
    .end = end,
    .make_x = make_x,
    .widen = widen,
    .pair = pair,
    .multiply = multiply,
    .convolve = convolve,
    .peak = peak,
};
