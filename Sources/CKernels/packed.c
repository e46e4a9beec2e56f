/* y = x · wᵀ on packed weights: x becomes tiles once, then the pool's threads take panels of the weights and run all
 * tiles against each, with the panel in the processor's cache. */
#include "packed_layout.h"
#include "table.h"
#include <stdatomic.h>
#include <string.h>

enum {
    ROWS_AT_ONCE = 768,     /* rows of x against which a panel is run while its tiles stay near */
    DEPTH_AT_ONCE = 4096,   /* of k: a panel this deep and the tiles' sums stay in the second cache */
    ALONE = 32768,          /* elements of x that one thread makes into tiles sooner than it wakes others */
    TASKS_EACH = 8,         /* pieces for each thread where weights are streamed: a slow thread gets fewer */
    STREAM_BYTES = 128 << 10 /* and bytes of a piece at least */
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
    atomic_int failed;
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

/* sums[m][32] = x · panelᵀ */
static void multiply_panel(const packed_job *j, const char *panel, float *sums) {
    const lk_packed_table *kernels = lk_packed_kernels();
    size_t depth = lk_unit_depth(j->type), units = lk_units(j->type, j->k), unit_bytes = lk_unit_bytes(j->type);
    size_t at_once = j->m > LK_TILE_ROWS ? DEPTH_AT_ONCE / depth : units;
    memset(sums, 0, j->m * LK_PANEL * sizeof(float));
    for (size_t u = 0, some; u < units; u += some) {
        some = smaller(at_once, units - u);
        for (size_t r = 0, rows; r < j->m; r += rows) {
            rows = tile_rows(j, r);
            /* Of each row a tile has row_bytes / units bytes for a unit. */
            const char *tile = j->tiles + r * j->row_bytes + u * (j->row_bytes / units) * rows;
            kernels->multiply(sums + r * LK_PANEL, tile, rows, panel + u * unit_bytes, j->type, some);
        }
    }
}

/* The columns of a panel that are asked for, to y. */
static void finish(const packed_job *j, size_t panel, const float *sums) {
    size_t start = panel * LK_PANEL, from = start < j->first ? j->first - start : 0;
    size_t to = smaller(LK_PANEL, j->first + j->n - start);
    for (size_t r = 0; r < j->m; r++) {
        const float *sum = sums + r * LK_PANEL;
        float *y = j->y + r * j->ldy;
        for (size_t c = from; c < to; c++) {
            size_t column = start + c - j->first;
            y[column] = sum[c] + (j->accumulate ? y[column] : j->bias ? j->bias[column] : 0);
        }
    }
}

static void run_panels(void *context, size_t index) {
    packed_job *j = context;
    size_t first = j->first / LK_PANEL + index * j->panels_each;
    size_t last = smaller(first + j->panels_each, (j->first + j->n + LK_PANEL - 1) / LK_PANEL);
    float *sums = lk_scratch(1, j->m * LK_PANEL);
    if (!sums) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (size_t p = first; p < last; p++) {
        multiply_panel(j, j->panels + p * lk_panel_bytes(j->type, j->k), sums);
        finish(j, p, sums);
    }
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
    size_t least = (STREAM_BYTES + lk_panel_bytes(j->type, j->k) - 1) / lk_panel_bytes(j->type, j->k);
    size_t share = panels / ((size_t)lk_threads() * TASKS_EACH);
    j->panels_each = j->m > LK_TILE_ROWS ? 1 : share > least ? share : least;
    lk_parallel((panels + j->panels_each - 1) / j->panels_each, run_panels, j);
    return j->failed ? LK_NO_MEMORY : LK_OK;
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
