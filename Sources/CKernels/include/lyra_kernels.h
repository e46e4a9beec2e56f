/* Matrix and vector kernels, and the thread pool they run on.
 *
 * All matrices are row-major. `ld…` is the distance between rows, in elements. Pointers need the alignment of their
 * element type only; weights may lie at any byte. Functions that allocate return LK_OK or LK_NO_MEMORY, functions that
 * use OpenBLAS also LK_CLOSED_BLAS; unless they return LK_OK, their output is undefined. Callers check
 * all sizes; matrix dimensions fit an int.
 */
#ifndef LYRA_KERNELS_H
#define LYRA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    LK_OK = 0,
    LK_NO_MEMORY = 1,
    LK_CLOSED_BLAS = 2 /* the system refuses to open libopenblas.so.0: too many open files, no permission */
};

/* ------------------------------------------------------------------------------------------------ instruction sets */

/* Named instruction sets; each includes the sets above it, but those of AVX-512 need no AVX-VNNI, and amx has no BF16
 * without tiles. Without a limit, kernels use all that the processor has and computes fast with. */
typedef enum lk_isa {
    LK_ISA_GENERIC = 0,
#if defined(__aarch64__)
    LK_ISA_NEONDOT = 1,  /* products of bytes */
    LK_ISA_NEONI8MM = 2, /* products of unsigned with signed bytes */
    LK_ISA_NEONBF16 = 3, /* products of BF16 */
#else
    LK_ISA_AVX2 = 1,       /* with FMA and F16C */
    LK_ISA_AVXVNNI = 2,    /* products of bytes in vectors of AVX2 */
    LK_ISA_AVX512 = 3,     /* F, BW, DQ, VL */
    LK_ISA_AVX512VNNI = 4, /* products of bytes */
    LK_ISA_AVX512BF16 = 5, /* products of BF16 */
    LK_ISA_AMX = 6,        /* products of BF16 on tiles */
#endif
    LK_ISA_NO_LIMIT = 255
} lk_isa;

/* The largest named set that is in use: the one in the environment variable LYRA_ISA (generic, avx2, avxvnni,
 * avx512, avx512vnni, avx512bf16, amx; neondot, neoni8mm, neonbf16), as far as the processor has it; without the variable, what it computes fast with. Linux
 * gives tiles to a process that asks: the first use of a kernel asks, unless LYRA_ISA names a smaller set. */
lk_isa lk_current_isa(void);
/* The name of a set, as in LYRA_ISA; null past the last. */
const char *lk_isa_name(lk_isa isa);
/* For tests: limits the kernels to the set `limit`, or to none with LK_ISA_NO_LIMIT. Returns 0 and changes nothing if
 * the processor lacks that set. Not while kernels run. */
int lk_limit_isa(lk_isa limit);
/* For tests: uses functions in place of tiles, whatever the processor has, or no longer. Not while kernels run. */
void lk_use_amx_stand_in(int used);

/* ------------------------------------------------------------------------------------------------------ thread pool */

/* Sets the number of threads that share the work, including the calling thread: at most 256; below 1, the number of
 * processors that the process may use. The usable processors are read once, on first use: the CPU affinity of the
 * calling thread joined with that of the main thread. The CPU quota of the process's control groups, rounded up, limits
 * their number. The pool's threads run on any usable processor. */
void lk_set_threads(int threads);
int lk_threads(void);

/* Calls task(context, i) for every i below `count`, on the pool's threads and the calling thread. Returns when all
 * tasks are done, or when the caller is interrupted and no task runs any more. If the pool is busy, or the caller is a
 * task itself, the calling thread runs all tasks. */
void lk_parallel(size_t count, void (*task)(void *context, size_t index), void *context);

/* The lock of the process's buffer pool. A fork waits for the lock, so a child finds the lock free and the pool
 * consistent. */
void lk_lock_buffers(void);
void lk_unlock_buffers(void);

/* ----------------------------------------------------------------------------------------------------------- linear */

typedef enum lk_type {
    LK_F32 = 0,
    LK_F16 = 1,
    LK_BF16 = 2,
    LK_Q8_0 = 3, /* 32 elements: scale (f16), 32 signed bytes */
    LK_Q4_0 = 4, /* 32 elements: scale (f16), 16 bytes of two 4-bit values, each stored plus 8 */
    LK_Q4_K = 5, /* 256 elements: 8 sub-blocks, each with a scale and a minimum of 6 bits */
    LK_Q6_K = 6  /* 256 elements: 16 sub-blocks, each with a scale of 8 bits */
} lk_type;

/* dst = src in floats. `count` is a multiple of the elements of a quantization block. */
void lk_dequantize(float *dst, const void *src, lk_type type, size_t count);

/* The new y from a product p plus its bias: p, y + p, GELU p · ½(1 + erf(p / √2)), quick GELU p · σ(1.702 p). */
typedef enum lk_epilogue { LK_STORE = 0, LK_ACCUMULATE = 1, LK_GELU = 2, LK_QUICK_GELU = 3 } lk_epilogue;

/* y[m, n] = epilogue(x[m, k] · w[n, k]ᵀ + bias[n]), w not of a block type. `bias` may be null. More than 32 rows use
 * OpenBLAS or what takes its place. */
int lk_linear(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, lk_type type,
              size_t n, const float *bias, lk_epilogue epilogue);

#include "lyra_packed.h"

#include "lyra_attention.h"

/* ----------------------------------------------------------------------------------------------------- elementwise */

