/* Chooses the kernels. The set of capabilities is what the processor has and computes fast with, or what it has of the
 * set that LYRA_ISA names. Each family of kernels is a list of candidates; the first that the set allows is used.
 *
 * To add kernels for an instruction set: write their table in a new file of the family's folder, add a new capability
 * here if none fits, and put the table into the family's list before the slower tables. */
#include "amx/amx.h"
#include "attention/flash.h"
#include "quantized/packed.h"
#include "table.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* ----------------------------------------------------------------------------------------------------- capabilities */

enum {
    HAS_NEON_DOT = 1 << 0,  /* Arm: products of signed bytes */
    HAS_NEON_I8MM = 1 << 1, /* of unsigned with signed bytes */
    HAS_NEON_BF16 = 1 << 2, /* of BF16 */
    HAS_AVX2 = 1 << 0,        /* with FMA and F16C */
    HAS_AVX_VNNI = 1 << 5,    /* products of bytes in vectors of AVX2 */
    HAS_AVX512 = 1 << 1,      /* F, BW, DQ, VL, with FMA and F16C */
    HAS_AVX512_VNNI = 1 << 2, /* products of bytes */
    HAS_AVX512_BF16 = 1 << 3, /* products of BF16 */
    HAS_AMX = 1 << 4          /* products of BF16 on tiles, which the system lets this process use */
};

static int meets(int capabilities, int needs) { return (capabilities & needs) == needs; }

/* What the processor has and the operating system saves. Linux gives tiles only to a process that asks: this asks if
 * they are among the capabilities `wanted`. */
static int detect(int wanted) {
    int found = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return 0;
    if (__builtin_cpu_supports("avx2")) found |= HAS_AVX2;
    if (__builtin_cpu_supports("avxvnni")) found |= HAS_AVX_VNNI;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found |= HAS_AVX512;
    if (__builtin_cpu_supports("avx512vnni")) found |= HAS_AVX512_VNNI;
    if (__builtin_cpu_supports("avx512bf16")) found |= HAS_AVX512_BF16;
    const int beside = HAS_AVX512 | HAS_AVX512_BF16; /* which the functions around the tiles use */
    if (meets(found, beside) && wanted & HAS_AMX && lk_amx_permitted()) found |= HAS_AMX;
#elif defined(__aarch64__) && defined(__linux__)
    (void)wanted;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) found |= HAS_NEON_DOT;
    if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) found |= HAS_NEON_I8MM;
    if (getauxval(AT_HWCAP2) & HWCAP2_BF16) found |= HAS_NEON_BF16;
#else
    (void)wanted;
#endif
    return found;
}

/* What the processor has, but computes more slowly than by other means: Emerald Rapids multiplies pairs of BF16 at half
 * the rate of floats (164 of 342 GFLOP/s on two threads), Zen 4 at twice. Assumed for Intel's other processors. Used
 * only if LYRA_ISA names it. */
static int detect_slow(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_is("intel")) return HAS_AVX512_BF16;
#endif
    return 0;
}

/* The named sets. LYRA_ISA can name one of them. */
typedef struct named_set {
    const char *name;
    int capabilities;
} named_set;

static const named_set named_sets[] = {
    [LK_ISA_GENERIC] = {"generic", 0},
#if defined(__x86_64__)
    [LK_ISA_AVX2] = {"avx2", HAS_AVX2},
    [LK_ISA_AVXVNNI] = {"avxvnni", HAS_AVX2 | HAS_AVX_VNNI},
    [LK_ISA_AVX512] = {"avx512", HAS_AVX2 | HAS_AVX512},
    [LK_ISA_AVX512VNNI] = {"avx512vnni", HAS_AVX2 | HAS_AVX512 | HAS_AVX512_VNNI},
    [LK_ISA_AVX512BF16] = {"avx512bf16", HAS_AVX2 | HAS_AVX512 | HAS_AVX512_VNNI | HAS_AVX512_BF16},
    /* Without pairs of BF16, which these processors compute more slowly than floats. */
    [LK_ISA_AMX] = {"amx", HAS_AVX2 | HAS_AVX512 | HAS_AVX512_VNNI | HAS_AMX},
#elif defined(__aarch64__)
    [LK_ISA_NEONDOT] = {"neondot", HAS_NEON_DOT},
    [LK_ISA_NEONI8MM] = {"neoni8mm", HAS_NEON_DOT | HAS_NEON_I8MM},
    [LK_ISA_NEONBF16] = {"neonbf16", HAS_NEON_DOT | HAS_NEON_I8MM | HAS_NEON_BF16},
#endif
};

