/* Convolution along time: packing, and sharing the work between threads. */
#include "../amx/amx.h"
#include "../quantized/packed.h"
#include "../table.h"
#include <string.h>

enum {
    GROUP = LK_CONV_GROUP,
    WIDEST_VECTOR = 16,        /* floats */
    COLUMN_STEP = 96,          /* a multiple of every instruction set's tile */
    CHUNK_BYTES = 192 << 10,   /* of x in one task, so that they stay in a core's own cache */
    SMALLEST_TASK = 1 << 18,   /* multiplications of the smallest task worth its overhead */
    TASKS_PER_THREAD = 4,
};

size_t lk_conv1d_packed_count(size_t in_channels, size_t out_channels, size_t kernel) {
    return (out_channels + GROUP - 1) / GROUP * GROUP * in_channels * kernel;
}

/* The place of a weight, or of the weights of a pair of channels. */
static size_t place(size_t rows, size_t kernel, size_t co, size_t row, size_t j) {
    return ((co / GROUP * rows + row) * kernel + j) * GROUP + co % GROUP;
}

void lk_conv1d_pack(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    memset(packed, 0, lk_conv1d_packed_count(in_channels, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci++)
            for (size_t j = 0; j < kernel; j++)
                packed[place(in_channels, kernel, co, ci, j)] = w[(co * in_channels + ci) * kernel + j];
}

/* What computes groups of output channels: the kernels of floats, of pairs of BF16, or of tiles. */
typedef enum means { IN_FLOATS, IN_PAIRS, ON_TILES } means;

static void compute(means by, const lk_conv1d_job *job, size_t group, size_t first_column, size_t last_column) {
    switch (by) {
    case IN_FLOATS: lk_kernels()->conv1d(job, group, group + 1, first_column, last_column); break;
    case IN_PAIRS: lk_bf16_kernels_in_use()->conv1d(job, group, group + 1, first_column, last_column); break;
    case ON_TILES: lk_amx_conv1d(job, group, first_column, last_column); break;
    }
}

static size_t groups_of(means by, size_t channels) {
    return divided_up(channels, by == ON_TILES ? 2 * LK_AMX_ROWS : GROUP);
}

/* How a job is divided into tasks. A task computes one chunk of columns for one range of output groups. A chunk has
 * `columns` columns; the last chunk has the remainder too, so that no chunk is short. A range has `groups` groups. */
typedef struct split {
    const lk_conv1d_job *job;
    means by;
    size_t columns, chunks, groups, ranges;
} split;

static void run_task(void *context, size_t index) {
    const split *s = context;
    const lk_conv1d_job *job = s->job;
    size_t chunk = index / s->ranges, group = index % s->ranges * s->groups;
    size_t last = smaller(group + s->groups, groups_of(s->by, job->out_channels));
    size_t column = chunk * s->columns, end = chunk + 1 == s->chunks ? job->out_columns : column + s->columns;
    for (; group < last && !lk_interrupted(); group++) compute(s->by, job, group, column, end);
}

static void run(const lk_conv1d_job *job, means by) {
    size_t groups = groups_of(by, job->out_channels);
    size_t work = job->out_columns * job->in_channels * job->out_channels * job->kernel;
    size_t tasks = smaller(work / SMALLEST_TASK + 1, lk_threads() == 1 ? 1 : (size_t)lk_threads() * TASKS_PER_THREAD);
    size_t cached = CHUNK_BYTES / sizeof(float) / job->in_channels;
    size_t columns = smaller(divided_up(job->out_columns, tasks), cached);
    columns = divided_up(columns ? columns : 1, COLUMN_STEP) * COLUMN_STEP;
    size_t chunks = job->out_columns < columns ? 1 : job->out_columns / columns;
    split s = {job, by, columns, chunks, divided_up(groups, smaller(groups, divided_up(tasks, chunks))), 0};
    s.ranges = divided_up(groups, s.groups);
    lk_parallel(chunks * s.ranges, run_task, &s);
}

int lk_conv1d_into(const lk_conv1d_output *output, const float *x, size_t ldx, size_t out_columns, const float *packed,
                   const float *bias, size_t in_channels, size_t out_channels, size_t kernel, size_t dilation) {
    if (!out_columns || !out_channels) return LK_OK;
    lk_conv1d_job job = {*output, x, ldx, out_columns, packed, bias, in_channels, out_channels, kernel, dilation};
    if (out_columns < WIDEST_VECTOR) { /* a copy of x from which whole vectors can be read */
        size_t used = out_columns + (kernel - 1) * dilation, padded = WIDEST_VECTOR + (kernel - 1) * dilation;
        float *copy = lk_scratch(0, in_channels * padded);
        if (!copy) return LK_NO_MEMORY;
        for (size_t ci = 0; ci < in_channels; ci++) {
            memcpy(copy + ci * padded, x + ci * ldx, used * sizeof(float));
            memset(copy + ci * padded + used, 0, (padded - used) * sizeof(float));
        }
        job.x = copy;
        job.ldx = padded;
    }
    run(&job, IN_FLOATS);
    return LK_OK;
}

/* --------------------------------------------------------------------------------------------- in pairs of channels */

/* Packed pairs begin with a cache line that says for what they are: what multiplies may change after packing. */
enum { HEADER = 16, STEP_PAIRS = LK_AMX_DEPTH / 2 };

static size_t steps_of(size_t in_channels) { return divided_up(in_channels, LK_AMX_DEPTH); }

static size_t tiles_count(size_t in_channels, size_t out_channels, size_t kernel) {
    return divided_up(out_channels, LK_AMX_ROWS) * kernel * steps_of(in_channels) * (LK_AMX_TILE / sizeof(float));
}

size_t lk_conv1d_pairs_count(size_t in_channels, size_t out_channels, size_t kernel) {
    const size_t pairs = lk_conv1d_packed_count(divided_up(in_channels, 2), out_channels, kernel);
    return HEADER + (lk_amx() ? tiles_count(in_channels, out_channels, kernel) : pairs);
}

/* The byte of a weight in tiles. */
static size_t tile_place(size_t in_channels, size_t kernel, size_t co, size_t ci, size_t j) {
    const size_t tile = (co / LK_AMX_ROWS * kernel + j) * steps_of(in_channels) + ci / LK_AMX_DEPTH;
    return tile * LK_AMX_TILE + co % LK_AMX_ROWS * 64 + ci % LK_AMX_DEPTH * 2;
}

static void pack_tiles(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    memset(packed, 0, tiles_count(in_channels, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci++)
            for (size_t j = 0; j < kernel; j++)
                lk_kernels()->round_to_half((char *)packed + tile_place(in_channels, kernel, co, ci, j),
                                            w + (co * in_channels + ci) * kernel + j, LK_KV_BF16, 1);
}

static void pack_pairs(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    const size_t pairs = divided_up(in_channels, 2);
    memset(packed, 0, lk_conv1d_packed_count(pairs, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci += 2)
            for (size_t j = 0; j < kernel; j++) {
                const float *even = w + (co * in_channels + ci) * kernel + j;
                uint32_t pair;
                const float *odd = ci + 1 < in_channels ? even + kernel : NULL;
                lk_bf16_kernels_in_use()->make_channel_pairs(&pair, even, odd, 1);
                memcpy(packed + place(pairs, kernel, co, ci / 2, j), &pair, sizeof pair);
            }
}

/* What packed pairs are for. */
static means packed_for(const float *packed) {
    means by;
    memcpy(&by, packed, sizeof by);
    return by;
}

void lk_conv1d_pack_pairs(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    const means by = lk_amx() ? ON_TILES : IN_PAIRS;
    memset(packed, 0, HEADER * sizeof(float));
    memcpy(packed, &by, sizeof by);
    if (by == ON_TILES) pack_tiles(packed + HEADER, w, in_channels, out_channels, kernel);
    else pack_pairs(packed + HEADER, w, in_channels, out_channels, kernel);
}

/* Of a lane that holds two values of BF16. */
static float value_of(const char *two, size_t which) {
    uint16_t half;
    memcpy(&half, two + 2 * which, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void lk_conv1d_unpack(float *w, const float *packed, size_t in_channels, size_t out_channels, size_t kernel,
                      int in_pairs) {
    const means by = in_pairs ? packed_for(packed) : IN_FLOATS;
    const size_t pairs = divided_up(in_channels, 2);
    const float *weights = packed + (in_pairs ? HEADER : 0);
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci++)
            for (size_t j = 0; j < kernel; j++) {
                float *to = w + (co * in_channels + ci) * kernel + j;
                if (by == ON_TILES) *to = value_of((const char *)weights + tile_place(in_channels, kernel, co, ci, j), 0);
                else if (by == IN_PAIRS)
                    *to = value_of((const char *)(weights + place(pairs, kernel, co, ci / 2, j)), ci % 2);
                else *to = weights[place(in_channels, kernel, co, ci, j)];
            }
}

typedef struct pairs_job {
    uint32_t *pairs;
    const float *x;
    size_t ldx, channels, used, padded;
} pairs_job;

static void make_pairs(void *context, size_t index) {
    const pairs_job *j = context;
    const size_t first = 2 * index;
    const float *even = j->x + first * j->ldx, *odd = first + 1 < j->channels ? even + j->ldx : NULL;
    uint32_t *pairs = j->pairs + index * j->padded;
    const size_t used = first < j->channels ? j->used : 0; /* none in those that fill a step */
    if (used) lk_bf16_kernels_in_use()->make_channel_pairs(pairs, even, odd, used);
    memset(pairs + used, 0, (j->padded - used) * sizeof *pairs);
}

int lk_conv1d_pairs_into(const lk_conv1d_output *output, const float *x, size_t ldx, size_t out_columns,
                         const float *packed, const float *bias, size_t in_channels, size_t out_channels, size_t kernel,
                         size_t dilation) {
    if (!out_columns || !out_channels) return LK_OK;
    const means by = packed_for(packed);
    size_t pairs = by == ON_TILES ? steps_of(in_channels) * STEP_PAIRS : divided_up(in_channels, 2);
    size_t used = out_columns + (kernel - 1) * dilation;
    /* Rows are an odd number of cache lines long, so that they map to different cache sets, and are padded so that two
     * vectors can be read at any column. */
    size_t padded = divided_up(used, 2 * WIDEST_VECTOR) * 2 * WIDEST_VECTOR + 3 * WIDEST_VECTOR;
    float *memory = lk_scratch(0, pairs * padded);
    if (!memory) return LK_NO_MEMORY;
    pairs_job making = {(uint32_t *)(void *)memory, x, ldx, in_channels, used, padded};
    lk_parallel(pairs, make_pairs, &making);
    lk_conv1d_job job = {*output, memory, padded, out_columns, packed + HEADER, bias, pairs, out_channels, kernel,
                         dilation};
    run(&job, by);
    return LK_OK;
}

void lk_spread(float *y, size_t ldy, size_t step, const float *x, size_t ldx, size_t channels, size_t columns) {
    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < columns; t++) y[c * ldy + t * step] = x[c * ldx + t];
}
