/* Convolutions on tiles. */
#include "amx.h"
#include "../table.h"

enum { CHANNELS = 2 * LK_AMX_ROWS, COLUMNS = 32 };

/* Adds the bias to `count` columns from t on of a channel, and stores them as the job says. */
static void finish_channel(const lk_conv1d_job *job, size_t channel, size_t t, size_t count, float *v) {
    const lk_conv1d_output *o = &job->output;
    const float bias = job->bias ? job->bias[channel] : 0;
    const float *add = o->add ? o->add + channel * o->ld_add + t : NULL;
    float *y = o->y ? o->y + channel * o->ldy + t : NULL;
    float *activated = o->activated ? o->activated + channel * o->ld_activated + t : NULL;
    for (size_t c = 0; c < count; c++) v[c] += bias;
    for (size_t c = 0; add && c < count; c++) v[c] += add[c];
    for (size_t c = 0; y && c < count; c++) y[c] = v[c];
    for (size_t c = 0; activated && c < count; c++) activated[c] = v[c] > v[c] * o->slope ? v[c] : v[c] * o->slope;
}

void lk_amx_conv1d(const lk_conv1d_job *job, size_t block, size_t first, size_t last) {
    const lk_amx_kernels *kernels = lk_amx() ? lk_amx() : &lk_amx_stand_in;
    const size_t channel = block * CHANNELS, channels = smaller(CHANNELS, job->out_channels - channel);
    const size_t steps = job->in_channels / (LK_AMX_DEPTH / 2);
    const char *weights = (const char *)job->packed + channel / LK_AMX_ROWS * job->kernel * steps * LK_AMX_TILE;
    const uint32_t *pairs = (const uint32_t *)(const void *)job->x;
    lk_amx_host host;
    kernels->begin(&host);
    for (size_t t = first; t < last && !lk_interrupted(); t += COLUMNS) {
        float sums[CHANNELS * COLUMNS] __attribute__((aligned(64)));
        kernels->convolve(sums, weights, channels > LK_AMX_ROWS ? 2 : 1, pairs + t, job->ldx, job->dilation,
                          job->kernel, steps);
        for (size_t c = 0; c < channels; c++)
            finish_channel(job, channel + c, t, smaller(COLUMNS, last - t), sums + c * COLUMNS);
    }
    kernels->end(&host);
}
