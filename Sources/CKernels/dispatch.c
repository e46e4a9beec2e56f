/* Chooses the instruction set, once. */
#include "attention/flash.h"
#include "quantized/packed.h"
#include "table.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>

typedef struct isa_row {
    const char *name;
    const lk_table *table;
    const lk_packed_table *packed;
    const lk_flash_table *flash;
} isa_row;

static const isa_row rows[] = {
    [LK_ISA_GENERIC] = {"generic", &lk_table_generic, &lk_packed_generic, NULL},
#if defined(__x86_64__)
    [LK_ISA_AVX2] = {"avx2", &lk_table_avx2, &lk_packed_avx2, NULL},
    [LK_ISA_AVX512] = {"avx512", &lk_table_avx512, &lk_packed_avx512, NULL},
    [LK_ISA_AVX512VNNI] = {"avx512vnni", &lk_table_avx512, &lk_packed_avx512vnni, NULL},
    [LK_ISA_AVX512BF16] = {"avx512bf16", &lk_table_avx512, &lk_packed_avx512bf16, &lk_flash_avx512bf16},
#endif
};

enum { WIDEST = sizeof rows / sizeof rows[0] - 1 };

static _Atomic(const isa_row *) chosen;

/* NULL beyond the last. */
const char *lk_isa_name(lk_isa isa) { return (unsigned)isa <= WIDEST ? rows[isa].name : NULL; }

static int is_here(lk_isa isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int floats = __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    int wide = floats && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (isa == LK_ISA_AVX512BF16)
        return wide && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
    if (isa == LK_ISA_AVX512VNNI) return wide && __builtin_cpu_supports("avx512vnni");
    if (isa == LK_ISA_AVX512) return wide;
    if (isa == LK_ISA_AVX2) return floats && __builtin_cpu_supports("avx2");
#endif
    return isa == LK_ISA_GENERIC;
}

static const isa_row *choose(void) {
    int widest = WIDEST;
    const char *limit = getenv("LYRA_ISA");
    for (int i = 0; limit && i <= WIDEST; i++)
        if (!strcasecmp(limit, rows[i].name)) widest = i;
    for (int i = widest; i > LK_ISA_GENERIC; i--)
        if (is_here((lk_isa)i)) return &rows[i];
    return &rows[LK_ISA_GENERIC];
}

static const isa_row *in_use(void) {
    const isa_row *row = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!row) {
        row = choose();
        atomic_store_explicit(&chosen, row, memory_order_release);
    }
    return row;
}

const lk_table *lk_kernels(void) { return in_use()->table; }
const lk_packed_table *lk_packed_kernels(void) { return in_use()->packed; }
const lk_flash_table *lk_flash_kernels(void) { return in_use()->flash; }
lk_isa lk_current_isa(void) { return (lk_isa)(in_use() - rows); }

int lk_force_isa(lk_isa isa) {
    if ((int)isa > WIDEST || !is_here(isa)) return 0;
    atomic_store_explicit(&chosen, &rows[isa], memory_order_release);
    return 1;
}
