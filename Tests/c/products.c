/* Products, attention and convolutions against sums in double, with every instruction set of the processor, and with
 * the functions that stand in for tiles. The functions around the tiles are compiled for vectors of 16, too, and must
 * equal the portable ones bit for bit. Tests/c/run.sh also runs this program on an emulated Arm. */
#include "../../Sources/CKernels/amx/amx.h"
#include "../../Sources/CKernels/attention/flash.h"
#include "../../Sources/CKernels/table.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LK_IN_ORDER(v) (void)0
#define LK_PORTABLE
#define LK_WIDTH 16
#define LK_AMX_STAND_IN
#define LK_AMX_KERNELS lk_amx_wide
#include "../../Sources/CKernels/amx/amx_isa.h"

static int failures;

#define FAIL(...) (printf("not ok - " __VA_ARGS__), printf("\n"), failures++)

static uint32_t state = 1;
static float next(void) {
    state = state * 1664525 + 1013904223;
    return (float)(int32_t)state / 2147483648.0f;
}

static float *floats(size_t count) {
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = next();
    return x;
}

/* ---------------------------------------------------------------------------------------------------- whole products */

typedef struct shape {
    size_t m, k, n, first;
    int bias;
    lk_epilogue epilogue;
} shape;

static double after(double sum, double y, lk_epilogue epilogue) {
    switch (epilogue) {
    case LK_ACCUMULATE: return y + sum;
    case LK_GELU: return sum * 0.5 * (1 + erf(sum / sqrt(2)));
    case LK_QUICK_GELU: return sum / (1 + exp(-1.702 * sum));
    default: return sum;
    }
}

/* The largest difference from sums in double, in units of the sum of magnitudes. Sets *wide if anything beside the
 * result was written. */
static double difference(shape s, const float *y, size_t ldy, const float *before, const float *x, size_t ldx,
                         const float *w, const float *bias, int *wide) {
    double worst = 0;
    for (size_t r = 0; r < s.m; r++) {
        for (size_t c = 0; c < s.n; c++) {
            double sum = bias ? (double)bias[c] : 0, size = 1;
            for (size_t i = 0; i < s.k; i++) {
                const double term = (double)x[r * ldx + i] * (double)w[(s.first + c) * s.k + i];
                sum += term, size += fabs(term);
            }
            const double want = after(sum, before[r * ldy + c], s.epilogue);
            const double apart = fabs(want - (double)y[r * ldy + c]) / size;
            if (!(apart <= worst)) worst = apart;
        }
        for (size_t c = s.n; c < ldy; c++) *wide |= y[r * ldy + c] != before[r * ldy + c];
    }
    return worst;
}

static void check(const char *what, lk_type type, shape s, double worst, double limit, int wide) {
    const char *names[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"};
    if (worst <= limit && !wide) printf("ok - %s, %s: %zu x %zu x %zu\n", what, names[type], s.m, s.k, s.n);
    else
        FAIL("%s, %s: %zu x %zu x %zu from %zu: differs by %.2g%s", what, names[type], s.m, s.k, s.n, s.first, worst,
             wide ? ", writes beside" : "");
}

/* Weights of a type and what they are in floats. */
typedef struct weights {
    char *stored;
    float *floats;
} weights;

static weights weights_of(lk_type type, size_t n, size_t k) {
    weights w = {malloc(n * k * 4 + 64), floats(n * k)};
    lk_quantize(w.stored, type, w.floats, n * k);
    lk_dequantize(w.floats, w.stored, type, n * k);
    return w;
}

static void product(lk_type type, shape s, int packed) {
    const size_t ldx = s.k + 3, ldy = s.n + 5, rows = s.first + s.n + 7;
    weights w = weights_of(type, rows, s.k);
    float *x = floats(s.m * ldx), *y = floats(s.m * ldy), *bias = floats(s.n), *before = malloc(s.m * ldy * 4 + 4);
    memcpy(before, y, s.m * ldy * 4);
    const float *b = s.bias ? bias : NULL;
    int status, wide = 0;
    char *panels = aligned_alloc(64, (lk_packed_bytes(type, rows, s.k) + 63) / 64 * 64);
    if (packed) {
        lk_pack(panels, w.stored, type, rows, s.k);
        const lk_packed_product p = {y, ldy, {panels, type, s.first, s.n}, b, s.epilogue};
        status = lk_packed_linear(&p, 1, x, ldx, s.m, s.k);
    } else
        status = lk_linear(y, ldy, x, ldx, s.m, s.k, w.stored + s.first * s.k * 2, type, s.n, b, s.epilogue);
    if (status != LK_OK) FAIL("status %d", status);
    const double worst = difference(s, y, ldy, before, x, ldx, w.floats, b, &wide);
    /* x rounded to BF16: 2^-9 of each term at most, of which most cancel. x rounded to bytes: 1/254 of the largest of
     * 32. */
    const double limit = type != LK_BF16 ? 4e-3 : s.k < 64 ? 2e-3 : 1e-3;
    check(packed ? "packed" : "exact", type, s, worst, packed ? limit : 1e-6, wide);
    free(w.stored), free(w.floats), free(x), free(y), free(bias), free(before), free(panels);
}

static void products(void) {
    static const shape shapes[] = {
        {33, 256, 64, 0, 1, LK_STORE},       {16, 512, 32, 0, 0, LK_ACCUMULATE}, {70, 256, 33, 5, 1, LK_GELU},
        {40, 1280, 300, 31, 0, LK_QUICK_GELU}, {64, 2304, 40, 64, 1, LK_ACCUMULATE}, {780, 256, 65, 1, 1, LK_STORE},
        {17, 256, 600, 0, 0, LK_STORE}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int type = LK_BF16; type <= LK_Q6_K; type++) product((lk_type)type, shapes[i], 1);
        if (shapes[i].m > 32 && lk_amx()) product(LK_BF16, shapes[i], 0);
    }
    /* Rows and columns that fill no tile; depths that fill no step. */
    for (size_t k = 1; k < 70; k += 11) product(LK_BF16, (shape){18, k, 37, 3, 1, LK_STORE}, 1);
    for (size_t k = 2; k < 70 && lk_amx(); k += 12) product(LK_BF16, (shape){35, k, 37, 3, 1, LK_STORE}, 0);
}

