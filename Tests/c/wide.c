/* The kernels of the AVX-512 tables, compiled for a processor without AVX-512: the same source over vectors of 16,
 * which the compiler splits, against the portable tables. With AVX-512 only the compiler's choice of instructions differs. */
#include "../../Sources/CKernels/table.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LK_IN_ORDER(v) (void)0
#define LK_WIDTH 16
#define LK_PRODUCT_ROWS 12
#define LK_FLOAT_KERNELS lk_float_wide
#include "../../Sources/CKernels/float_isa.h"
#define LK_TRAINING_KERNELS lk_training_wide
#include "../../Sources/CKernels/training/training_isa.h"

static int failures;

static void compare(const char *what, size_t size, const float *a, const float *b, size_t count, float tolerance) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance * (1 + fabsf(b[i])))) {
            printf("# %s, size %zu: value %zu is %g, not %g\n", what, size, i, (double)a[i], (double)b[i]);
            failures++;
            return;
        }
}

static float *numbers(size_t count) {
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = (float)((double)(i * 7919 % 1009) / 504.5 - 1);
    return x;
}

static void rows(const lk_float_kernels *a, const lk_float_kernels *b, size_t n) {
    float *x = numbers(3 * n), *w = numbers(4 * n + 7), *y = malloc(4 * n * 4), *z = malloc(4 * n * 4);
#define CHECK(what, count, call_a, call_b)                                                                             \
    do {                                                                                                               \
        memcpy(y, x, 3 * n * 4), memcpy(z, x, 3 * n * 4);                                                              \
        call_a, call_b;                                                                                                \
        compare(what, n, y, z, count, 2e-5f);                                                                          \
    } while (0)
    CHECK("rms_norm", 3 * n, a->rms_norm(y, n, x, n, w, 3, n, 1e-6f), b->rms_norm(z, n, x, n, w, 3, n, 1e-6f));
    CHECK("layer_norm", 3 * n, a->layer_norm(y, n, x, n, w, w + 7, 3, n, 1e-3f),
          b->layer_norm(z, n, x, n, w, w + 7, 3, n, 1e-3f));
    CHECK("silu_mul", n, a->silu_mul(y, x, w, n), b->silu_mul(z, x, w, n));
    CHECK("gelu", n, a->gelu(y, n), b->gelu(z, n));
    CHECK("tanh", n, a->tanh_(y, n), b->tanh_(z, n));
    CHECK("leaky_relu", n, a->leaky_relu(y, n, 0.1f), b->leaky_relu(z, n, 0.1f));
    CHECK("add", n, a->add(y, w, n), b->add(z, w, n));
    CHECK("scale", n, a->scale(y, n, 3), b->scale(z, n, 3));
    CHECK("rope", n / 2 * 2, a->rope(y, n, x, n, w, w + 3, 1, 1, n / 2 * 2),
          b->rope(z, n, x, n, w, w + 3, 1, 1, n / 2 * 2));
    for (int type = LK_F32; type <= LK_BF16; type++) {
        a->dequantize(y, w, (lk_type)type, n), b->dequantize(z, w, (lk_type)type, n);
        if (memcmp(y, z, n * 4) != 0) printf("# dequantize %d, size %zu\n", type, n), failures++;
    }
    size_t seen[3] = {n, n / 2, 0};
    float top_a[3] = {-INFINITY, 0, 1}, sum_a[3] = {0, 1, 1}, keep_a[3], top_b[3], sum_b[3], keep_b[3];
    memcpy(top_b, top_a, sizeof top_a), memcpy(sum_b, sum_a, sizeof sum_a);
    CHECK("softmax", 3 * n, a->softmax_tile(y, n, 3, seen, n, 2, top_a, sum_a, keep_a),
          b->softmax_tile(z, n, 3, seen, n, 2, top_b, sum_b, keep_b));
    compare("softmax sums", n, sum_a, sum_b, 3, 2e-5f), compare("softmax kept", n, keep_a, keep_b, 3, 2e-5f);
    free(x), free(w), free(y), free(z);
}

