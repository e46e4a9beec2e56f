/* Attention of many rows in BF16. A task owns one head of keys and values, and many queries. It packs the keys and
 * values tile by tile, and adds each tile to all its queries while the tile is in the cache. */
#include "flash.h"
#include <math.h>
#include <stdatomic.h>

enum {
    TASK_BYTES = 640 << 10, /* of queries and their sums, which stay in L2 */
    TASKS_PER_THREAD = 4    /* a slow thread can then take fewer */
};

static const float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

typedef struct flash_job {
    const attention_input *in;
    const lk_attention_output *out;
    size_t task_rows; /* query rows of one task */
    size_t pairs, groups;
    atomic_int failed;
} flash_job;

/* One task and its memory. Its query t · group + g is head g of the group in query row t. */
typedef struct flash_task {
    const flash_job *job;
    size_t kv_head, first, rows; /* query rows first … first + rows - 1 */
    size_t queries;              /* rows · group */
    uint32_t *q, *keys, *values;
    int32_t *last;
    float *sums, *row_max, *row_sum, *scores, *dequantized;
} flash_task;

static size_t tiles_of(size_t queries) { return (queries + LK_FLASH_QUERIES - 1) / LK_FLASH_QUERIES; }

static size_t queries_of(const flash_task *t, size_t tile) {
    return smaller(t->queries - tile * LK_FLASH_QUERIES, LK_FLASH_QUERIES);
}

static lk_flash_tile queries_at(const flash_task *t, size_t tile) {
    const size_t at = tile * LK_FLASH_QUERIES;
    return (lk_flash_tile){.vectors = (queries_of(t, tile) + LK_FLASH_LANES - 1) / LK_FLASH_LANES,
                           .pairs = t->job->pairs,
                           .groups = t->job->groups,
                           .q = t->q + at * t->job->pairs,
                           .last = t->last + at,
                           .sums = t->sums + at * t->job->groups * LK_FLASH_GROUP,
                           .row_max = t->row_max + at,
                           .row_sum = t->row_sum + at};
}

/* Allocates the memory of a task. Returns 0 if the allocation fails. */
static int allocate(flash_task *t) {
    const flash_job *j = t->job;
    size_t room = tiles_of(t->queries) * LK_FLASH_QUERIES, dim = j->groups * LK_FLASH_GROUP;
    size_t keys = LK_FLASH_KEYS * j->pairs, values = LK_FLASH_KEYS / 2 * dim;
    size_t scores = LK_FLASH_KEYS * LK_FLASH_QUERIES, copy = dequantized_room(j->in, FEW_QUERIES + 1);
    size_t sizes[] = {room * j->pairs, keys, values, room * dim, scores, room, room, room, copy};
    enum { ARRAYS = sizeof sizes / sizeof *sizes };
    size_t total = 0;
    for (size_t i = 0; i < ARRAYS; i++) total += sizes[i] = (sizes[i] + 15) / 16 * 16;
    float *memory = lk_scratch(1, total), *arrays[ARRAYS];
    if (!memory) return 0;
    for (size_t i = 0; i < ARRAYS; memory += sizes[i++]) arrays[i] = memory;
    t->q = (uint32_t *)(void *)arrays[0];
    t->keys = (uint32_t *)(void *)arrays[1];
    t->values = (uint32_t *)(void *)arrays[2];
    t->sums = arrays[3];
    t->scores = arrays[4];
    t->last = (int32_t *)(void *)arrays[5];
    t->row_max = arrays[6];
    t->row_sum = arrays[7];
    t->dequantized = arrays[8];
    memset(t->sums, 0, sizes[3] * sizeof(float));
    if (2 * j->pairs > j->in->q->dim + 1) memset(t->q, 0, sizes[0] * sizeof(float));
    return 1;
}

/* Offsets of the queries first … first + LK_FLASH_LANES - 1 in an array of these strides; SIZE_MAX past the last
 * query. */