/* Several products share x; their weights have different types and sizes. */
static void together(void) {
    enum { M = 20, K = 256, COUNT = 11 };
    float *x = floats(M * K);
    lk_packed_product all[COUNT];
    weights w[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const lk_type type = i < 9 ? LK_BF16 : LK_Q4_K;
        const size_t n = (size_t)(8 + 13 * i);
        w[i] = weights_of(type, n, K);
        char *panels = aligned_alloc(64, (lk_packed_bytes(type, n, K) + 63) / 64 * 64);
        lk_pack(panels, w[i].stored, type, n, K);
        all[i] = (lk_packed_product){floats(M * n), n, {panels, type, 0, n}, NULL, LK_STORE};
    }
    if (lk_packed_linear(all, COUNT, x, K, M, K) != LK_OK) FAIL("status");
    for (int i = 0; i < COUNT; i++) {
        const shape s = {M, K, all[i].weights.n, 0, 0, LK_STORE};
        int wide = 0;
        const double worst = difference(s, all[i].y, s.n, all[i].y, x, K, w[i].floats, NULL, &wide);
        check("together", all[i].weights.type, s, worst, all[i].weights.type == LK_BF16 ? 1e-3 : 4e-3, wide);
    }
}

/* A row of y is the same whatever rows are beside it. */
static void alone_or_not(lk_type type) {
    enum { M = 50, K = 2304, N = 96 };
    weights w = weights_of(type, N, K);
    char *panels = aligned_alloc(64, (lk_packed_bytes(type, N, K) + 63) / 64 * 64);
    lk_pack(panels, w.stored, type, N, K);
    float *x = floats(M * K), *y = floats(M * N), *some = floats(M * N);
    lk_packed_product p = {y, N, {panels, type, 0, N}, NULL, LK_STORE};
    lk_packed_linear(&p, 1, x, K, M, K);
    p.y = some;
    lk_packed_linear(&p, 1, x + 9 * K, K, 24, K);
    if (memcmp(some, y + 9 * N, 24 * N * sizeof(float)) == 0) printf("ok - a row does not depend on others\n");
    else FAIL("a row depends on others, type %d", type);
}

