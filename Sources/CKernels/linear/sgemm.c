/* Chooses between OpenBLAS and lyra's own kernels for products in floats: the name of OpenBLAS's choice decides.
 * Without OpenBLAS, lyra's own multiply.
 *
 * OpenBLAS is fast only on processors that its build knows. On later ones it takes kernels that every processor can
 * run: 0.3.21 (Debian 12) takes those of SSE3 on Emerald Rapids, at a seventh of what the processor can do. */
#include "sgemm.h"
#include "blas.h"
#include "../table.h"
#include <strings.h>

/* OpenBLAS's names of processors for which its kernels use AVX2, and those for which they use AVX-512. Zen 4 gets the
 * kernels of Cooperlake. */
#if defined(__x86_64__)
static const char *const with_avx2[] = {"Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids", NULL};
static const char *const with_avx512[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};

static int contains(const char *const *names, const char *name) {
    while (*names && strcasecmp(*names, name) != 0) names++; /* builds for one processor spell it in capitals */
    return *names != NULL;
}
#endif

/* Whether OpenBLAS's kernels are as wide as those in use. Without AVX2, OpenBLAS is faster. */
static int has_blas_kernels(void) {
    const char *core = lk_blas_core();
    if (!core) return 0;
#if defined(__x86_64__)
    const lk_isa isa = lk_current_isa();
    if (isa == LK_ISA_GENERIC) return 1;
    return contains(isa < LK_ISA_AVX512 ? with_avx2 : with_avx512, core);
#else
    return 1;
#endif
}

int lk_sgemm_prepare(void) { return lk_blas_prepare(); }

const char *lk_sgemm_kernels(void) {
    if (lk_sgemm_prepare() != LK_OK) return "none";
    if (has_blas_kernels()) return "OpenBLAS";
#if defined(__x86_64__)
    if (lk_current_isa() > LK_ISA_AVX512) return lk_isa_name(LK_ISA_AVX512);
    if (lk_current_isa() > LK_ISA_AVX2 && lk_current_isa() < LK_ISA_AVX512) return lk_isa_name(LK_ISA_AVX2);
#endif
    return lk_isa_name(lk_current_isa());
}

const char *lk_sgemm_blas_core(void) {
    const char *core = lk_blas_core();
    return core ? core : "";
}

const char *lk_sgemm_blas_absence(void) { return lk_blas_absence(); }

int lk_sgemm_own(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate) {
    const lk_float_kernels *kernels = lk_kernels();
    float *memory = lk_scratch(2, kernels->product_floats);
    if (!memory) return LK_NO_MEMORY;
    kernels->product(y, ldy, x, w, m, n, k, accumulate, memory);
    return LK_OK;
}

int lk_sgemm_factors(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate) {
    if (has_blas_kernels()) return lk_blas_sgemm(y, ldy, x, w, m, n, k, accumulate);
    return lk_sgemm_own(y, ldy, x, w, m, n, k, accumulate);
}

int lk_sgemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, int transposed, size_t m,
             size_t n, size_t k, int accumulate) {
    return lk_sgemm_factors(y, ldy, (lk_factor){x, ldx, 0}, (lk_factor){w, ldw, transposed}, m, n, k, accumulate);
}

lk_sgemm_split lk_split_product(size_t m, size_t n) {
    const size_t size = m > n ? m : n, each = size < 512 ? 128 : 256;
    return (lk_sgemm_split){m <= n, each, divided_up(size, each)};
}