static void products(const lk_float_kernels *a, const lk_float_kernels *b, size_t m, size_t k, size_t n) {
    float *x = numbers(m * k), *w = numbers(n * k), *y = numbers(m * n), *z = numbers(m * n);
    for (int type = LK_F32; type <= LK_BF16; type += 2) {
        if (type == LK_BF16)
            for (size_t i = 0; i < n * k; i++) memcpy((char *)w + 2 * i, (char *)w + 4 * i + 2, 2);
        a->dot_rows(y, n, x, k, m, k, w, k, (lk_type)type, n), b->dot_rows(z, n, x, k, m, k, w, k, (lk_type)type, n);
        compare("dot_rows", m * 1000 + k, y, z, m * n, 1e-4f);
    }
    free(x), free(w), free(y), free(z);
}

/* Products of floats with either factor transposed. */
static void float_products(const lk_float_kernels *a, const lk_float_kernels *b, size_t m, size_t k, size_t n) {
    float *x = numbers(m * k), *w = numbers(n * k), *y = numbers(m * n), *z = numbers(m * n);
    float *memory = malloc((a->product_floats + b->product_floats) * sizeof *memory);
    for (int turned = 0; turned < 4; turned++) {
        const lk_factor first = {x, turned & 1 ? m : k, turned & 1}, second = {w, turned & 2 ? k : n, turned & 2};
        a->product(y, n, first, second, m, n, k, turned > 0, memory);
        b->product(z, n, first, second, m, n, k, turned > 0, memory);
        compare("product", m, y, z, m * n, 2e-5f);
    }
    free(x), free(w), free(y), free(z), free(memory);
}

/* y[m, n] += x[m, k] · w[k, n - 2], rows of w and y n apart. */
static void mixtures(const lk_float_kernels *a, const lk_float_kernels *b, size_t m, size_t k, size_t n) {
    float *x = numbers(m * k), *w = numbers(k * n);
    char *stored = malloc(k * n * sizeof(float));
    const size_t columns = n > 2 ? n - 2 : n;
    for (int type = LK_KV_F32; type <= LK_KV_Q8; type++) {
        float *y = numbers(m * n), *z = numbers(m * n);
        if (type == LK_KV_F32) memcpy(stored, w, k * n * sizeof(float));
        else if (type == LK_KV_Q8) b->quantize_codes((int8_t *)stored, w, k * n);
        else b->round_to_half(stored, w, (lk_kv_type)type, k * n);
        a->mix_rows(y, n, x, k, m, k, stored, n, (lk_kv_type)type, columns);
        b->mix_rows(z, n, x, k, m, k, stored, n, (lk_kv_type)type, columns);
        compare("mix_rows", m * 1000 + n, y, z, m * n, type == LK_KV_Q8 ? 1e-3f : 1e-4f); /* codes are large */
        free(y), free(z);
    }
    free(x), free(w), free(stored);
}

/* Keys and values in their stored types, and the kernels that read them. */
static void stored(const lk_float_kernels *a, const lk_float_kernels *b, size_t n) {
    enum { KEYS = 9, QUERIES = 7 };
    float *x = numbers(QUERIES * n), *w = numbers(KEYS * n), *y = numbers(KEYS * n), *z = numbers(KEYS * n);
    int8_t *codes = malloc(KEYS * n), *others = malloc(KEYS * n);
    float factor = a->quantize_codes(codes, w, KEYS * n), top[QUERIES] = {1, 2, 3}, part[QUERIES] = {1, 0.5f, 0.25f};
    b->quantize_codes(others, w, KEYS * n);
    for (size_t i = 0; i < KEYS * n; i++)
        if (codes[i] != others[i]) printf("# quantize, size %zu\n", n), failures++, i = KEYS * n;
    for (int type = LK_KV_F16; type <= LK_KV_BF16; type++) {
        a->round_to_half(y, w, (lk_kv_type)type, n), b->round_to_half(z, w, (lk_kv_type)type, n);
        if (memcmp(y, z, 2 * n) != 0) printf("# narrow, size %zu\n", n), failures++;
    }
    a->dequantize_codes(y, codes, factor, KEYS * n), b->dequantize_codes(z, codes, factor, KEYS * n);
    compare("dequantize_codes", n, y, z, KEYS * n, 1e-6f);
    a->scale_columns(y, n, KEYS, n, w), b->scale_columns(z, n, KEYS, n, w);
    compare("scale_columns", n, y, z, KEYS * n, 1e-6f);
    a->softmax_columns(y, x, n, QUERIES, n, 2, top, part), b->softmax_columns(z, x, n, QUERIES, n, 2, top, part);
    compare("softmax_columns", n, y, z, n, 2e-5f);
    float scores[QUERIES * KEYS], scores_b[QUERIES * KEYS];
    for (int type = LK_KV_F32; type <= LK_KV_Q8; type++) {
        const void *keys = type == LK_KV_F32 ? (void *)w : type == LK_KV_Q8 ? (void *)codes : (void *)y;
        if (keys == y) b->round_to_half(y, w, (lk_kv_type)type, KEYS * n);
        a->dot_keys(scores, KEYS, x, n, QUERIES, n, keys, n, (lk_kv_type)type, KEYS);
        b->dot_keys(scores_b, KEYS, x, n, QUERIES, n, keys, n, (lk_kv_type)type, KEYS);
        /* codes are a hundred times larger than x */
        compare("dot_keys", n, scores, scores_b, QUERIES * KEYS, type == LK_KV_Q8 ? 1e-3f : 1e-4f);
    }
    free(x), free(w), free(y), free(z), free(codes), free(others);
}

