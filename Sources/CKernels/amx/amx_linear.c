/* y = x · wᵀ on tiles. x is rounded into tiles once. Then each thread of the pool takes groups of panels of the
 * weights: it makes a part of their depth as BF16, which stays in L2, and multiplies all rows with it. */
#include "amx.h"
#include "../quantized/packed_product.h"
#include <stdatomic.h>
#include <string.h>

enum {
    ROWS_AT_ONCE = 768, /* the most rows of x in tiles at a time, which bounds the memory of tiles and sums */
    BLOCK = 2 * LK_AMX_ROWS,
    GROUP = 8,  /* the most panels of a task */
    STEPS = 32, /* of a group that are in use together: 512 KB, and as much for the sums of 512 rows */
    ALONE = 1 << 15 /* the most elements of x that one thread rounds faster than it wakes others */
};

int lk_amx_serves(size_t m) { return lk_amx() && m > LK_FEW_ROWS; }

typedef struct amx_job {
    const lk_packed_product *products;
    size_t count;
    int packed, parts;
    int in_place; /* packed panels are used where they are */
    const float *x;
    char *tiles;
    size_t ldx, m, k, steps;
    size_t apart;   /* bytes of a row of tiles */
    size_t threads; /* the number that the tasks are sized for */
    atomic_int status;
} amx_job;

static void make_tiles(void *context, size_t index) {
    const amx_job *j = context;
    const size_t r = index * LK_AMX_ROWS;
    lk_amx()->make_x(j->tiles + index * j->apart, j->x + r * j->ldx, j->ldx, smaller(LK_AMX_ROWS, j->m - r), j->k,
                     j->parts);
}

/* `steps` steps of a panel, from step `first` on, in BF16. */
static const char *panel_at(const amx_job *j, const lk_packed_product *p, size_t panel, size_t first, size_t steps,
                            char *memory) {
    const char *weights = p->weights.panels;
    const lk_type type = p->weights.type;
    if (!j->packed) {
        const size_t row = panel * LK_PANEL, rows = smaller(LK_PANEL, p->weights.first + p->weights.n - row);
        const size_t start = first * LK_AMX_DEPTH, depth = smaller(steps * LK_AMX_DEPTH, j->k - start);
        lk_amx()->pair(memory, weights + (row * j->k + start) * 2, j->k * 2, rows, depth);
        return memory;
    }
    const char *packed = weights + panel * lk_panel_bytes(type, j->k);
    if (j->in_place) return packed + first * LK_AMX_STEP;
    if (type != LK_BF16) {
        lk_amx()->widen(memory, packed, type, first, steps);
        return memory;
    }
    const size_t at = first * LK_AMX_STEP, bytes = steps * LK_AMX_STEP;
    const size_t there = smaller(bytes, lk_panel_bytes(type, j->k) - at);
    memcpy(memory, packed + at, there);
    memset(memory + there, 0, bytes - there);
    return memory;
}

/* A group of panels, and the memory of its task. */
typedef struct panel_group {
    const lk_packed_product *product;
    size_t first, count;
    float *sums;  /* [panels][rows in blocks][32], or [32][32] if the depth is done at once */
    char *panels; /* in BF16 */
} panel_group;

/* Multiplies all rows with steps `first` … of the group. */
static void multiply_steps(const amx_job *j, const panel_group *g, size_t first, size_t steps) {
    const int is_last = first + steps == j->steps, is_whole = first == 0 && is_last;
    const size_t ahead = j->in_place && j->m <= BLOCK ? lk_stream_ahead() : 0;
    const char *panels[GROUP];
    for (size_t i = 0; i < g->count; i++)
        panels[i] = panel_at(j, g->product, g->first + i, first, steps, g->panels + i * STEPS * LK_AMX_STEP);
    for (size_t r = 0; r < j->m; r += BLOCK) {
        const size_t rows = smaller(BLOCK, j->m - r);
        const char *x = j->tiles + r / LK_AMX_ROWS * j->apart + first * (size_t)j->parts * LK_AMX_TILE;
        for (size_t i = 0; i < g->count; i++) {
            if (lk_interrupted()) return;
            float *sums = g->sums + (is_whole ? 0 : (i * divided_up(j->m, BLOCK) * BLOCK + r) * LK_PANEL);
            lk_amx()->multiply(sums, x, j->apart, rows > LK_AMX_ROWS ? 2 : 1, j->parts, panels[i], steps, first > 0,
                               ahead);
            if (is_last) lk_finish_panel(g->product, r, rows, g->first + i, sums);
        }
    }
}

