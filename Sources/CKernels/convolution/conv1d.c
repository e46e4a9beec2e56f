/* Convolution along time: packing, and sharing the work between threads. */
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

void lk_conv1d_pack(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    memset(packed, 0, lk_conv1d_packed_count(in_channels, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci++)
            for (size_t j = 0; j < kernel; j++)
                packed[((co / GROUP * in_channels + ci) * kernel + j) * GROUP + co % GROUP] =
                    w[(co * in_channels + ci) * kernel + j];
}

static size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }

/* How a job is divided into tasks. A task computes one chunk of columns for one range of output groups. A chunk has
 * `columns` columns; the last chunk has the remainder too, so that no chunk is short. A range has `groups` groups. */
typedef struct split {
    const lk_conv1d_job *job;
    int in_pairs;
    size_t columns, chunks, groups, ranges;
} split;

static void run_task(void *context, size_t index) {
    const split *s = context;
    const lk_conv1d_job *job = s->job;
    size_t chunk = index / s->ranges, group = index % s->ranges * s->groups;
    size_t groups = divide_up(job->out_channels, GROUP), last = smaller(group + s->groups, groups);
    size_t column = chunk * s->columns, end = chunk + 1 == s->chunks ? job->out_columns : column + s->columns;
    for (; group < last && !lk_interrupted(); group++) {
        if (s->in_pairs) lk_bf16_kernels_in_use()->conv1d(job, group, group + 1, column, end);
        else lk_kernels()->conv1d(job, group, group + 1, column, end);
    }
}

static void run(const lk_conv1d_job *job, int in_pairs) {
    size_t groups = divide_up(job->out_channels, GROUP);
    size_t work = job->out_columns * job->in_channels * job->out_channels * job->kernel;
    size_t tasks = smaller(work / SMALLEST_TASK + 1, lk_threads() == 1 ? 1 : (size_t)lk_threads() * TASKS_PER_THREAD);
    size_t cached = CHUNK_BYTES / sizeof(float) / job->in_channels;
    size_t columns = smaller(divide_up(job->out_columns, tasks), cached);
    columns = divide_up(columns ? columns : 1, COLUMN_STEP) * COLUMN_STEP;
    size_t chunks = job->out_columns < columns ? 1 : job->out_columns / columns;
    split s = {job, in_pairs, columns, chunks, divide_up(groups, smaller(groups, divide_up(tasks, chunks))), 0};
    s.ranges = divide_up(groups, s.groups);
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
    run(&job, 0);
    return LK_OK;
}

/* --------------------------------------------------------------------------------------------- in pairs of channels */

size_t lk_conv1d_pairs_count(size_t in_channels, size_t out_channels, size_t kernel) {
    return lk_conv1d_packed_count(divide_up(in_channels, 2), out_channels, kernel);
}

void lk_conv1d_pack_pairs(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    size_t pairs = divide_up(in_channels, 2);
    memset(packed, 0, lk_conv1d_pairs_count(in_channels, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci += 2)
            for (size_t j = 0; j < kernel; j++) {
                const float *even = w + (co * in_channels + ci) * kernel + j;
                uint32_t pair;
                const float *odd = ci + 1 < in_channels ? even + kernel : NULL;
                lk_bf16_kernels_in_use()->make_channel_pairs(&pair, even, odd, 1);
                memcpy(packed + ((co / GROUP * pairs + ci / 2) * kernel + j) * GROUP + co % GROUP, &pair, sizeof pair);
            }
}

typedef struct pairs_job {
    uint32_t *pairs;
    const float *x;
    size_t ldx, channels, used, padded;
} pairs_job;

static void make_pairs(void *context, size_t index) {
    const pairs_job *j = context;
    const float *even = j->x + 2 * index * j->ldx, *odd = 2 * index + 1 < j->channels ? even + j->ldx : NULL;
    uint32_t *pairs = j->pairs + index * j->padded;
    lk_bf16_kernels_in_use()->make_channel_pairs(pairs, even, odd, j->used);
    memset(pairs + j->used, 0, (j->padded - j->used) * sizeof *pairs);
}

int lk_conv1d_pairs_into(const lk_conv1d_output *output, const float *x, size_t ldx, size_t out_columns,
                         const float *packed, const float *bias, size_t in_channels, size_t out_channels, size_t kernel,
                         size_t dilation) {
    if (!out_columns || !out_channels) return LK_OK;
    size_t pairs = divide_up(in_channels, 2), used = out_columns + (kernel - 1) * dilation;
    /* Rows are an odd number of cache lines long, so that they map to different cache sets, and are padded so that a
     * vector can be read at any column. */
    size_t padded = (used + 2 * WIDEST_VECTOR - 1) / (2 * WIDEST_VECTOR) * (2 * WIDEST_VECTOR) + WIDEST_VECTOR;
    float *memory = lk_scratch(0, pairs * padded);
    if (!memory) return LK_NO_MEMORY;
    pairs_job making = {(uint32_t *)(void *)memory, x, ldx, in_channels, used, padded};
    lk_parallel(pairs, make_pairs, &making);
    lk_conv1d_job job = {*output, memory, padded, out_columns, packed, bias, pairs, out_channels, kernel, dilation};
    run(&job, 1);
    return LK_OK;
}

void lk_spread(float *y, size_t ldy, size_t step, const float *x, size_t ldx, size_t channels, size_t columns) {
    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < columns; t++) y[c * ldy + t * step] = x[c * ldx + t];
}
