/* The kernels for gradients, written once over vectors of LK_WIDTH floats. */
#include "gradients.h"
#include "../simd.h"

static float dot(const float *x, const float *y, size_t count) {
    vf a = {0}, b = {0};
    size_t i = 0;
    for (; i + 2 * LK_WIDTH <= count; i += 2 * LK_WIDTH) {
        a += vf_load(x + i) * vf_load(y + i);
        b += vf_load(x + i + LK_WIDTH) * vf_load(y + i + LK_WIDTH);
    }
    float total = vf_sum(a + b);
    for (; i < count; i++) total += x[i] * y[i];
    return total;
}

/* Mean of a row, and 1 / √(variance + epsilon); a mean of 0 for the RMS norm. */
static void row_statistics(const float *x, size_t columns, float epsilon, int centred, float *mean, float *inverse) {
    *mean = 0;
    if (centred) {
        vf sums = {0};
        size_t i = 0;
        for (; i + LK_WIDTH <= columns; i += LK_WIDTH) sums += vf_load(x + i);
        float total = vf_sum(sums);
        for (; i < columns; i++) total += x[i];
        *mean = total / (float)columns;
    }
    vf squares = {0}, centre = vf_set(*mean);
    size_t i = 0;
    for (; i + LK_WIDTH <= columns; i += LK_WIDTH) {
        vf v = vf_load(x + i) - centre;
        squares += v * v;
    }
    float total = vf_sum(squares);
    for (; i < columns; i++) total += (x[i] - *mean) * (x[i] - *mean);
    *inverse = 1.0f / sqrtf(total / (float)columns + epsilon);
}

static void norm(float *dx, const float *dy, size_t lddy, const float *x, size_t ldx, const float *weight, size_t rows,
                 size_t columns, float epsilon, int centred, float *statistics) {
    for (size_t r = 0; r < rows; r++, dx += columns, dy += lddy, x += ldx, statistics += 2) {
        row_statistics(x, columns, epsilon, centred, &statistics[0], &statistics[1]);
        const float mean = statistics[0], inverse = statistics[1];
        vf gradients = {0}, products = {0}; /* Σ g and Σ g · h, with g = weight · dy and h = (x - mean) · inverse */
        size_t i = 0;
        for (; i + LK_WIDTH <= columns; i += LK_WIDTH) {
            vf g = vf_load(weight + i) * vf_load(dy + i);
            gradients += g;
            products += g * (vf_load(x + i) - vf_set(mean));
        }
        float g_sum = vf_sum(gradients), gh_sum = vf_sum(products);
        for (; i < columns; i++) {
            float g = weight[i] * dy[i];
            g_sum += g;
            gh_sum += g * (x[i] - mean);
        }
        const float g_mean = centred ? g_sum / (float)columns : 0;
        const float slope = gh_sum * inverse * inverse / (float)columns; /* mean(g · h) · inverse */
        for (i = 0; i + LK_WIDTH <= columns; i += LK_WIDTH) {
            vf g = vf_load(weight + i) * vf_load(dy + i);
            vf_store(dx + i, (g - vf_set(g_mean) - (vf_load(x + i) - vf_set(mean)) * vf_set(slope)) * vf_set(inverse));
        }
        for (; i < columns; i++) dx[i] = (weight[i] * dy[i] - g_mean - (x[i] - mean) * slope) * inverse;
    }
}

static void norm_weight(float *dweight, float *dbias, const float *dy, size_t lddy, const float *x, size_t ldx,
                        size_t rows, size_t columns, const float *statistics) {
    for (size_t r = 0; r < rows; r++, dy += lddy, x += ldx, statistics += 2) {
        const float mean = statistics[0], inverse = statistics[1];
        size_t i = 0;
        if (dweight) {
            for (; i + LK_WIDTH <= columns; i += LK_WIDTH)
                vf_store(dweight + i, vf_load(dweight + i) + vf_load(dy + i) * (vf_load(x + i) - vf_set(mean)) *
                                                                 vf_set(inverse));
            for (; i < columns; i++) dweight[i] += dy[i] * (x[i] - mean) * inverse;
        }
        if (dbias) {
            for (i = 0; i + LK_WIDTH <= columns; i += LK_WIDTH)
                vf_store(dbias + i, vf_load(dbias + i) + vf_load(dy + i));
            for (; i < columns; i++) dbias[i] += dy[i];
        }
    }
}

LK_INLINE vf vf_sigmoid(vf x) { return vf_set(1) / (vf_set(1) + vf_exp(-x)); }

/* dgate and dup of one vector. */
LK_INLINE void silu_mul_vector(vf dy, vf gate, vf up, vf *dgate, vf *dup) {
    vf s = vf_sigmoid(gate);
    *dup = dy * gate * s;
    *dgate = dy * up * s * (vf_set(1) + gate * (vf_set(1) - s));
}

static void silu_mul(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t count) {
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        size_t n = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vf g, u;
        silu_mul_vector(vf_load_part(dy + i, n), vf_load_part(gate + i, n), vf_load_part(up + i, n), &g, &u);
        memcpy(dgate + i, &g, n * sizeof(float));
        memcpy(dup + i, &u, n * sizeof(float));
    }
}

/* GELU x · Φ(x): Φ(x) + x · φ(x). Quick GELU x · s, s = σ(1.702 x): s + 1.702 · x · s · (1 - s). */
LK_INLINE vf activation_slope(vf x, int quick) {
    if (quick) {
        vf s = vf_sigmoid(x * vf_set(1.702f));
        return s + vf_set(1.702f) * x * s * (vf_set(1) - s);
    }
    vf area = vf_set(0.5f) * (vf_set(1) + vf_erf(x * vf_set(0.70710678f)));
    return area + x * vf_set(0.39894228f) * vf_exp(x * x * vf_set(-0.5f));
}

static void activation(float *dx, const float *dy, const float *x, size_t count, int quick) {
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        size_t n = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vf v = vf_load_part(dy + i, n) * activation_slope(vf_load_part(x + i, n), quick);
        memcpy(dx + i, &v, n * sizeof(float));
    }
}

static void attention_row(float *s, float *dp, size_t n, size_t seen, float scale, float log_sum_exp, float mean) {
    size_t i = 0;
    for (; i + LK_WIDTH <= seen; i += LK_WIDTH) {
        vf p = vf_exp(vf_load(s + i) * vf_set(scale) - vf_set(log_sum_exp));
        vf_store(s + i, p);
        vf_store(dp + i, p * (vf_load(dp + i) - vf_set(mean)) * vf_set(scale));
    }
    if (i < seen) {
        size_t rest = seen - i;
        vf p = vf_exp(vf_load_part(s + i, rest) * vf_set(scale) - vf_set(log_sum_exp));
        vf d = p * (vf_load_part(dp + i, rest) - vf_set(mean)) * vf_set(scale);
        memcpy(s + i, &p, rest * sizeof(float));
        memcpy(dp + i, &d, rest * sizeof(float));
    }
    if (seen < n) {
        memset(s + seen, 0, (n - seen) * sizeof(float));
        memset(dp + seen, 0, (n - seen) * sizeof(float));
    }
}

const lk_gradient_kernels LK_GRADIENT_KERNELS = {
    .norm = norm,
    .norm_weight = norm_weight,
    .silu_mul = silu_mul,
    .activation = activation,
    .attention_row = attention_row,
    .dot = dot,
};
