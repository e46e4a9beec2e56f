/* y = x · wᵀ with packed weights. x is packed into tiles once. Then each thread of the pool takes panels of the
 * weights, and multiplies all tiles with each panel while the panel is in the cache. */
#include "blocks.h"
#include "packed_product.h"
#include "../amx/amx.h"
#include <string.h>

enum {
    ROWS_AT_ONCE = 768,       /* the most rows of x in tiles at a time, which bounds the memory of tiles */
    ALONE = 32768,            /* the most elements of x that one thread packs faster than it wakes others */
    TASKS_PER_THREAD = 4,     /* if weights are streamed; a slow thread can then take fewer */
    STREAMED_ROWS = 24,       /* the most rows of x for which reading weights takes most of the time */
    STREAM_BYTES = 128 << 10, /* of the smallest task if weights are streamed */
    CACHE_BYTES = 192 << 10   /* of the panels that stay in L2 */
};

typedef struct packed_job {
    const lk_packed_product *products; /* of one type, so that the same tiles serve all */
    size_t count;
    const float *x;
    char *tiles;
    lk_type type;
    int exact;          /* BF16: x keeps 16 bits of its mantissa or more */
    int split;          /* BF16: a row of x takes two rows of a tile, for the rounded values and the remainders */
    size_t ldx, m, k;
    size_t row_bytes;   /* of x in a tile */
    size_t threads;     /* the number that the tasks are sized for; the pool's size may change meanwhile */
} packed_job;

/* Rows of x in a whole tile. */
static size_t tile_step(const packed_job *j) {
    return j->type == LK_BF16 && !j->split ? LK_TILE_ROWS_BF16 : LK_TILE_ROWS;
}

/* Rows of x in the tile that starts at row r: a whole tile, or else the remaining rows, at most LK_TILE_ROWS. */
static size_t tile_rows(const packed_job *j, size_t r) {
    size_t left = j->m - r;
    return left >= tile_step(j) ? tile_step(j) : smaller(left, LK_TILE_ROWS);
}

/* Rows of a tile for `rows` rows of x. Split tiles have 2, 4, 6 or 12 rows. */
static size_t kernel_rows(const packed_job *j, size_t rows) {
    return !j->split ? rows : 2 * rows <= LK_TILE_ROWS ? 2 * rows : LK_TILE_ROWS_BF16;
}

static void make_bf16_tile(const packed_job *j, char *tile, const float *x, size_t rows) {
    const lk_bf16_kernels *kernels = lk_bf16_kernels_in_use();
    size_t all = kernel_rows(j, rows);
    lk_bf16_form form = j->exact && !j->split ? LK_BF16_EXACT : LK_BF16_ROUNDED;
    if (j->split && all > 2 * rows) memset(tile, 0, all * (j->row_bytes / 2));
    kernels->make_rows(tile, x, j->ldx, 0, rows, all, j->k, form);
    if (j->split) kernels->make_rows(tile, x, j->ldx, all / 2, rows, all, j->k, LK_BF16_REMAINDER);
}

static void make_tiles(void *context, size_t index) {
    const packed_job *j = context;
    size_t first = index * tile_step(j), last = smaller(j->m, first + tile_step(j));
    for (size_t r = first, rows; r < last; r += rows) {
        char *tile = j->tiles + r * j->row_bytes;
        rows = tile_rows(j, r);
        if (j->type == LK_BF16) make_bf16_tile(j, tile, j->x + r * j->ldx, rows);
        else lk_integer_kernels_for(j->type)->make_tile(tile, j->x + r * j->ldx, j->ldx, rows, j->k, j->type);
    }
}

/* Multiplies every tile of x with panels [first, last). Tiles stay in L1, panels in L2. */
static void run_panels(const packed_job *j, const lk_packed_product *product, size_t first, size_t last) {
    size_t slices = lk_slices(j->type, j->k), bytes = lk_panel_bytes(j->type, j->k);
    for (size_t r = 0, rows; r < j->m; r += rows) {
        /* The first tile streams the panels; with few rows, as fast as the bus. */
        const size_t ahead = r == 0 && j->m <= STREAMED_ROWS ? lk_stream_ahead() : 0;
        rows = tile_rows(j, r);
        for (size_t p = first; p < last; p++) {
            if (lk_interrupted()) return;
            float sums[LK_TILE_ROWS_BF16 * LK_PANEL] __attribute__((aligned(64)));
            size_t all = kernel_rows(j, rows);
            const char *tile = j->tiles + r * j->row_bytes, *panel = (const char *)product->weights.panels + p * bytes;
            if (j->type == LK_BF16) lk_bf16_kernels_in_use()->multiply(sums, tile, all, panel, slices, ahead);
            else lk_integer_kernels_for(j->type)->multiply(sums, tile, all, panel, j->type, slices, ahead);
            for (size_t i = 0; j->split && i < rows * LK_PANEL; i++) sums[i] += sums[all / 2 * LK_PANEL + i];
            lk_finish_panel(product, r, rows, p, sums);
        }
    }
}

