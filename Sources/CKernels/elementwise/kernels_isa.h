/* The kernels, written once over vectors of LK_WIDTH floats; isa_*.c compile them for each instruction set. */
#include "../table.h"
#include "../simd.h"
#include "../convolution/conv1d_isa.h"
#include "../linear/dot_rows_isa.h"
#include "../attention/kv_isa.h"

/* Runs `expression` on whole vectors of x[0 … count), the last one padded with zeros; v is the value. */
#define LK_MAP(x, count, expression)                                                                                   \
    do {                                                                                                               \
        size_t i_ = 0;                                                                                                 \
        for (; i_ + LK_WIDTH <= (count); i_ += LK_WIDTH) {                                                             \
            vf v = vf_load((x) + i_);                                                                                  \
            vf_store((x) + i_, (expression));                                                                          \
        }                                                                                                              \
        if (i_ < (count)) {                                                                                            \
            float rest_[LK_WIDTH] = {0};                                                                               \
            memcpy(rest_, (x) + i_, ((count)-i_) * sizeof(float));                                                     \
            vf v = vf_load(rest_);                                                                                     \
            vf_store(rest_, (expression));                                                                             \
            memcpy((x) + i_, rest_, ((count)-i_) * sizeof(float));                                                     \
        }                                                                                                              \
    } while (0)

static void gelu(float *x, size_t count) { LK_MAP(x, count, vf_gelu(v)); }

static void quick_gelu(float *x, size_t count) { LK_MAP(x, count, vf_quick_gelu(v)); }

static void leaky_relu(float *x, size_t count, float slope) {
    LK_MAP(x, count, vf_select(v > vf_set(0), v, v * vf_set(slope)));
}

static void scale(float *y, size_t count, float factor) { LK_MAP(y, count, v * vf_set(factor)); }

/* tanh x = 1 - 2 / (e^2x + 1); near 0, where that cancels, its series, which keeps NaN too. */
LK_INLINE vf vf_tanh(vf x) {
    vf far = vf_set(1.0f) - vf_set(2.0f) / (vf_exp(vf_min(vf_set(40.0f), x + x)) + vf_set(1.0f));
    vf x2 = x * x;
    vf near = x * (vf_set(1.0f) + x2 * (vf_set(-1.0f / 3) + x2 * (vf_set(2.0f / 15) + x2 * vf_set(-17.0f / 315))));
    return vf_select(vf_max(x, -x) >= vf_set(0.15f), far, near);
}

static void tanh_(float *x, size_t count) { LK_MAP(x, count, vf_tanh(v)); }

static void add(float *y, const float *x, size_t count) {
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) vf_store(y + i, vf_load(y + i) + vf_load(x + i));
    for (; i < count; i++) y[i] += x[i];
}

static void silu_mul(float *y, const float *gate, const float *up, size_t count) {
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) {
        vf g = vf_load(gate + i);
        vf_store(y + i, g / (vf_set(1.0f) + vf_exp(-g)) * vf_load(up + i));
    }
    if (i < count) {
        float g_rest[LK_WIDTH] = {0};
        memcpy(g_rest, gate + i, (count - i) * sizeof(float));
        vf g = vf_load(g_rest);
        vf_store(g_rest, g / (vf_set(1.0f) + vf_exp(-g)));
        for (size_t j = i; j < count; j++) y[j] = g_rest[j - i] * up[j];
    }
}

/* A quarter of x to each vector of sums: long arrays are then read in four runs, which is faster than one. */
static float sum(const float *x, size_t count) {
    vf a = {0}, b = {0}, c = {0}, d = {0};
    const size_t quarter = count / (4 * LK_WIDTH) * LK_WIDTH;
    for (size_t i = 0; i < quarter; i += LK_WIDTH) {
        a += vf_load(x + i);
        b += vf_load(x + i + quarter);
        c += vf_load(x + i + 2 * quarter);
        d += vf_load(x + i + 3 * quarter);
    }
    float total = vf_sum((a + b) + (c + d));
    for (size_t i = 4 * quarter; i < count; i++) total += x[i];
    return total;
}

static float sum_of_squares(const float *x, size_t count, float centre) {
    vf a = {0}, b = {0}, c = vf_set(centre);
    size_t i = 0;
    for (; i + 2 * LK_WIDTH <= count; i += 2 * LK_WIDTH) {
        vf p = vf_load(x + i) - c, q = vf_load(x + i + LK_WIDTH) - c;
        a += p * p;
        b += q * q;
    }
    float total = vf_sum(a + b);
    for (; i < count; i++) total += (x[i] - centre) * (x[i] - centre);
    return total;
}

static void rms_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, size_t rows, size_t columns,
                     float epsilon) {
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        float inverse = 1.0f / sqrtf(sum_of_squares(x, columns, 0) / (float)columns + epsilon);
        size_t i = 0;
        for (; i + LK_WIDTH <= columns; i += LK_WIDTH)
            vf_store(y + i, vf_load(x + i) * vf_set(inverse) * vf_load(weight + i));
        for (; i < columns; i++) y[i] = x[i] * inverse * weight[i];
    }
}

