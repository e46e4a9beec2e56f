/* Chooses the instruction set, once. */
#include "table.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(const lk_table *) chosen;

static const char *const names[] = {"generic", "avx2", "avx512"};

const char *lk_isa_name(lk_isa isa) { return names[isa]; }

static const lk_table *table_of(lk_isa isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == LK_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
                   ? &lk_table_avx512
                   : NULL;
    if (isa == LK_ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
                   ? &lk_table_avx2
                   : NULL;
#endif
    return isa == LK_ISA_GENERIC ? &lk_table_generic : NULL;
}

static const lk_table *choose(void) {
    int widest = LK_ISA_AVX512;
    const char *limit = getenv("LYRA_ISA");
    for (int i = 0; limit && i <= LK_ISA_AVX512; i++)
        if (!strcmp(limit, names[i])) widest = i;
    for (int i = widest; i > LK_ISA_GENERIC; i--)
        if (table_of((lk_isa)i)) return table_of((lk_isa)i);
    return &lk_table_generic;
}

const lk_table *lk_kernels(void) {
    const lk_table *table = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!table) {
        table = choose();
        atomic_store_explicit(&chosen, table, memory_order_release);
    }
    return table;
}

lk_isa lk_current_isa(void) {
    const lk_table *table = lk_kernels();
    for (int i = LK_ISA_AVX512; i > LK_ISA_GENERIC; i--)
        if (table_of((lk_isa)i) == table) return (lk_isa)i;
    return LK_ISA_GENERIC;
}

int lk_force_isa(lk_isa isa) {
    const lk_table *table = table_of(isa);
    if (table) atomic_store_explicit(&chosen, table, memory_order_release);
    return table != NULL;
}
