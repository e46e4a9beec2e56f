/* Products with weights of a block type, written once over vectors of LK_WIDTH lanes; integer_*.c compile them for each
 * instruction set. packed.h describes the layouts of weights and x. */
#include "../simd.h"
#include "blocks.h"
#include "packed.h"
#include "integer_dot_isa.h"
#include "block_parts_isa.h"
#include "integer_tiles_isa.h"
#include "../peak_isa.h"

/* The initial sums of row `r`. */
LK_INLINE vi first_sums(const lk_type type, const char *corrections, int r) {
    return type == LK_Q4_K ? (vi){0} : int_at(corrections + 4 * r) - (vi){0};
}

/* sums = corrections + the products of groups first … last - 1 of a block: R rows of x times T vectors of rows of w,
 * from vector `vector` on. Callers of this and the following functions pass constants except for pointers. */
LK_INLINE void sum_groups(const int R, const int T, const lk_type type, vi sums[LK_TILE_ROWS][LK_PANEL_VECTORS],
                          const char *x, const char *corrections, const char *w, const int first, const int last,
                          const int vector) {
    LK_UNROLL for (int r = 0; r < R; r++)
        LK_UNROLL for (int p = 0; p < T; p++)
            sums[r][p] = first_sums(type, corrections, r);
    LK_UNROLL for (int i = first; i < last; i++) {
        vu v[LK_PANEL_VECTORS];
        LK_UNROLL for (int p = 0; p < T; p++) v[p] = block_weights(type, w, i, vector + p);
        LK_UNROLL for (int r = 0; r < R; r++) {
            int32_t four = int_at(x + 4 * (i * R + r));
            LK_UNROLL for (int p = 0; p < T; p++) {
                sums[r][p] = vi_dot(sums[r][p], v[p], four);
                LK_IN_ORDER(sums[r][p]);
            }
        }
    }
}

#ifdef LK_PAIRS
/* The same, with sums in 16 bits as long as they fit. */
LK_INLINE void sum_small_groups(const int R, const int T, const lk_type type, vi sums[LK_TILE_ROWS][LK_PANEL_VECTORS],
                                const char *x, const char *corrections, const char *w, const int first, const int last,
                                const int vector) {
    const int together = type == LK_Q6_K ? LK_SIX_GROUPS : LK_HALF_GROUPS;
    LK_UNROLL for (int start = first; start < last; start += together) {
        vs pairs[LK_TILE_ROWS][LK_PANEL_VECTORS];
        LK_UNROLL for (int i = start; i < start + together; i++) {
            vu v[LK_PANEL_VECTORS];
            LK_UNROLL for (int p = 0; p < T; p++) v[p] = block_weights(type, w, i, vector + p);
            LK_UNROLL for (int r = 0; r < R; r++) {
                int32_t four = int_at(x + 4 * (i * R + r));
                LK_UNROLL for (int p = 0; p < T; p++) {
                    vs two = vs_pairs(v[p], four);
                    pairs[r][p] = i == start ? two : pairs[r][p] + two;
                    LK_IN_ORDER(pairs[r][p]);
                }
            }
        }
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < T; p++)
                sums[r][p] = vi_from_pairs(pairs[r][p]) +
                             (start == first ? first_sums(type, corrections, r) : sums[r][p]);
    }
}
#endif

/* totals += one block of 32 k. */
LK_INLINE void add_block(const int R, const int T, const lk_type type, vf totals[LK_TILE_ROWS][LK_PANEL_VECTORS],
                          const char *x, const char *w, const char *super, const int vector) {
    const int halves = type == LK_Q6_K ? 2 : 1, groups = 8 / halves;
    const char *scales = x + 32 * R, *corrections = scales + 4 * R;
    LK_UNROLL for (int half = 0; half < halves; half++) {
        vi sums[LK_TILE_ROWS][LK_PANEL_VECTORS];
        const char *first_of_half = corrections + 4 * half * R;
#ifdef LK_PAIRS
        if (type != LK_Q8_0)
            sum_small_groups(R, T, type, sums, x, first_of_half, w, half * groups, (half + 1) * groups, vector);
        else
#endif
            sum_groups(R, T, type, sums, x, first_of_half, w, half * groups, (half + 1) * groups, vector);
        LK_UNROLL for (int p = 0; p < T; p++) {
            vf scale = block_scales(type, w, super, half, vector + p);
            LK_UNROLL for (int r = 0; r < R; r++)
                totals[r][p] += __builtin_convertvector(sums[r][p], vf) * (scale * vf_set(float_at(scales + 4 * r)));
            if (type != LK_Q4_K) continue;
            vf minimum = block_minimums(w, super, vector + p);
            LK_UNROLL for (int r = 0; r < R; r++)
                totals[r][p] -= minimum * vf_set(float_at(corrections + 4 * r));
        }
    }
}

/* totals += one slice. */
LK_INLINE void add_slice(const int R, const int T, const lk_type type, vf totals[LK_TILE_ROWS][LK_PANEL_VECTORS],
                         const char *x, const char *w, int vector, size_t ahead) {
    const int blocks = type == LK_Q4_K || type == LK_Q6_K ? 8 : 1;
    const int header = type == LK_Q4_K ? LK_Q4_K_HEADER : type == LK_Q6_K ? LK_Q6_K_HEADER : 0;
    const int bytes = type == LK_Q8_0 ? LK_Q8_0_SLICE : type == LK_Q6_K ? LK_Q6_K_BLOCK : LK_Q4_BLOCK;
    const char *block = w + header;
    if (ahead) lk_prefetch(w + ahead, header);
    for (int b = 0; b < blocks; b++, block += bytes, x += LK_X_BLOCK * R) {
        if (ahead) lk_prefetch(block + ahead, bytes);
        add_block(R, T, type, totals, x, block, w, vector);
    }
}