static void layer_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, const float *bias,
                       size_t rows, size_t columns, float epsilon) {
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        float mean = sum(x, columns) / (float)columns;
        float inverse = 1.0f / sqrtf(sum_of_squares(x, columns, mean) / (float)columns + epsilon);
        size_t i = 0;
        for (; i + LK_WIDTH <= columns; i += LK_WIDTH)
            vf_store(y + i,
                     (vf_load(x + i) - vf_set(mean)) * vf_set(inverse) * vf_load(weight + i) + vf_load(bias + i));
        for (; i < columns; i++) y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
    }
}

static void rope(float *y, size_t ldy, const float *x, size_t ldx, const float *cos, const float *sin, size_t rows,
                 size_t heads, size_t dim) {
    const size_t half = dim / 2;
    for (size_t r = 0; r < rows; r++, cos += half, sin += half) {
        for (size_t h = 0; h < heads; h++) {
            const float *a = x + r * ldx + h * dim, *b = a + half;
            float *to_a = y + r * ldy + h * dim, *to_b = to_a + half;
            size_t i = 0;
            for (; i + LK_WIDTH <= half; i += LK_WIDTH) {
                vf p = vf_load(a + i), q = vf_load(b + i), c = vf_load(cos + i), s = vf_load(sin + i);
                vf_store(to_a + i, p * c - q * s);
                vf_store(to_b + i, q * c + p * s);
            }
            for (; i < half; i++) {
                float p = a[i], q = b[i];
                to_a[i] = p * cos[i] - q * sin[i];
                to_b[i] = q * cos[i] + p * sin[i];
            }
        }
    }
}

static void softmax_tile(float *s, size_t lds, size_t rows, const size_t *columns, size_t padded, float factor,
                         float *row_max, float *row_sum, float *row_keep) {
    for (size_t r = 0; r < rows; r++, s += lds) {
        size_t n = columns[r];
        if (n == 0) {
            row_keep[r] = 1;
            memset(s, 0, padded * sizeof(float));
            continue;
        }
        vf top = vf_set(-INFINITY);
        vi faults = {0};
        size_t i = 0;
        for (; i + LK_WIDTH <= n; i += LK_WIDTH) {
            vf v = vf_load(s + i);
            top = vf_max(top, v);
            faults |= v != v;
        }
        float largest = vf_largest(top);
        int fault = __builtin_reduce_or(faults);
        for (; i < n; i++) largest = s[i] > largest ? s[i] : largest, fault |= s[i] != s[i];
        if (fault) { /* e^NaN may be a number, but none of this row's weights is */
            for (size_t j = 0; j < padded; j++) s[j] = j < n ? NAN : 0;
            row_keep[r] = 1;
            row_sum[r] = NAN;
            continue;
        }
        largest *= factor;
        if (largest < row_max[r]) largest = row_max[r];
        row_keep[r] = row_max[r] == -INFINITY ? 0 : expf(row_max[r] - largest);
        row_max[r] = largest;
        /* what lies past n is set to exp(-inf) = 0, so that whole vectors can be used */
        for (size_t j = n; j < padded; j++) s[j] = -INFINITY;
        LK_MAP(s, padded, vf_exp(v * vf_set(factor) - vf_set(largest)));
        row_sum[r] = row_sum[r] * row_keep[r] + sum(s, n);
    }
}

static void softmax_columns(float *sums, const float *s, size_t lds, size_t rows, size_t columns, float factor,
                            const float *row_max, const float *row_factor) {
    for (size_t c = 0; c < columns; c += LK_WIDTH) {
        const size_t count = columns - c < LK_WIDTH ? columns - c : LK_WIDTH;
        vf total = vf_set(0);
        for (size_t r = 0; r < rows; r++) {
            vf v = vf_load_part(s + r * lds + c, count);
            total += vf_exp(v * vf_set(factor) - vf_set(row_max[r])) * vf_set(row_factor[r]);
        }
        memcpy(sums + c, &total, count * sizeof(float));
    }
}

LK_INLINE void dequantize_as(float *dst, const void *src, lk_type type, size_t count) {
    size_t i = 0, size = type == LK_F32 ? 4 : 2;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) vf_store(dst + i, vf_load_as(src, type, i));
    if (i < count) {
        char rest[LK_WIDTH * 4] = {0};
        memcpy(rest, (const char *)src + i * size, (count - i) * size);
        vf v = vf_load_as(rest, type, 0);
        memcpy(dst + i, &v, (count - i) * sizeof(float));
    }
}

static void dequantize(float *dst, const void *src, lk_type type, size_t count) {
    if (type == LK_BF16) dequantize_as(dst, src, LK_BF16, count);
    else if (type == LK_F16) dequantize_as(dst, src, LK_F16, count);
    else memcpy(dst, src, count * sizeof(float));
}

const lk_table LK_TABLE = {
    .dequantize = dequantize,
    .dot_rows = dot_rows,
    .dot_keys = dot_keys,
    .mix_rows = mix_rows,
    .scale_columns = scale_columns,
    .dequantize_codes = dequantize_codes,
    .round_to_half = round_to_half,
    .quantize_codes = quantize_codes,
    .softmax_tile = softmax_tile,
    .softmax_columns = softmax_columns,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .silu_mul = silu_mul,
    .gelu = gelu,
    .quick_gelu = quick_gelu,
    .leaky_relu = leaky_relu,
    .tanh_ = tanh_,
    .add = add,
    .scale = scale,
    .rope = rope,
    .conv1d = conv1d,
};
