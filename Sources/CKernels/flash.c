/* Attention over many rows in BF16. A task takes one head of keys and values and many queries: it packs the keys block by
 * block, and lets all its queries see a block while that is in the cache. */
#include "flash.h"
#include "attention_tiles.h"
#include <math.h>
#include <stdatomic.h>

enum {
    TASK_BLOCKS = 10, /* of queries: their sums stay in the second cache, and packing keys costs little beside them */
    TASKS_EACH = 4    /* for each thread, so that a slow one gets fewer */
};

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
    float *sums, *row_max, *row_sum, *scores, *row, *wide;
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

/* Divides the memory of a task; null if there is none. */
static int take_memory(flash_task *t) {
    const flash_job *j = t->job;
    size_t room = blocks_of(t->queries) * LK_FLASH_QUERIES, dim = j->groups * LK_FLASH_GROUP;
    size_t keys = LK_FLASH_KEYS * j->pairs, values = LK_FLASH_KEYS / 2 * dim, wide = wide_room(j->s, FEW_QUERIES + 1);
    size_t sizes[] = {room * j->pairs, keys, values, room * dim, LK_FLASH_KEYS * LK_FLASH_QUERIES, room, room, room, dim,
                      wide};
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
    t->row = parts[8];
    t->wide = parts[9];
    memset(t->q, 0, sizes[0] * sizeof(float));
    memset(t->sums, 0, sizes[3] * sizeof(float));
    return 1;
}

/* Query row · group + g of the task. */
static void pack_queries(const flash_task *t) {
    const flash_job *j = t->job;
    const lk_attention_shape *s = j->s;
    const size_t last_key = s->kv_rows - 1, past = s->kv_rows - s->rows;
    for (size_t i = 0; i < blocks_of(t->queries) * LK_FLASH_QUERIES; i++) {
        size_t block = i / LK_FLASH_QUERIES, row = t->first + i / j->group;
        t->row_max[i] = -INFINITY;
        t->row_sum[i] = 0;
        t->last[i] = (int32_t)(s->causal && i < t->queries ? past + row : last_key);
        if (i >= t->queries) continue;
        lk_flash_block b = block_at(t, block);
        memcpy(t->row, j->q + row * s->q_row_stride + (t->kv_head * j->group + i % j->group) * s->dim,
               s->dim * sizeof(float));
        lk_kernels()->scale(t->row, s->dim, s->scale * 1.44269504f);
        lk_flash_kernels()->pack_row(t->q + block * LK_FLASH_QUERIES * j->pairs, i % LK_FLASH_QUERIES,
                                     b.vectors * LK_FLASH_LANES, t->row, s->dim);
    }
}

/* Keys and values start … start + n - 1, which lie in one page. */
static void pack_keys(const flash_task *t, size_t start, size_t n) {
    const flash_job *j = t->job;
    const lk_attention_shape *s = j->s;
    kv_tile k = widened(tile_at(s, j->k_pages, j->k_scales, t->kv_head, start, n), s->dim, t->wide);
    size_t whole = n / LK_FLASH_GROUP * LK_FLASH_GROUP;
    if (whole < n) memset(t->keys + whole * j->pairs, 0, LK_FLASH_GROUP * j->pairs * sizeof(uint32_t));
    for (size_t r = 0; r < n; r++)
        lk_flash_kernels()->pack_row(t->keys + r / LK_FLASH_GROUP * LK_FLASH_GROUP * j->pairs, r % LK_FLASH_GROUP,
                                     LK_FLASH_GROUP, (const float *)k.data + r * k.stride, s->dim);
    kv_tile v = widened(tile_at(s, j->v_pages, j->v_scales, t->kv_head, start, n), s->dim, t->wide);
    lk_flash_kernels()->pack_values(t->values, v.data, v.stride, n, s->dim);
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
    for (size_t start = 0, n; start < limit; start += n) {
        n = smaller(smaller(limit - start, LK_FLASH_KEYS), s->page_rows - start % s->page_rows);
        pack_keys(&t, start, n);
        for (size_t i = 0; i < blocks; i++) {
            /* A later query sees more. */
            int32_t furthest = t.last[i * LK_FLASH_QUERIES + queries_of(&t, i) - 1];
            if ((size_t)furthest < start) continue;
            lk_flash_block b = block_at(&t, i);
            lk_flash_kernels()->add_keys(&b, t.keys, t.values, start, n, t.scores);
        }
    }
    for (size_t i = 0; i < t.queries; i++) {
        lk_flash_block b = block_at(&t, i / LK_FLASH_QUERIES);
        float *out = j->out + (t.first + i / j->group) * s->out_row_stride;
        lk_flash_kernels()->take_row(&b, i % LK_FLASH_QUERIES, out + (t.kv_head * j->group + i % j->group) * s->dim,
                                     s->dim);
    }
}

/* Query rows of one task: as many blocks as the cache holds, unless threads would have nothing to do. */
static size_t rows_of_task(const lk_attention_shape *s) {
    size_t group = s->heads / s->kv_heads, tasks = (size_t)lk_threads() * TASKS_EACH;
    size_t blocks = blocks_of(s->rows * group) * s->kv_heads / tasks;
    size_t queries = (blocks < 1 ? 1 : smaller(blocks, TASK_BLOCKS)) * LK_FLASH_QUERIES;
    return group >= queries ? 1 : queries / group;
}

int lk_flash_attention(float *out, const float *q, const void *const *k_pages, const void *const *v_pages,
                       const float *const *k_scales, const float *const *v_scales, const lk_attention_shape *shape) {
    flash_job job = {out, q, k_pages, v_pages, k_scales, v_scales, shape, shape->heads / shape->kv_heads,
                     rows_of_task(shape), (shape->dim + 1) / 2, (shape->dim + LK_FLASH_GROUP - 1) / LK_FLASH_GROUP, 0};
    lk_parallel((shape->rows + job.task_rows - 1) / job.task_rows * shape->kv_heads, run_task, &job);
    return job.failed ? LK_NO_MEMORY : LK_OK;
}