static void find_rows(const flash_task *t, size_t first, size_t row_stride, size_t head_stride,
                      size_t offsets[LK_FLASH_LANES]) {
    const size_t group = t->job->in->group;
    for (size_t i = 0; i < LK_FLASH_LANES; i++) {
        size_t query = first + i, head = t->kv_head * group + query % group;
        offsets[i] = query < t->queries ? (t->first + query / group) * row_stride + head * head_stride : SIZE_MAX;
    }
}

static void prefetch(const void *row, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)row + i, 0, 2);
}

static void pack_queries(const flash_task *t) {
    const flash_job *j = t->job;
    const lk_queries *q = j->in->q;
    const size_t padded = tiles_of(t->queries) * LK_FLASH_QUERIES;
    for (size_t i = 0; i < padded; i++) {
        size_t seen = i < t->queries ? keys_seen(j->in, t->first + i / j->in->group) : j->in->kv->rows;
        t->last[i] = (int32_t)(seen - 1);
        t->row_max[i] = -INFINITY;
        t->row_sum[i] = 0;
    }
    for (size_t first = 0; first < t->queries; first += LK_FLASH_LANES) {
        size_t tile = first / LK_FLASH_QUERIES, offsets[LK_FLASH_LANES];
        size_t lanes = queries_at(t, tile).vectors * LK_FLASH_LANES;
        const float *rows[LK_FLASH_LANES];
        find_rows(t, first, q->row_stride, q->head_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++) rows[i] = offsets[i] == SIZE_MAX ? NULL : q->data + offsets[i];
        find_rows(t, first + LK_FLASH_LANES, q->row_stride, q->head_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++)
            if (offsets[i] != SIZE_MAX) prefetch(q->data + offsets[i], q->dim * sizeof(float));
        lk_flash_kernels()->pack_queries(t->q + tile * LK_FLASH_QUERIES * j->pairs + first % LK_FLASH_QUERIES, lanes,
                                         rows, q->dim, j->in->scale * LOG2_E);
    }
}

/* Keys and values start … start + n - 1, which lie in one page. */
static void pack_keys(const flash_task *t, size_t start, size_t n) {
    const flash_job *j = t->job;
    const lk_keys_values *kv = j->in->kv;
    const size_t dim = j->in->q->dim;
    kv_tile k = dequantized(tile_at(kv, kv->keys, t->kv_head, start, n), dim, t->dequantized);
    for (size_t first = 0; first < n; first += LK_FLASH_LANES) {
        const float *rows[LK_FLASH_LANES];
        for (size_t i = 0; i < LK_FLASH_LANES; i++)
            rows[i] = first + i < n ? (const float *)k.data + (first + i) * k.stride : NULL;
        lk_flash_kernels()->pack_keys(t->keys + first * j->pairs, rows, dim, j->pairs);
    }
    const size_t packed = divided_up(n, LK_FLASH_LANES) * LK_FLASH_LANES, all = divided_up(n, lk_flash_kernels()->keys);
    memset(t->keys + packed * j->pairs, 0, (all * lk_flash_kernels()->keys - packed) * j->pairs * sizeof *t->keys);
    kv_tile v = dequantized(tile_at(kv, kv->values, t->kv_head, start, n), dim, t->dequantized);
    lk_flash_kernels()->pack_values(t->values, v.data, v.stride, n, dim);
}

/* Prefetches what pack_keys reads. */
static void prefetch_keys(const flash_task *t, size_t start, size_t n) {
    const lk_keys_values *kv = t->job->in->kv;
    kv_tile k = tile_at(kv, kv->keys, t->kv_head, start, n);
    kv_tile v = tile_at(kv, kv->values, t->kv_head, start, n);
    const size_t size = kv_bytes(k.type), dim = t->job->in->q->dim;
    for (size_t r = 0; r < n; r++) {
        prefetch((const char *)k.data + r * k.stride * size, dim * size);
        prefetch((const char *)v.data + r * v.stride * size, dim * size);
    }
}