/* The number of slices, of `bytes` bytes each, that are read for all vectors of a panel, T at a time, before the next
 * slices. If a vector is half of a cache line, the slices stay in L1 until the other half is read. */
LK_INLINE size_t slices_together(const int T, size_t bytes, size_t slices) {
    enum { CACHED = 16 << 10 };
    return LK_WIDTH == 16 || T == LK_PANEL_VECTORS || bytes > CACHED ? slices : CACHED / bytes;
}

/* `ahead`: the distance in bytes at which the panel is prefetched; 0 for never. */
LK_INLINE void integer_tile(const int R, const lk_type type, float *sums, const char *x, const char *w, size_t slices,
                            size_t ahead) {
    const size_t bytes = type == LK_Q8_0   ? LK_Q8_0_SLICE
                         : type == LK_Q4_0 ? LK_Q4_0_SLICE
                         : type == LK_Q4_K ? LK_Q4_K_SLICE
                                           : LK_Q6_K_SLICE;
    const size_t x_bytes = (size_t)(LK_X_BLOCK * R * (type == LK_Q4_K || type == LK_Q6_K ? 8 : 1));
    /* With one row of x, the registers hold the totals of a whole panel, and the panel is read in order. With Q4_0, two
     * vectors at a time measured faster than one, although their totals are in memory while a block is summed. With
     * Q4_K they did not. */
    const int whole = LK_WIDTH == 8 && R == 1, two = LK_WIDTH == 8 && type == LK_Q4_0;
    const int T = whole ? LK_PANEL_VECTORS : two ? 2 : LK_TOGETHER;
    const size_t step = slices_together(T, bytes, slices);
    for (size_t first = 0, last; first < slices; first = last) {
        last = slices - first < step ? slices : first + step;
        for (int vector = 0; vector < LK_PANEL_VECTORS; vector += T) {
            vf totals[LK_TILE_ROWS][LK_PANEL_VECTORS];
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < T; p++)
                    totals[r][p] = first == 0 ? vf_set(0) : vf_load(sums + r * LK_PANEL + (vector + p) * LK_WIDTH);
            for (size_t u = first; u < last; u++)
                add_slice(R, T, type, totals, x + u * x_bytes, w + u * bytes, vector, vector == 0 ? ahead : 0);
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < T; p++)
                    vf_store(sums + r * LK_PANEL + (vector + p) * LK_WIDTH, totals[r][p]);
        }
    }
}

#define LK_INTEGER_TILES(name, type)                                                                                   \
    static void name(float *sums, const char *x, size_t rows, const char *w, size_t slices, size_t ahead) {            \
        switch (rows) {                                                                                                \
        case 1: integer_tile(1, type, sums, x, w, slices, ahead); break;                                               \
        case 2: integer_tile(2, type, sums, x, w, slices, ahead); break;                                               \
        case 3: integer_tile(3, type, sums, x, w, slices, ahead); break;                                               \
        case 4: integer_tile(4, type, sums, x, w, slices, ahead); break;                                               \
        case 5: integer_tile(5, type, sums, x, w, slices, ahead); break;                                               \
        default: integer_tile(6, type, sums, x, w, slices, ahead); break;                                              \
        }                                                                                                              \
    }

LK_INTEGER_TILES(tile_q8_0, LK_Q8_0)
LK_INTEGER_TILES(tile_q4_0, LK_Q4_0)
LK_INTEGER_TILES(tile_q4_k, LK_Q4_K)
LK_INTEGER_TILES(tile_q6_k, LK_Q6_K)

static void multiply_integers(float *sums, const char *tile, size_t rows, const char *panel, lk_type type,
                              size_t slices, size_t ahead) {
    switch (type) {
    case LK_Q8_0: tile_q8_0(sums, tile, rows, panel, slices, ahead); break;
    case LK_Q4_0: tile_q4_0(sums, tile, rows, panel, slices, ahead); break;
    case LK_Q4_K: tile_q4_k(sums, tile, rows, panel, slices, ahead); break;
    default: tile_q6_k(sums, tile, rows, panel, slices, ahead); break;
    }
}

/* Adds products of bytes as the fastest kernel does before its sums need more than 16 bits. */
LK_INLINE vi add_bytes(vi sums, vu *weights) {
    LK_IN_ORDER(*weights); /* so that every round computes their product */
#ifdef LK_PAIRS
    return (vi)((vs)sums + vs_pairs(*weights, 0x01010101));
#else
    return vi_dot(sums, *weights, 0x01010101);
#endif
}

static double integer_peak(size_t rounds) {
    vu weights = (vu){0} + 0x01010101u;
    LK_PEAK_LOOP(rounds, 4, sum = (vf)add_bytes((vi)sum, &weights))
}

const lk_integer_kernels LK_INTEGER_KERNELS = {
    .make_tile = make_integer_tile,
    .multiply = multiply_integers,
    .peak = integer_peak,
};