/* The epilogues after the sums of a panel. */
static void epilogues(const lk_float_kernels *a, const lk_float_kernels *b) {
    enum { ROWS = 12, LD = 40 };
    float *sums = numbers(ROWS * LK_PANEL), *bias = numbers(LK_PANEL);
    for (int epilogue = LK_STORE; epilogue <= LK_QUICK_GELU; epilogue++)
        for (size_t columns = 1; columns <= LK_PANEL; columns++) {
            float *y = numbers(ROWS * LD), *z = numbers(ROWS * LD);
            a->finish(y, LD, sums, ROWS, columns, columns % 2 ? bias : NULL, (lk_epilogue)epilogue);
            b->finish(z, LD, sums, ROWS, columns, columns % 2 ? bias : NULL, (lk_epilogue)epilogue);
            compare("finish", columns, y, z, ROWS * LD, 2e-5f);
            free(y), free(z);
        }
    free(sums), free(bias);
}

/* A step of the optimizer, the square sum of its gradient, and a row of cross-entropy. */
static void training(const lk_training_kernels *a, const lk_training_kernels *b, size_t n) {
    const lk_adamw_step step = {0.5f, 0.1f, 0.99f, 0.01f, 0.999f, 0.01f, 3.0f, 1e-6f};
    float *g = numbers(n), *states[2][3];
    for (int i = 0; i < 6; i++) states[i / 3][i % 3] = numbers(n);
    for (size_t i = 0; i < n; i++) states[0][2][i] = states[1][2][i] = fabsf(g[i]);
    a->adamw(states[0][0], states[0][1], states[0][2], g, n, &step);
    b->adamw(states[1][0], states[1][1], states[1][2], g, n, &step);
    for (int i = 0; i < 3; i++) compare("adamw", n, states[0][i], states[1][i], n, 1e-6f);
    float sums[] = {(float)a->square_sum(g, n), (float)b->square_sum(g, n)};
    compare("square_sum", n, sums, sums + 1, 1, 1e-6f);
    float *x = numbers(n);
    float losses[] = {(float)a->cross_entropy(g, n, n / 2, 0.5f), (float)b->cross_entropy(x, n, n / 2, 0.5f)};
    compare("loss of cross_entropy", n, losses, losses + 1, 1, 2e-6f);
    compare("cross_entropy", n, g, x, n, 2e-6f);
    for (int i = 0; i < 6; i++) free(states[i / 3][i % 3]);
    free(g), free(x);
}

int main(void) {
    const size_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 100, 257};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rows(&lk_float_wide, &lk_float_generic, sizes[i]);
        stored(&lk_float_wide, &lk_float_generic, sizes[i]);
        training(&lk_training_wide, &lk_training_generic, sizes[i]);
        for (size_t m = 1; m < 15; m++) {
            products(&lk_float_wide, &lk_float_generic, m, sizes[i], 21);
            mixtures(&lk_float_wide, &lk_float_generic, m, 21, sizes[i]);
            float_products(&lk_float_wide, &lk_float_generic, m, sizes[i], 300 - m * 18);
        }
    }
    epilogues(&lk_float_wide, &lk_float_generic);
    return failures != 0;
}
