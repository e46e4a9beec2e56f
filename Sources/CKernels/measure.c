/* Measures the limits of the machine, for comparison with benchmarks. */
#include "amx/amx.h"
#include "quantized/packed.h"
#include "table.h"
#include <stdatomic.h>

/* Many chunks, so that a slow thread can take fewer of them. */
enum { READ_CHUNKS = 64, PEAK_CHUNKS = 64, PEAK_ROUNDS = 400000 };

typedef struct read_job {
    const char *data;
    size_t bytes, chunk;
    atomic_uint sum;
} read_job;

static void read_task(void *context, size_t i) {
    read_job *j = context;
    size_t first = i * j->chunk < j->bytes ? i * j->chunk : j->bytes, left = j->bytes - first;
    atomic_fetch_add(&j->sum, lk_kernels()->read_bytes(j->data + first, left < j->chunk ? left : j->chunk));
}

uint32_t lk_read_all(const void *data, size_t bytes) {
    read_job j = {.data = data, .bytes = bytes, .chunk = (bytes / READ_CHUNKS + 4096) / 4096 * 4096};
    lk_parallel(READ_CHUNKS, read_task, &j);
    return j.sum;
}

typedef struct peak_job {
    lk_peak kind;
    double operations[PEAK_CHUNKS];
} peak_job;

static double bf16_peak(void) {
    if (!lk_amx()) return lk_bf16_kernels_in_use()->peak(PEAK_ROUNDS);
    lk_amx_host host;
    lk_amx()->begin(&host);
    const double operations = lk_amx()->peak(PEAK_ROUNDS);
    lk_amx()->end(&host);
    return operations;
}

static void peak_task(void *context, size_t i) {
    peak_job *j = context;
    switch (j->kind) {
    case LK_PEAK_F32: j->operations[i] = lk_kernels()->peak(PEAK_ROUNDS); break;
    case LK_PEAK_BF16: j->operations[i] = bf16_peak(); break;
    case LK_PEAK_INT8: j->operations[i] = lk_integer_kernels_for(LK_Q8_0)->peak(PEAK_ROUNDS); break;
    }
}

double lk_peak_operations(lk_peak kind) {
    peak_job j = {.kind = kind};
    double all = 0;
    lk_parallel(PEAK_CHUNKS, peak_task, &j);
    for (int i = 0; i < PEAK_CHUNKS; i++) all += j.operations[i];
    return all;
}
