/* Like wide.c, for the kernels on packed weights: vectors of 16, which the compiler splits, against the portable table.
 * If compiled with the overflow sanitizer, the program ends at an integer overflow. */
#include "../../Sources/CKernels/quantized/blocks.h"
#include "../../Sources/CKernels/table.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LK_IN_ORDER(v) (void)0
#define LK_PORTABLE
#define LK_WIDTH 16
#define LK_INTEGER_KERNELS lk_integer_wide
#define LK_BF16_KERNELS lk_bf16_wide
#include "../../Sources/CKernels/quantized/integer_isa.h"
#include "../../Sources/CKernels/quantized/bf16_isa.h"

enum { K = 512, N = 32 }; /* one panel */

static int failures;

static void fail(const char *what, int type, size_t rows) {
    printf("# %s, type %d, %zu rows\n", what, type, rows);
    failures++;
}

static int near(const float *a, const float *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-4f * (1 + fabsf(b[i])))) return 0;
    return 1;
}

static void fill(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = (float)((double)(i * 7919 % 1009) / 504.5 - 1);
}

static float w[N * K], x[12 * K];
static char blocks[N * K * 4];
static _Alignas(64) char panel[N * K * 4], tile[12 * K * 8], other[12 * K * 8];

static void products(lk_type type, size_t rows) {
    float sums[12 * N], want[12 * N];
    size_t slice = type == LK_BF16 ? 2 : lk_block_elements(type);
    memset(tile, 0, sizeof tile), memset(other, 0, sizeof other);
    if (type == LK_BF16)
        for (int part = LK_BF16_ROUNDED; part <= LK_BF16_EXACT; part++) {
            lk_bf16_wide.make_rows(tile, x, K, 0, rows, rows, K, (lk_bf16_form)part);
            lk_bf16_generic.make_rows(other, x, K, 0, rows, rows, K, (lk_bf16_form)part);
            if (memcmp(tile, other, sizeof tile) != 0) fail("tiles differ", type, rows);
        }
    else {
        lk_integer_wide.make_tile(tile, x, K, rows, K, type);
        lk_integer_generic.make_tile(other, x, K, rows, K, type);
        if (memcmp(tile, other, sizeof tile) != 0) fail("tiles differ", type, rows);
    }
    if (type == LK_BF16) {
        lk_bf16_wide.multiply(sums, tile, rows, panel, K / slice, 0);
        lk_bf16_generic.multiply(want, tile, rows, panel, K / slice, 0);
    } else {
        lk_integer_wide.multiply(sums, tile, rows, panel, type, K / slice, 0);
        lk_integer_generic.multiply(want, tile, rows, panel, type, K / slice, 0);
    }
    if (!near(sums, want, rows * N)) fail("sums differ", type, rows);
}

/* 32 values, of which one is not finite, become zeros with a NaN scale; the values after them are unaffected. */
static void not_finite(const lk_integer_kernels *kernels, lk_type type, float bad) {
    float row[K], scale;
    char one[44 * K / 32], usual[44 * K / 32], zeros[32] = {0};
    memcpy(row, x, sizeof row);
    kernels->make_tile(usual, row, K, 1, K, type);
    row[5] = bad;
    kernels->make_tile(one, row, K, 1, K, type);
    memcpy(&scale, one + 32, sizeof scale);
    if (memcmp(one, zeros, 32) != 0 || !isnan(scale)) fail("not finite, but not zeros", type, 1);
    if (type != LK_Q4_K && memcmp(one + 36, zeros, 8) != 0) fail("corrections of what is not finite", type, 1);
    if (memcmp(one + 44, usual + 44, sizeof one - 44) != 0) fail("not finite, but others differ", type, 1);
}

static void channel_pairs(void) {
    uint32_t a[50], b[50];
    for (size_t count = 1; count <= 50; count++)
        for (int odd = 0; odd < 2; odd++) {
            lk_bf16_wide.make_channel_pairs(a, x, odd ? x + 50 : NULL, count);
            lk_bf16_generic.make_channel_pairs(b, x, odd ? x + 50 : NULL, count);
            if (memcmp(a, b, count * sizeof *a) != 0) fail("pairs of channels differ", LK_BF16, count);
        }
}

static void convolutions(void) {
    enum { PAIRS = 5, TAPS = 3, CHANNELS = 6 };
    static float signal[PAIRS * 200], packed[8 * PAIRS * TAPS]; /* in pairs */
    lk_bf16_generic.make_channel_pairs((uint32_t *)(void *)signal, w, w + 1, PAIRS * 200);
    lk_bf16_generic.make_channel_pairs((uint32_t *)(void *)packed, x, x + 1, 8 * PAIRS * TAPS);
    for (size_t columns = 16; columns <= 120; columns += 13) {
        float a[CHANNELS * 120], b[CHANNELS * 120];
        lk_conv1d_job job = {.output = {.y = a, .ldy = columns}, .x = signal, .ldx = 200, .out_columns = columns,
                             .packed = packed, .in_channels = PAIRS, .out_channels = CHANNELS, .kernel = TAPS,
                             .dilation = 2};
        lk_bf16_wide.conv1d(&job, 0, 2, 0, columns);
        job.output.y = b;
        lk_bf16_generic.conv1d(&job, 0, 2, 0, columns);
        if (!near(a, b, CHANNELS * columns)) fail("convolutions differ", LK_BF16, columns);
    }
}

int main(void) {
    const lk_type types[] = {LK_BF16, LK_Q8_0, LK_Q4_0, LK_Q4_K, LK_Q6_K};
    fill(w, N * K), fill(x, 12 * K);
    for (int t = 0; t < 5; t++) {
        lk_quantize(blocks, types[t], w, N * K);
        lk_pack(panel, blocks, types[t], N, K);
        for (size_t rows = 1; rows <= 6; rows++) products(types[t], rows);
        if (types[t] == LK_BF16) products(LK_BF16, 12);
        for (int i = 0; i < 3 && types[t] != LK_BF16; i++) {
            const float bad[] = {NAN, INFINITY, -INFINITY};
            not_finite(&lk_integer_wide, types[t], bad[i]);
            not_finite(&lk_integer_generic, types[t], bad[i]);
            not_finite(lk_integer_kernels_for(types[t]), types[t], bad[i]);
        }
    }
    channel_pairs();
    convolutions();
    return failures != 0;
}
