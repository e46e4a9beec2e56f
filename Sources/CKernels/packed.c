/* y = x · wᵀ on packed weights: x becomes tiles once, then the pool's threads take panels of the weights and run all
 * tiles against each, with the panel in the processor's cache. */
#include "packed_layout.h"
#include "table.h"
#include <string.h>

enum {
    ROWS_AT_ONCE = 768,       /* rows of x that are tiles at a time: what their memory is bounded by */
    ALONE = 32768,            /* elements of x that one thread makes into tiles sooner than it wakes others */
    TASKS_EACH = 8,           /* pieces for each thread where weights are streamed */
    STREAM_BYTES = 128 << 10, /* and bytes of such a piece at least */
    CACHE_BYTES = 192 << 10   /* of panels that stay in the second cache */
};

typedef struct packed_job {
    float *y;
    const float *x, *bias;
    char *tiles;
    const char *panels;
    lk_type type;
    size_t ldy, ldx, m, k, first, n;
    size_t row_bytes;       /* of x in a tile */
    size_t panels_each;     /* of one task */
    int accumulate;
} packed_job;

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Rows of the tile that starts at row r: whole tiles first, the rest in one, or two where BF16 has no such tile. */
static size_t tile_rows(const packed_job *j, size_t r) {
    size_t left = j->m - r;
    if (j->type == LK_BF16 && left >= LK_TILE_ROWS_BF16) return LK_TILE_ROWS_BF16;
    return smaller(left, LK_TILE_ROWS);
}

static size_t tile_step(const packed_job *j) { return j->type == LK_BF16 ? LK_TILE_ROWS_BF16 : LK_TILE_ROWS; }

static void make_tiles(void *context, size_t index) {
    packed_job *j = context;
    size_t first = index * tile_step(j), last = smaller(j->m, first + tile_step(j));
    for (size_t r = first, rows; r < last; r += rows) {
        rows = tile_rows(j, r);
        lk_packed_kernels()->make_tile(j->tiles + r * j->row_bytes, j->x + r * j->ldx, j->ldx, rows, j->k, j->type);
    }
}

/* The columns of a panel that are asked for, to `rows` rows of y from row r on. */
static void finish(const packed_job *j, size_t r, size_t rows, size_t panel, const float *sums) {
    size_t start = panel * LK_PANEL, from = start < j->first ? j->first - start : 0;
    size_t columns = smaller(LK_PANEL, j->first + j->n - start) - from, column = start + from - j->first;
    for (size_t i = 0; i < rows; i++) {
        const float *sum = sums + i * LK_PANEL + from, *bias = j->bias + column;
        float *y = j->y + (r + i) * j->ldy + column;
        if (j->accumulate)
            for (size_t c = 0; c < columns; c++) y[c] += sum[c];
        else if (j->bias)
            for (size_t c = 0; c < columns; c++) y[c] = sum[c] + bias[c];
        else memcpy(y, sum, columns * sizeof(float));
    }
}

/* All tiles against a few panels: a tile stays in the first cache, the panels in the second. */
static void run_panels(void *context, size_t index) {
    packed_job *j = context;
    size_t first = j->first / LK_PANEL + index * j->panels_each, units = lk_units(j->type, j->k);
    size_t last = smaller(first + j->panels_each, (j->first + j->n + LK_PANEL - 1) / LK_PANEL);
    for (size_t r = 0, rows; r < j->m; r += rows) {
        rows = tile_rows(j, r);
        for (size_t p = first; p < last; p++) {
            float sums[LK_TILE_ROWS_BF16 * LK_PANEL] __attribute__((aligned(64)));
            memset(sums, 0, rows * LK_PANEL * sizeof(float));
            lk_packed_kernels()->multiply(sums, j->tiles + r * j->row_bytes, rows,
                                          j->panels + p * units * lk_unit_bytes(j->type), j->type, units);
            finish(j, r, rows, p, sums);
        }
    }
}

/* Panels of one task. Where there is one tile, weights are streamed: long pieces, some for each thread, so that a slow
 * one gets fewer. Otherwise as many as the second cache holds, unless threads would have nothing to do. */
static size_t panels_of_task(const packed_job *j, size_t panels) {
    size_t bytes = lk_panel_bytes(j->type, j->k), threads = (size_t)lk_threads();
    size_t fit = (j->m > LK_TILE_ROWS ? CACHE_BYTES : STREAM_BYTES) / bytes + 1;
    size_t share = panels / (threads * (j->m > LK_TILE_ROWS ? 2 : TASKS_EACH)) + 1;
    return j->m > LK_TILE_ROWS ? smaller(fit, share) : share > fit ? share : fit;
}

static int run(packed_job *j) {
    size_t units = lk_units(j->type, j->k);
    j->row_bytes = j->type == LK_BF16 ? units * lk_packed_kernels()->bf16_bytes : 44 * (j->k / 32);
    /* The caller's own scratch: tasks read it and use another slot. */
    j->tiles = (char *)lk_scratch(0, j->m * j->row_bytes / sizeof(float) + 1);
    if (!j->tiles) return LK_NO_MEMORY;
    size_t tiles = (j->m + tile_step(j) - 1) / tile_step(j);
    if (j->m * j->k > ALONE) lk_parallel(tiles, make_tiles, j);
    else
        for (size_t i = 0; i < tiles; i++) make_tiles(j, i);
    size_t panels = (j->first + j->n + LK_PANEL - 1) / LK_PANEL - j->first / LK_PANEL;
    j->panels_each = panels_of_task(j, panels);
    lk_parallel((panels + j->panels_each - 1) / j->panels_each, run_panels, j);
    return LK_OK;
}

int lk_packed_linear(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *packed,
                     lk_type type, size_t first, size_t n, const float *bias, int accumulate) {
    if (n == 0) return LK_OK;
    for (size_t r = 0, rows; r < m; r += rows) {
        rows = smaller(ROWS_AT_ONCE, m - r);
        packed_job job = {.y = y + r * ldy, .x = x + r * ldx, .bias = bias, .panels = packed, .type = type, .ldy = ldy,
                          .ldx = ldx, .m = rows, .k = k, .first = first, .n = n, .accumulate = accumulate};
        int status = run(&job);
        if (status != LK_OK) return status;
    }
    return LK_OK;
}
