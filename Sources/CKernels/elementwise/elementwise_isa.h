/* Activations, norms, rotary positions, and conversion to floats. */

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

/* tanh x = 1 - 2 / (e^2x + 1). Near 0, where this formula cancels, and for NaN: the Taylor series. */
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

/* Each of four vectors sums a quarter of x: four sequential reads of a long array are faster than one. */
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