/* As many tasks for each thread, if there are enough panels, of at most GROUP panels. */
static size_t tasks_of(const amx_job *j, const lk_packed_product *p) {
    const size_t panels = lk_panels_of(p), tasks = lk_larger(divided_up(panels, GROUP), j->threads);
    return smaller(divided_up(tasks, j->threads) * j->threads, panels);
}

/* `index` counts the tasks of all products. */
static void panel_task(void *context, size_t index) {
    amx_job *j = context;
    const lk_packed_product *p = j->products;
    size_t tasks;
    for (; index >= (tasks = tasks_of(j, p)); p++) index -= tasks;
    const size_t panels = lk_panels_of(p), first = panels * index / tasks;
    panel_group group = {p, lk_first_panel(p) + first, panels * (index + 1) / tasks - first, NULL, NULL};
    const size_t blocks = j->steps > STEPS ? group.count * divided_up(j->m, BLOCK) : 1;
    const size_t floats = blocks * BLOCK * LK_PANEL, copies = j->in_place ? 0 : group.count * STEPS * LK_AMX_STEP;
    group.sums = lk_scratch(1, floats + copies / sizeof(float));
    if (!group.sums) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    group.panels = (char *)(group.sums + floats);
    lk_amx_host host;
    lk_amx()->begin(&host);
    for (size_t step = 0; step < j->steps && !lk_interrupted(); step += STEPS)
        multiply_steps(j, &group, step, smaller(STEPS, j->steps - step));
    lk_amx()->end(&host);
}

static int run(amx_job *j) {
    const size_t rows = divided_up(j->m, LK_AMX_ROWS);
    size_t tasks = 0;
    j->tiles = (char *)lk_scratch(0, rows * j->apart / sizeof(float)); /* the caller's, which the tasks only read */
    if (!j->tiles) return LK_NO_MEMORY;
    if (j->m * j->k > ALONE) lk_parallel(rows, make_tiles, j);
    else
        for (size_t i = 0; i < rows; i++) make_tiles(j, i);
    for (size_t i = 0; i < j->count; i++) tasks += tasks_of(j, j->products + i);
    lk_parallel(tasks, panel_task, j);
    return j->status;
}

int lk_amx_linear(const lk_packed_product *products, size_t count, int packed, const float *x, size_t ldx, size_t m,
                  size_t k, int parts) {
    const size_t steps = divided_up(k, LK_AMX_DEPTH);
    for (size_t r = 0; r < m; r += ROWS_AT_ONCE) {
        lk_packed_product here[LK_PRODUCTS];
        for (size_t i = 0; i < count; i++) {
            here[i] = products[i];
            here[i].y += r * here[i].ldy;
        }
        amx_job job = {.products = here, .count = count, .packed = packed, .parts = parts, .x = x + r * ldx,
                       .ldx = ldx, .m = smaller(ROWS_AT_ONCE, m - r), .k = k, .steps = steps,
                       .apart = steps * (size_t)parts * LK_AMX_TILE, .threads = (size_t)lk_threads()};
        job.in_place = packed && here->weights.type == LK_BF16 && k % LK_AMX_DEPTH == 0;
        const int status = run(&job);
        if (status != LK_OK) return status;
    }
    return LK_OK;
}