/* y = x / rms(x) * weight; x, y: [rows, columns]. */
void lk_rms_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, size_t rows, size_t columns,
                 float epsilon);
/* y = (x - mean) / sqrt(variance + epsilon) * weight + bias; x, y: [rows, columns]. */
void lk_layer_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, const float *bias,
                   size_t rows, size_t columns, float epsilon);
/* y = silu(gate) * up; all [rows, columns]. */
void lk_silu_mul(float *y, size_t ldy, const float *gate, size_t ld_gate, const float *up, size_t ld_up, size_t rows,
                 size_t columns);
/* RoPE: each head's halves (a, b) become (a cos - b sin, b cos + a sin). x, y: [rows, heads, dim], heads contiguous;
 * cos, sin: [rows, dim / 2]. y may be x. */
void lk_rope(float *y, size_t ldy, const float *x, size_t ldx, const float *cos, const float *sin, size_t rows,
             size_t heads, size_t dim);
/* In place: x if x > 0, else slope * x. A slope of 0 gives ReLU. */
void lk_leaky_relu(float *x, size_t count, float slope);
/* In place: GELU or quick GELU, as LK_GELU or LK_QUICK_GELU says. */
void lk_activate(float *x, size_t count, lk_epilogue activation);
/* In place. */
void lk_tanh(float *x, size_t count);
/* y += x. */
void lk_add(float *y, const float *x, size_t count);
/* y = 0. */
void lk_clear(float *y, size_t count);
/* y[rows, columns] = x. */
void lk_copy_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t columns);
/* In place: y[i] becomes 0 if the upper 32 bits of SplitMix64's output i from `seed` are below `limit`, else
 * factor · y[i]. */
void lk_dropout(float *y, size_t count, float factor, uint64_t seed, uint32_t limit);
/* y *= factor. */
void lk_scale(float *y, size_t count, float factor);
/* The index of the largest value, the first of equals; NaN counts as the smallest. */
size_t lk_argmax(const float *x, size_t count);

/* ------------------------------------------------------------------------------------------------------ convolution */

/* Floats of the packed weights. */
size_t lk_conv1d_packed_count(size_t in_channels, size_t out_channels, size_t kernel);
/* w: [out_channels, in_channels, kernel]. */
void lk_conv1d_pack(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel);

/* The outputs of a convolution, for its values v. Neither x nor `add` may overlap them. */
typedef struct lk_conv1d_output {
    const float *add;   /* v += add[co, t] first; may be null */
    size_t ld_add;
    float *y;           /* y[co, t] = v; may be null */
    size_t ldy;
    float *activated;   /* activated[co, t] = max(v, slope · v); may be null */
    size_t ld_activated;
    float slope;
} lk_conv1d_output;

/* v[co, t] = bias[co] + Σ_ci,j w[co, ci, j] · x[ci, t + j · dilation], 0 ≤ t < out_columns. x needs out_columns +
 * (kernel - 1) · dilation columns. Every value is summed in the same order wherever it stands in a row, so a signal
 * that is convolved in chunks equals the whole signal bit for bit. `packed` is w as lk_conv1d_pack wrote it; `bias` may
 * be null. Only rows shorter than a vector allocate. */
int lk_conv1d_into(const lk_conv1d_output *output, const float *x, size_t ldx, size_t out_columns, const float *packed,
                   const float *bias, size_t in_channels, size_t out_channels, size_t kernel, size_t dilation);

/* The same with x and w rounded to BF16, and sums in floats: up to twice as fast if the processor multiplies BF16.
 * Allocates a copy of x in BF16. `packed` is w as lk_conv1d_pack_pairs wrote it: lk_conv1d_pairs_count floats. */
int lk_conv1d_pairs_into(const lk_conv1d_output *output, const float *x, size_t ldx, size_t out_columns,
                         const float *packed, const float *bias, size_t in_channels, size_t out_channels, size_t kernel,
                         size_t dilation);
size_t lk_conv1d_pairs_count(size_t in_channels, size_t out_channels, size_t kernel);
void lk_conv1d_pack_pairs(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel);

/* y[c, t · step] = x[c, t]: one phase of an upsampled signal. */
void lk_spread(float *y, size_t ldy, size_t step, const float *x, size_t ldx, size_t channels, size_t columns);

#include "lyra_gradients.h"

/* ----------------------------------------------------------------------------------------------------- measurements */

/* Reads `bytes` bytes with every thread of the pool, to measure memory bandwidth. Returns their sum, so that the
 * compiler keeps the loop. */
uint32_t lk_read_all(const void *data, size_t bytes);

/* Multiplies registers on every thread of the pool for a few tenths of a second, to measure the peak of the kernels in
 * use with floats, BF16 or bytes. Returns the number of multiplications and additions. */
typedef enum lk_peak { LK_PEAK_F32, LK_PEAK_BF16, LK_PEAK_INT8 } lk_peak;
double lk_peak_operations(lk_peak kind);

/* What multiplies floats: "OpenBLAS", or the instruction set of lyra's own kernels where OpenBLAS has none for the
 * processor or is not installed; "none" if the system refuses to open it. */
const char *lk_sgemm_kernels(void);
/* The processor that OpenBLAS has chosen kernels for; "" if it is not known. */
const char *lk_sgemm_blas_core(void);
/* Why OpenBLAS was not loaded; "" if it was, or has not been needed yet. */
const char *lk_sgemm_blas_absence(void);

#endif