enum { NAMED = sizeof named_sets / sizeof named_sets[0] };

const char *lk_isa_name(lk_isa isa) { return (unsigned)isa < NAMED ? named_sets[isa].name : NULL; }

/* ------------------------------------------------------------------------------------------------------- candidates */

typedef struct candidate {
    int needs;
    const void *kernels;
} candidate;

static const candidate float_candidates[] = {
#if defined(__x86_64__)
    {HAS_AVX512, &lk_float_avx512},
    {HAS_AVX2, &lk_float_avx2},
#endif
    {0, &lk_float_generic},
};

/* Candidates for weights of some block types: a set of 1 << lk_type. */
typedef struct integer_candidate {
    int needs;
    unsigned types;
    const lk_integer_kernels *kernels;
} integer_candidate;

enum { ALL_BLOCK_TYPES = 1 << LK_Q8_0 | 1 << LK_Q4_0 | 1 << LK_Q4_K | 1 << LK_Q6_K };

static const integer_candidate integer_candidates[] = {
#if defined(__x86_64__)
    {HAS_AVX512 | HAS_AVX512_VNNI, ALL_BLOCK_TYPES, &lk_integer_avx512vnni},
    {HAS_AVX512, ALL_BLOCK_TYPES, &lk_integer_avx512},
    {HAS_AVX2 | HAS_AVX_VNNI, ALL_BLOCK_TYPES, &lk_integer_avxvnni},
    {HAS_AVX2, ALL_BLOCK_TYPES, &lk_integer_avx2},
#elif defined(__aarch64__)
    {HAS_NEON_I8MM, ALL_BLOCK_TYPES, &lk_integer_neoni8mm},
    {HAS_NEON_DOT, ALL_BLOCK_TYPES, &lk_integer_neondot},
#endif
    {0, ALL_BLOCK_TYPES, &lk_integer_generic},
};

static const candidate bf16_candidates[] = {
#if defined(__x86_64__)
    {HAS_AVX512 | HAS_AVX512_BF16, &lk_bf16_avx512bf16},
    {HAS_AVX512, &lk_bf16_avx512},
    {HAS_AVX2, &lk_bf16_avx2},
#elif defined(__aarch64__)
    {HAS_NEON_BF16, &lk_bf16_neonbf16},
#endif
    {0, &lk_bf16_generic},
};

/* If no candidate is usable, the others multiply. */
static const candidate amx_candidates[] = {
#if defined(__x86_64__)
    {HAS_AMX, &lk_amx_tiles},
#endif
    {0, NULL},
};

/* If no candidate is usable, attention is computed in floats. */
static const candidate flash_candidates[] = {
#if defined(__x86_64__)
    {HAS_AMX, &lk_flash_amx},
    {HAS_AVX512 | HAS_AVX512_BF16, &lk_flash_avx512bf16},
#endif
    {0, NULL},
};

/* ----------------------------------------------------------------------------------------------------------- choice */

enum { TYPES = LK_Q6_K + 1 };

typedef struct choice {
    int capabilities;
    const lk_float_kernels *floats;
    const lk_integer_kernels *integers[TYPES];
    const lk_bf16_kernels *bf16;
    const lk_flash_table *flash;
    const lk_amx_kernels *amx;
} choice;

static choice choices[NAMED + 1]; /* one for each named limit; the last without a limit */
static pthread_once_t choices_once = PTHREAD_ONCE_INIT;
static _Atomic(const choice *) chosen;