/* A row among others that it does not belong with gives what it gives alone, up to the order of sums. */
static void apart(lk_type type) {
    enum { M = 50, K = 2304, N = 96 };
    weights w = weights_of(type, N, K);
    char *panels = aligned_alloc(64, (lk_packed_bytes(type, N, K) + 63) / 64 * 64);
    lk_pack(panels, w.stored, type, N, K);
    float *x = floats(M * K), alone[N], worst = 0;
    for (size_t m = 2; m <= M; m += m < 10 ? 1 : 20) {
        float *y = floats(M * N);
        lk_packed_product p = {y, N, {panels, type, 0, N}, NULL, LK_STORE};
        lk_packed_linear_apart(&p, 1, x, K, m, K);
        for (size_t r = 0; r < m; r += m - 1) {
            p.y = alone;
            lk_packed_linear(&p, 1, x + r * K, K, 1, K);
            for (size_t c = 0; c < N; c++) worst = fmaxf(worst, fabsf(alone[c] - y[r * N + c]));
        }
        free(y);
    }
    /* Sums of 2304 terms up to 1. With pairs of BF16, a few rows keep 16 bits: also alone. */
    if (worst < 2e-4f) printf("ok - rows apart are as alone, type %d\n", type);
    else FAIL("rows apart differ from each alone by %g, type %d", (double)worst, type);
}

/* -------------------------------------------------------------------------------------------------------- attention */

typedef struct heads {
    size_t queries, keys, group, dim, page_rows;
    int causal;
} heads;

/* Two heads of keys and values; the pages of each have `page_rows` rows. */
static void attention(heads h) {
    enum { KV_HEADS = 2 };
    const size_t pages = divided_up(h.keys, h.page_rows), count = pages * h.page_rows * KV_HEADS * h.dim;
    const size_t all = KV_HEADS * h.group, width = all * h.dim, row = KV_HEADS * h.dim;
    float *q = floats(h.queries * width), *k = floats(count), *v = floats(count), *y = floats(h.queries * width);
    lk_kv_page *pages_k = calloc(pages, sizeof *pages_k), *pages_v = calloc(pages, sizeof *pages_v);
    for (size_t i = 0; i < pages; i++) {
        pages_k[i] = (lk_kv_page){k + i * h.page_rows * row, NULL, LK_KV_F32};
        pages_v[i] = (lk_kv_page){v + i * h.page_rows * row, NULL, LK_KV_F32};
    }
    for (size_t i = h.keys * row; i < count; i++) k[i] = v[i] = NAN; /* behind the last key */
    const lk_queries queries = {q, h.queries, all, h.dim, width, h.dim};
    const lk_keys_values kv = {pages_k, pages_v, h.keys, KV_HEADS, h.page_rows, row, h.dim};
    const lk_attention_options options = {2, h.causal, 1};
    const lk_attention_output output = {y, width, h.dim, NULL};
    if (lk_attention(&output, &queries, &kv, &options) != LK_OK) FAIL("status");
    double worst = 0;
    for (size_t r = 0; r < h.queries; r++)
        for (size_t head = 0; head < all; head++) {
            const size_t seen = h.causal ? h.keys - h.queries + r + 1 : h.keys, of = head / h.group * h.dim;
            double total = 0, sums[128] = {0};
            for (size_t i = 0; i < seen; i++) {
                double score = 0;
                for (size_t d = 0; d < h.dim; d++)
                    score += (double)q[r * width + head * h.dim + d] * (double)k[i * row + of + d];
                const double weight = exp(2 * score);
                total += weight;
                for (size_t d = 0; d < h.dim; d++) sums[d] += weight * (double)v[i * row + of + d];
            }
            for (size_t d = 0; d < h.dim; d++) {
                const double apart = fabs(sums[d] / total - (double)y[r * width + head * h.dim + d]);
                if (!(apart <= worst)) worst = apart;
            }
        }
    /* With pairs of BF16, where the processor has them, only the order of sums differs. */
    float *pairs = floats(h.queries * width), apart = 0;
#if defined(__x86_64__)
    const int compares = lk_amx() == &lk_amx_stand_in && lk_flash_kernels() && lk_limit_isa(LK_ISA_AVX512BF16);
#else
    const int compares = 0;
#endif
    if (compares) {
        const lk_attention_output other = {pairs, width, h.dim, NULL};
        lk_use_amx_stand_in(0);
        lk_attention(&other, &queries, &kv, &options);
        lk_use_amx_stand_in(1);
        lk_limit_isa(LK_ISA_NO_LIMIT);
        for (size_t i = 0; i < h.queries * width; i++) apart = fmaxf(apart, fabsf(pairs[i] - y[i]));
    }
    free(pairs);
    /* Scores of a few units are off by 2^-8 of their terms. */
    if (worst < 0.06 && apart < 0.01f) printf("ok - attention of %zu over %zu, dim %zu\n", h.queries, h.keys, h.dim);
    else FAIL("attention of %zu over %zu, group %zu, dim %zu: differs by %g, %g", h.queries, h.keys, h.group, h.dim, worst, (double)apart);
    free(q), free(k), free(v), free(y), free(pages_k), free(pages_v);
}