/* The number of tasks of a product. All tasks have the same number of panels, or one more. With LK_TILE_ROWS rows
 * of x or fewer, the weights are streamed: tasks are long, with several for each thread, so that a slow thread can take
 * fewer. With more rows, a task has at most as many panels as fit L2, and if there are enough panels, every thread gets
 * as many tasks as every other. */
static size_t tasks_of(const packed_job *j, const lk_packed_product *p) {
    size_t bytes = lk_panel_bytes(j->type, j->k), panels = lk_panels_of(p), tasks;
    if (j->m <= LK_TILE_ROWS) tasks = smaller(j->threads * TASKS_PER_THREAD, panels * bytes / STREAM_BYTES);
    else {
        size_t fit = CACHE_BYTES / bytes + 1;
        tasks = lk_larger((panels + fit - 1) / fit, 2 * j->threads);
        tasks = (tasks + j->threads - 1) / j->threads * j->threads;
    }
    return smaller(lk_larger(tasks, 1), panels);
}

/* `index` counts the tasks of all products. */
static void panel_task(void *context, size_t index) {
    const packed_job *j = context;
    const lk_packed_product *p = j->products;
    size_t tasks;
    for (; index >= (tasks = tasks_of(j, p)); p++) index -= tasks;
    size_t first = lk_first_panel(p), panels = lk_panels_of(p);
    run_panels(j, p, first + panels * index / tasks, first + panels * (index + 1) / tasks);
}

static int run(packed_job *j) {
    size_t slices = lk_slices(j->type, j->k), tiles, tasks = 0;
    j->threads = (size_t)lk_threads();
    j->split = j->exact && lk_bf16_kernels_in_use()->pair_bytes == 4;
    tiles = (j->m + tile_step(j) - 1) / tile_step(j);
    j->row_bytes = j->type == LK_BF16 ? slices * lk_bf16_kernels_in_use()->pair_bytes : LK_X_BLOCK * (j->k / LK_BLOCK);
    if (j->split) j->row_bytes *= 2;
    /* The caller's scratch memory, which the panel tasks only read. The last tile may have more rows than x. */
    j->tiles = (char *)lk_scratch(0, (j->m + LK_TILE_ROWS) * j->row_bytes / sizeof(float));
    if (!j->tiles) return LK_NO_MEMORY;
    if (j->m * j->k > ALONE) lk_parallel(tiles, make_tiles, j);
    else
        for (size_t i = 0; i < tiles; i++) make_tiles(j, i);
    for (size_t i = 0; i < j->count; i++) tasks += tasks_of(j, j->products + i);
    lk_parallel(tasks, panel_task, j);
    return LK_OK;
}

/* Runs products that share tiles, ROWS_AT_ONCE rows of x at a time. */
static int run_rows(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m, size_t k,
                    int exact) {
    for (size_t r = 0, rows; r < m; r += rows) {
        lk_packed_product here[LK_PRODUCTS];
        rows = smaller(ROWS_AT_ONCE, m - r);
        for (size_t i = 0; i < count; i++) {
            here[i] = products[i];
            here[i].y += r * here[i].ldy;
        }
        packed_job job = {.products = here, .count = count, .x = x + r * ldx, .type = products->weights.type,
                          .ldx = ldx, .m = rows, .k = k,
                          .exact = products->weights.type == LK_BF16 && exact};
        int status = run(&job);
        if (status != LK_OK) return status;
    }
    return LK_OK;
}

/* Products of one type. Rows that are `apart` are rounded as each alone: on tiles, with BF16 weights, not at all. */
static int run_type(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m, size_t k,
                    int apart) {
    const lk_type type = products->weights.type;
    if (lk_amx_serves(m) && (!apart || type == LK_BF16))
        return lk_amx_linear(products, count, 1, x, ldx, m, k, apart ? LK_AMX_EXACT : 1);
    return run_rows(products, count, x, ldx, m, k, apart || m <= LK_FEW_ROWS);
}

static int run_all(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m, size_t k,
                   int apart) {
    for (size_t i = 0, some; i < count; i += some) {
        const lk_type type = products[i].weights.type;
        for (some = 1; some < LK_PRODUCTS && i + some < count && products[i + some].weights.type == type;) some++;
        int status = run_type(products + i, some, x, ldx, m, k, apart);
        if (status != LK_OK) return status;
    }
    return LK_OK;
}

int lk_packed_linear(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m, size_t k) {
    return run_all(products, count, x, ldx, m, k, 0);
}

int lk_packed_linear_apart(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m,
                           size_t k) {
    return run_all(products, count, x, ldx, m, k, 1);
}