/* The last candidate of a list needs nothing. */
static const void *first_usable(const candidate *list, int capabilities) {
    while (!meets(capabilities, list->needs)) list++;
    return list->kernels;
}

static const lk_integer_kernels *first_usable_for(lk_type type, int capabilities) {
    const integer_candidate *c = integer_candidates;
    while (!meets(capabilities, c->needs) || !(c->types >> type & 1)) c++;
    return c->kernels;
}

static choice choose(int capabilities) {
    choice c = {.capabilities = capabilities};
    c.floats = first_usable(float_candidates, capabilities);
    for (int type = LK_Q8_0; type < TYPES; type++) c.integers[type] = first_usable_for((lk_type)type, capabilities);
    c.bf16 = first_usable(bf16_candidates, capabilities);
    c.flash = first_usable(flash_candidates, capabilities);
    c.amx = first_usable(amx_candidates, capabilities);
    return c;
}

static void choose_all(void) {
    const char *limit = getenv("LYRA_ISA");
    int named = NAMED;
    for (int i = 0; i < NAMED; i++)
        if (limit && !strcasecmp(limit, named_sets[i].name)) named = i;
    const int here = detect(named == NAMED ? ~0 : named_sets[named].capabilities);
    for (int i = 0; i < NAMED; i++) choices[i] = choose(here & named_sets[i].capabilities);
    choices[NAMED] = choose(here & ~detect_slow());
    atomic_store_explicit(&chosen, &choices[named], memory_order_release);
}

static const choice *in_use(void) {
    const choice *c = atomic_load_explicit(&chosen, memory_order_acquire);
    if (c) return c;
    pthread_once(&choices_once, choose_all);
    return atomic_load_explicit(&chosen, memory_order_acquire);
}

const lk_float_kernels *lk_kernels(void) { return in_use()->floats; }
const lk_integer_kernels *lk_integer_kernels_for(lk_type type) { return in_use()->integers[type]; }
const lk_bf16_kernels *lk_bf16_kernels_in_use(void) { return in_use()->bf16; }

static atomic_int stands_in; /* whether functions take the place of tiles */
static int has_stand_in(void) { return atomic_load_explicit(&stands_in, memory_order_relaxed); }

const lk_flash_table *lk_flash_kernels(void) {
#if defined(__x86_64__)
    if (has_stand_in() && __builtin_cpu_supports("avx512bf16")) return &lk_flash_amx_stand_in;
#endif
    return in_use()->flash;
}

const lk_amx_kernels *lk_amx(void) {
    return has_stand_in() ? &lk_amx_stand_in : in_use()->amx;
}

void lk_use_amx_stand_in(int used) { atomic_store(&stands_in, used); }

/* Emerald Rapids, two threads, share of a plain read loop's rate: BF16 64 % without prefetching and 95 % with it, Q8_0
 * 89 and 104, Q4_0 66 and 98, Q4_K 63 and 97, Q6_K 63 and 87. Distances of 3 to 8 KB are alike. Assumed for Intel's
 * other processors. */
size_t lk_stream_ahead(void) {
#if defined(__x86_64__)
    enum { INTEL = 6 << 10 };
    __builtin_cpu_init();
    return __builtin_cpu_is("intel") ? INTEL : 0;
#else
    return 0;
#endif
}

lk_isa lk_current_isa(void) {
    const int capabilities = in_use()->capabilities;
    int widest = LK_ISA_GENERIC;
    for (int i = 0; i < NAMED; i++)
        if (meets(capabilities, named_sets[i].capabilities)) widest = i;
    return (lk_isa)widest;
}

int lk_limit_isa(lk_isa limit) {
    in_use();
    if ((unsigned)limit >= NAMED && limit != LK_ISA_NO_LIMIT) return 0;
    const choice *c = &choices[limit == LK_ISA_NO_LIMIT ? NAMED : limit];
    if (limit != LK_ISA_NO_LIMIT && !meets(c->capabilities, named_sets[limit].capabilities)) return 0;
    atomic_store_explicit(&chosen, c, memory_order_release);
    return 1;
}