static void attentions(void) {
    static const heads shapes[] = {
        {7, 7, 1, 1, 64, 1},      {8, 128, 2, 8, 128, 1},    {15, 129, 6, 20, 64, 1},  {16, 16, 1, 64, 16, 0},
        {17, 257, 2, 80, 128, 0}, {31, 300, 1, 127, 72, 1},  {33, 33, 6, 128, 8, 1},   {48, 511, 1, 32, 512, 0},
        {49, 49, 2, 33, 64, 1},   {70, 513, 1, 128, 128, 1}, {64, 130, 1, 48, 130, 0}, {100, 100, 1, 24, 100, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) attention(shapes[i]);
}

/* ------------------------------------------------------------------------------------------------------ convolution */

typedef struct signal {
    size_t in, out, columns, kernel, dilation;
} signal;

/* With values that BF16 holds, so that only the order of sums can differ. */
static float *rounded(size_t count) {
    float *x = floats(count);
    for (size_t i = 0; i < count; i++) x[i] = roundf(x[i] * 64) / 64;
    return x;
}

static void convolution(signal s) {
    const size_t ldx = s.columns + (s.kernel - 1) * s.dilation, ldy = s.columns + 3;
    float *x = rounded(s.in * ldx), *w = rounded(s.out * s.in * s.kernel), *bias = rounded(s.out);
    float *add = rounded(s.out * s.columns), *y = floats(s.out * ldy), *active = floats(s.out * ldy);
    float *again = floats(s.out * ldy), *back = floats(s.out * s.in * s.kernel);
    float *packed = aligned_alloc(64, (lk_conv1d_pairs_count(s.in, s.out, s.kernel) * 4 + 63) / 64 * 64);
    lk_conv1d_pack_pairs(packed, w, s.in, s.out, s.kernel);
    lk_conv1d_unpack(back, packed, s.in, s.out, s.kernel, 1);
    const int kept = memcmp(back, w, s.out * s.in * s.kernel * 4) == 0;
    lk_conv1d_output o = {.add = add, .ld_add = s.columns, .y = y, .ldy = ldy, .activated = active,
                          .ld_activated = ldy, .slope = 0.1f};
    int status = lk_conv1d_pairs_into(&o, x, ldx, s.columns, packed, bias, s.in, s.out, s.kernel, s.dilation);
    double worst = 0;
    for (size_t c = 0; c < s.out; c++)
        for (size_t t = 0; t < s.columns; t++) {
            double v = (double)bias[c] + (double)add[c * s.columns + t];
            for (size_t i = 0; i < s.in; i++)
                for (size_t j = 0; j < s.kernel; j++)
                    v += (double)w[(c * s.in + i) * s.kernel + j] * (double)x[i * ldx + t + j * s.dilation];
            const double apart = fabs(v - (double)y[c * ldy + t]);
            const double a = fabs((v > 0 ? v : 0.1 * v) - (double)active[c * ldy + t]);
            if (!(apart <= worst)) worst = apart;
            if (!(a <= worst)) worst = a;
        }
    /* The last columns alone equal those of the whole, bit for bit. */
    const size_t from = s.columns / 3;
    o = (lk_conv1d_output){.y = again, .ldy = ldy};
    lk_conv1d_output whole = {.y = y, .ldy = ldy};
    status |= lk_conv1d_pairs_into(&whole, x, ldx, s.columns, packed, NULL, s.in, s.out, s.kernel, s.dilation);
    status |= lk_conv1d_pairs_into(&o, x + from, ldx, s.columns - from, packed, NULL, s.in, s.out, s.kernel,
                                   s.dilation);
    int same = status == LK_OK && kept;
    for (size_t c = 0; c < s.out; c++)
        same = same && memcmp(again + c * ldy, y + c * ldy + from, (s.columns - from) * 4) == 0;
    if (worst < 1e-4 && same) printf("ok - convolution of %zu to %zu channels, %zu columns\n", s.in, s.out, s.columns);
    else FAIL("convolution of %zu to %zu channels, %zu columns, %zu taps: %g", s.in, s.out, s.columns, s.kernel, worst);
    free(x), free(w), free(bias), free(add), free(y), free(active), free(again), free(back), free(packed);
}

static void convolutions(void) {
    static const signal signals[] = {{1, 1, 1, 1, 1},    {3, 5, 31, 3, 1},   {32, 32, 32, 7, 1}, {33, 17, 33, 3, 5},
                                     {70, 40, 200, 5, 2}, {128, 1, 95, 7, 1}, {64, 96, 500, 3, 3}, {16, 33, 97, 11, 5}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) convolution(signals[i]);
}

/* ------------------------------------------------------------------------------------------------- bit for bit */

static int is_nan_bf16(const char *panel, size_t column) {
    uint32_t pair;
    memcpy(&pair, panel + 4 * column, 4);
    return (pair & 0x7fff) > 0x7f80 && (pair >> 16 & 0x7fff) > 0x7f80;
}

static void equal_functions(lk_type type) {
    enum { N = 32, K = 512 };
    weights w = weights_of(type, N, K);
    static _Alignas(64) char a[K * N * 2], b[K * N * 2];
    char *panel = aligned_alloc(64, (lk_packed_bytes(type, N, K) + 63) / 64 * 64);
    lk_pack(panel, w.stored, type, N, K);
    lk_amx_wide.widen(a, panel, type, 0, K / 32);
    lk_amx_stand_in.widen(b, panel, type, 0, K / 32);
    int same = memcmp(a, b, sizeof a) == 0;
    lk_amx_wide.widen(a, panel, type, 5, 7);
    same = same && memcmp(a, b + 5 * LK_AMX_STEP, 7 * LK_AMX_STEP) == 0;
    if (same) printf("ok - panels of type %d are the same for vectors of 16\n", type);
    else FAIL("panels differ, type %d", type);
    /* Scales that are NaN with all bits set, as a damaged file can have them: weights are NaN. */
    memset(w.stored, 0xff, lk_block_bytes(type));
    lk_pack(panel, w.stored, type, N, K);
    lk_amx_stand_in.widen(b, panel, type, 0, K / 32);
    if (is_nan_bf16(b, 0) && !is_nan_bf16(b, 1)) printf("ok - NaN stays NaN, type %d\n", type);
    else FAIL("NaN is lost, type %d", type);
}

static void equal_rows(void) {
    enum { K = 77 };
    float *x = floats(16 * K);
    static char a[3 * LK_AMX_EXACT * LK_AMX_TILE], b[sizeof a];
    x[4] = INFINITY, x[5] = NAN, x[6] = 3e38f, x[7] = 1e-42f;
    for (size_t rows = 1; rows <= 16; rows += 5) {
        lk_amx_wide.make_x(a, x, K, rows, K, LK_AMX_EXACT);
        lk_amx_stand_in.make_x(b, x, K, rows, K, LK_AMX_EXACT);
        if (memcmp(a, b, sizeof a) == 0) printf("ok - x of %zu rows is the same for vectors of 16\n", rows);
        else FAIL("x of %zu rows differs", rows);
    }
    for (size_t rows = 1; rows <= 32; rows += 6) {
        memset(a, 1, sizeof a), memset(b, 2, sizeof b);
        lk_amx_wide.pair(a, (const char *)x + 1, 150, rows, 38);
        lk_amx_stand_in.pair(b, (const char *)x + 1, 150, rows, 38);
        if (memcmp(a, b, 2 * LK_AMX_STEP) == 0) printf("ok - pairs of %zu rows are the same for vectors of 16\n", rows);
        else FAIL("pairs of %zu rows differ", rows);
    }
}

static void all(const char *name) {
    printf("# %s\n", name);
    products();
    together();
    for (int type = LK_BF16; type <= LK_Q6_K; type++) alone_or_not((lk_type)type), apart((lk_type)type);
    attentions();
    convolutions();
}

/* The arguments name the instruction sets to test; without any, all that the processor has, and functions in place of
 * tiles. */
int main(int argc, char **argv) {
    lk_set_threads(3);
    for (int type = LK_Q8_0; type <= LK_Q6_K; type++) equal_functions((lk_type)type);
    equal_rows();
    for (unsigned isa = 0; lk_isa_name((lk_isa)isa); isa++) {
        const char *name = lk_isa_name((lk_isa)isa);
        int named = argc == 1;
        for (int i = 1; i < argc; i++) named |= strcmp(argv[i], name) == 0;
        if (!named) continue;
        if (lk_limit_isa((lk_isa)isa)) all(name);
        else if (argc > 1) FAIL("the processor lacks %s", name);
        else printf("# skipped: %s, which this processor lacks\n", name);
    }
    if (argc > 1) return failures > 0;
    lk_limit_isa(LK_ISA_NO_LIMIT);
    lk_use_amx_stand_in(1);
    if (!lk_amx_serves(7) || lk_amx_serves(6)) FAIL("tiles are used for the wrong rows");
    all("with functions in place of tiles");
    return failures > 0;
}