static void store_results(const flash_task *t) {
    const lk_attention_output *out = t->job->out;
    const attention_input *in = t->job->in;
    for (size_t first = 0; first < t->queries; first += LK_FLASH_LANES) {
        size_t offsets[LK_FLASH_LANES];
        float *rows[LK_FLASH_LANES];
        find_rows(t, first, out->row_stride, out->head_stride, offsets);
        for (size_t i = 0; i < LK_FLASH_LANES; i++) rows[i] = offsets[i] == SIZE_MAX ? NULL : out->data + offsets[i];
        lk_flash_tile tile = queries_at(t, first / LK_FLASH_QUERIES);
        lk_flash_kernels()->store_rows(&tile, first % LK_FLASH_QUERIES / LK_FLASH_LANES, rows, in->q->dim);
    }
    for (size_t i = 0; i < t->queries && out->log_sum_exp; i++) {
        const size_t row = t->first + i / in->group, head = t->kv_head * in->group + i % in->group;
        out->log_sum_exp[row * in->q->heads + head] = t->row_max[i] * LN_2 + logf(t->row_sum[i]);
    }
}

static void run_task(void *context, size_t index) {
    flash_job *j = context;
    const attention_input *in = j->in;
    flash_task t = {.job = j, .kv_head = index % in->kv->heads, .first = index / in->kv->heads * j->task_rows};
    t.rows = smaller(j->task_rows, in->q->rows - t.first);
    t.queries = t.rows * in->group;
    if (!allocate(&t)) {
        atomic_store(&j->failed, 1);
        return;
    }
    pack_queries(&t);
    lk_amx_host host;
    if (lk_flash_kernels()->begin) lk_flash_kernels()->begin(&host);
    const size_t limit = keys_seen(in, t.first + t.rows - 1);
    for (size_t start = 0, n; start < limit && !lk_interrupted(); start += n) {
        n = keys_in_tile(in->kv, start, limit, LK_FLASH_KEYS);
        pack_keys(&t, start, n);
        if (start + n < limit) prefetch_keys(&t, start + n, keys_in_tile(in->kv, start + n, limit, LK_FLASH_KEYS));
        for (size_t i = 0; i < tiles_of(t.queries); i++) {
            /* The last query of the tile sees the most keys. */
            int32_t furthest = t.last[i * LK_FLASH_QUERIES + queries_of(&t, i) - 1];
            if ((size_t)furthest < start) continue;
            lk_flash_tile tile = queries_at(&t, i);
            size_t seen = smaller(n, (size_t)furthest + 1 - start);
            lk_flash_kernels()->add_keys(&tile, t.keys, t.values, start, seen, n, t.scores);
        }
    }
    if (lk_flash_kernels()->end) lk_flash_kernels()->end(&host);
    store_results(&t);
}

/* Query rows of one task: as many tiles as fit the cache, or fewer if threads would be idle. */
static size_t rows_of_task(const flash_job *j) {
    const attention_input *in = j->in;
    size_t fit = TASK_BYTES / (LK_FLASH_QUERIES * (j->pairs + j->groups * LK_FLASH_GROUP) * sizeof(float));
    size_t all = tiles_of(in->q->rows * in->group) * in->kv->heads;
    size_t tiles = smaller(fit, all / ((size_t)lk_threads() * TASKS_PER_THREAD));
    size_t queries = (tiles < 1 ? 1 : tiles) * LK_FLASH_QUERIES;
    return in->group >= queries ? 1 : queries / in->group;
}

int lk_flash_attention(const lk_attention_output *output, const attention_input *in) {
    const size_t dim = in->q->dim, depth = lk_flash_kernels()->depth, rows = lk_flash_kernels()->rows;
    flash_job job = {in, output, 0, divided_up(dim, depth) * depth / 2, divided_up(dim, rows) * rows / LK_FLASH_GROUP,
                     0};
    job.task_rows = rows_of_task(&job);
    lk_parallel((in->q->rows + job.task_rows - 1) / job.task_rows * in->kv->heads, run_task, &job);
    return job.failed ? LK_NO_MEMORY : LK_OK;
}
