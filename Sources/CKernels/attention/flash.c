/* Attention over many rows in BF16. A task takes one head of keys and values and many queries: it packs the keys block
 * by block, and lets all its queries see a block while that is in the cache. */
#include "flash.h"
#include "attention_tiles.h"
#include <math.h>
#include <stdatomic.h>

enum {
    TASK_BYTES = 640 << 10, /* of queries and their sums, which stay in the second cache */
    TASKS_EACH = 4          /* for each thread, so that a slow one gets fewer */
};

static const float LOG2_E = 1.44269504f;

typedef struct flash_job {
    float *out;
    const float *q;
    const void *const *k_pages, *const *v_pages;
    const float *const *k_scales, *const *v_scales;
    const lk_attention_shape *s;
    size_t group;     /* query heads of one key/value head */
    size_t task_rows; /* query rows of one task */
    size_t pairs, groups;
    atomic_int failed;
} flash_job;

/* What one task works on. */
typedef struct flash_task {
    const flash_job *job;
    size_t kv_head, first, rows; /* query rows first … first + rows - 1 */
    size_t queries;              /* rows · group */
    uint32_t *q, *keys, *values;
    int32_t *last;
    float *sums, *row_max, *row_sum, *scores, *wide;
} flash_task;

static size_t blocks_of(size_t queries) { return (queries + LK_FLASH_QUERIES - 1) / LK_FLASH_QUERIES; }

static size_t queries_of(const flash_task *t, size_t block) {
    return smaller(t->queries - block * LK_FLASH_QUERIES, LK_FLASH_QUERIES);
}

static lk_flash_block block_at(const flash_task *t, size_t block) {
    size_t at = block * LK_FLASH_QUERIES;
    return (lk_flash_block){(queries_of(t, block) + LK_FLASH_LANES - 1) / LK_FLASH_LANES,
                            t->job->pairs,
                            t->job->groups,
                            t->q + at * t->job->pairs,
                            t->last + at,
                            t->sums + at * t->job->groups * LK_FLASH_GROUP,
                            t->row_max + at,
                            t->row_sum + at};
}

/* Divides the memory of a task; 0 if there is none. */
static int take_memory(flash_task *t) {
    const flash_job *j = t->job;
    size_t room = blocks_of(t->queries) * LK_FLASH_QUERIES, dim = j->groups * LK_FLASH_GROUP;
    size_t keys = LK_FLASH_KEYS * j->pairs, values = LK_FLASH_KEYS / 2 * dim, wide = wide_room(j->s, FEW_QUERIES + 1);
    size_t scores = LK_FLASH_KEYS * LK_FLASH_QUERIES;
    size_t sizes[] = {room * j->pairs, keys, values, room * dim, scores, room, room, room, wide};
    size_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += sizes[i] = (sizes[i] + 15) / 16 * 16;
    float *memory = lk_scratch(1, total), *parts[sizeof sizes / sizeof *sizes];
    if (!memory) return 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; memory += sizes[i++]) parts[i] = memory;
    t->q = (uint32_t *)(void *)parts[0];
    t->keys = (uint32_t *)(void *)parts[1];
    t->values = (uint32_t *)(void *)parts[2];
    t->sums = parts[3];
    t->scores = parts[4];
    t->last = (int32_t *)(void *)parts[5];
    t->row_max = parts[6];
    t->row_sum = parts[7];
    t->wide = parts[8];
    memset(t->sums, 0, sizes[3] * sizeof(float));
    return 1;
}

/* Where the queries of one vector begin in q or out, by their row stride; SIZE_MAX for those that are not there. Query
 * t · group + g is row t, head g of the group. */
static void find_rows(const flash_task *t, size_t first, size_t row_stride, size_t offsets[LK_FLASH_LANES]) {
    const flash_job *j = t->job;
    for (size_t i = 0; i < LK_FLASH_LANES; i++) {
        size_t query = first + i, head = t->kv_head * j->group + query % j->group;
        offsets[i] = query < t->queries ? (t->first + query / j->group) * row_stride + head * j->s->dim : SIZE_MAX;
    }
}

/* Asks for a row before it is needed. */
static void ask_for(const void *row, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)row + i, 0, 2);
}

static void pack_queries(const flash_task *t) {
    const flash_job *j = t->job;
    const lk_attention_shape *s = j->s;
    const size_t past = s->kv_rows - s->rows, all = blocks_of(t->queries) * LK_FLASH_QUERIES;
    for (size_t i = 0; i < all; i++) {
        size_t seen = s->causal && i < t->queries ? past + t->first + i / j->group + 1 : s->kv_rows;
        t->last[i] = (int32_t)(seen - 1);
        t->row_max[i] = -INFINITY;
        t->row_sum[i] = 0;
    }
    for (size_t first = 0; first < t->queries; first += LK_FLASH_LANES) {
        size_t block = first / LK_FLASH_QUERIES, offsets[LK_FLASH_LANES];
        size_t lanes = block_at(t, block).vectors * LK_FLASH_LANES;
        const float *rows[LK_FLASH_LANES];
        find_rows(t, first, s->q_row_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++) rows[i] = offsets[i] == SIZE_MAX ? NULL : j->q + offsets[i];
        find_rows(t, first + LK_FLASH_LANES, s->q_row_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++)
            if (offsets[i] != SIZE_MAX) ask_for(j->q + offsets[i], s->dim * sizeof(float));
        lk_flash_kernels()->pack_rows(t->q + block * LK_FLASH_QUERIES * j->pairs + first % LK_FLASH_QUERIES, lanes,
                                      LK_FLASH_GROUP, rows, s->dim, s->scale * LOG2_E);
    }
}

/* Keys and values start … start + n - 1, which lie in one page. */
static void pack_keys(const flash_task *t, size_t start, size_t n) {
    const flash_job *j = t->job;
    const lk_attention_shape *s = j->s;
    kv_tile k = widened(tile_at(s, j->k_pages, j->k_scales, t->kv_head, start, n), s->dim, t->wide);
    for (size_t first = 0; first < n; first += LK_FLASH_LANES) {
        const float *rows[LK_FLASH_LANES];
        for (size_t i = 0; i < LK_FLASH_LANES; i++)
            rows[i] = first + i < n ? (const float *)k.data + (first + i) * k.stride : NULL;
        lk_flash_kernels()->pack_rows(t->keys + first * j->pairs, LK_FLASH_GROUP, LK_FLASH_GROUP * j->pairs, rows,
                                      s->dim, 1);
    }
    kv_tile v = widened(tile_at(s, j->v_pages, j->v_scales, t->kv_head, start, n), s->dim, t->wide);
    lk_flash_kernels()->pack_values(t->values, v.data, v.stride, n, s->dim);
}

/* What pack_keys is to read. */
static void ask_for_keys(const flash_task *t, size_t start, size_t n) {
    const flash_job *j = t->job;
    const lk_attention_shape *s = j->s;
    kv_tile k = tile_at(s, j->k_pages, j->k_scales, t->kv_head, start, n);
    kv_tile v = tile_at(s, j->v_pages, j->v_scales, t->kv_head, start, n);
    const size_t size = kv_bytes(k.type);
    for (size_t r = 0; r < n; r++) {
        ask_for((const char *)k.data + r * k.stride * size, s->dim * size);
        ask_for((const char *)v.data + r * v.stride * size, s->dim * size);
    }
}

/* Keys from `start` on that make a block: they lie in one page. */
static size_t keys_from(const flash_task *t, size_t start, size_t limit) {
    size_t page_rows = t->job->s->page_rows;
    return smaller(smaller(limit - start, LK_FLASH_KEYS), page_rows - start % page_rows);
}

static void take_queries(const flash_task *t) {
    const flash_job *j = t->job;
    for (size_t first = 0; first < t->queries; first += LK_FLASH_LANES) {
        size_t offsets[LK_FLASH_LANES];
        float *rows[LK_FLASH_LANES];
        find_rows(t, first, j->s->out_row_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++) rows[i] = offsets[i] == SIZE_MAX ? NULL : j->out + offsets[i];
        lk_flash_block b = block_at(t, first / LK_FLASH_QUERIES);
        lk_flash_kernels()->take_rows(&b, first % LK_FLASH_QUERIES / LK_FLASH_LANES, rows, j->s->dim);
    }
}

static void run_task(void *context, size_t index) {
    flash_job *j = context;
    const lk_attention_shape *s = j->s;
    flash_task t = {.job = j, .kv_head = index % s->kv_heads, .first = index / s->kv_heads * j->task_rows};
    t.rows = smaller(j->task_rows, s->rows - t.first);
    t.queries = t.rows * j->group;
    if (!take_memory(&t)) {
        atomic_store(&j->failed, 1);
        return;
    }
    pack_queries(&t);
    size_t limit = s->causal ? s->kv_rows - s->rows + t.first + t.rows : s->kv_rows, blocks = blocks_of(t.queries);
    for (size_t start = 0, n; start < limit && !lk_interrupted(); start += n) {
        n = keys_from(&t, start, limit);
        pack_keys(&t, start, n);
        if (start + n < limit) ask_for_keys(&t, start + n, keys_from(&t, start + n, limit));
        for (size_t i = 0; i < blocks; i++) {
            /* A later query sees more. */
            int32_t furthest = t.last[i * LK_FLASH_QUERIES + queries_of(&t, i) - 1];
            if ((size_t)furthest < start) continue;
            lk_flash_block b = block_at(&t, i);
            size_t seen = smaller(n, (size_t)furthest + 1 - start);
            lk_flash_kernels()->add_keys(&b, t.keys, t.values, start, seen, n, t.scores);
        }
    }
    take_queries(&t);
}

/* Query rows of one task: as many blocks as the cache holds, unless threads would have nothing to do. */
static size_t rows_of_task(const flash_job *j) {
    const lk_attention_shape *s = j->s;
    size_t fit = TASK_BYTES / (LK_FLASH_QUERIES * (j->pairs + j->groups * LK_FLASH_GROUP) * sizeof(float));
    size_t share = blocks_of(s->rows * j->group) * s->kv_heads / ((size_t)lk_threads() * TASKS_EACH);
    size_t blocks = smaller(fit, share), queries = (blocks < 1 ? 1 : blocks) * LK_FLASH_QUERIES;
    return j->group >= queries ? 1 : queries / j->group;
}

int lk_flash_attention(float *out, const float *q, const void *const *k_pages, const void *const *v_pages,
                       const float *const *k_scales, const float *const *v_scales, const lk_attention_shape *shape) {
    flash_job job = {out, q, k_pages, v_pages, k_scales, v_scales, shape, shape->heads / shape->kv_heads, 0,
                     (shape->dim + 1) / 2, (shape->dim + LK_FLASH_GROUP - 1) / LK_FLASH_GROUP, 0};
    job.task_rows = rows_of_task(&job);
    lk_parallel((shape->rows + job.task_rows - 1) / job.task_rows * shape->kv_heads, run_task, &job);
    return job.failed ? LK_NO_MEMORY : LK_OK;
}
