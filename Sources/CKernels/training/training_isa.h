/* The kernels of training, written once over vectors of LK_WIDTH floats; training_*.c compile them for each instruction
 * set. */
#include "training.h"
#include "../simd.h"

typedef struct adamw_vectors {
    vf w, m, v;
} adamw_vectors;

LK_INLINE adamw_vectors adamw_next(adamw_vectors old, vf g, const lk_adamw_step *s) {
    adamw_vectors new;
    g *= vf_set(s->gradient_scale);
    new.m = old.m + vf_set(s->first_share) * (g - old.m);
    new.v = vf_set(s->second_keep) * old.v + vf_set(s->second_share) * g * g;
    vf root = __builtin_elementwise_sqrt(new.v) * vf_set(s->root_scale) + vf_set(s->epsilon);
    new.w = vf_set(s->keep) * old.w - vf_set(s->size) * (new.m / root);
    return new;
}

static void adamw(float *w, float *m, float *v, const float *g, size_t count, const lk_adamw_step *step) {
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) {
        adamw_vectors old = {vf_load(w + i), vf_load(m + i), vf_load(v + i)};
        adamw_vectors new = adamw_next(old, vf_load(g + i), step);
        vf_store(w + i, new.w);
        vf_store(m + i, new.m);
        vf_store(v + i, new.v);
    }
    if (i < count) {
        const size_t rest = count - i, bytes = rest * sizeof(float);
        adamw_vectors old = {vf_load_part(w + i, rest), vf_load_part(m + i, rest), vf_load_part(v + i, rest)};
        adamw_vectors new = adamw_next(old, vf_load_part(g + i, rest), step);
        memcpy(w + i, &new.w, bytes);
        memcpy(m + i, &new.m, bytes);
        memcpy(v + i, &new.v, bytes);
    }
}

static double square_sum(const float *x, size_t count) {
    typedef double vd __attribute__((vector_size(LK_WIDTH * sizeof(double))));
    vd a = {0}, b = {0};
    size_t i = 0;
    for (; i + 2 * LK_WIDTH <= count; i += 2 * LK_WIDTH) {
        vd p = __builtin_convertvector(vf_load(x + i), vd), q = __builtin_convertvector(vf_load(x + i + LK_WIDTH), vd);
        a += p * p;
        b += q * q;
    }
    a += b;
    double total = 0;
    for (; i < count; i++) total += (double)x[i] * x[i];
    for (int lane = 0; lane < LK_WIDTH; lane++) total += a[lane];
    return total;
}

/* The first `count` floats, -∞ after them: e^x of those is 0. */
LK_INLINE vf load_logits(const float *x, size_t count) {
    float padded[LK_WIDTH];
    for (size_t i = 0; i < LK_WIDTH; i++) padded[i] = i < count ? x[i] : -INFINITY;
    return vf_load(padded);
}

/* The largest of x; NaN if one is NaN. */
static float largest_logit(const float *x, size_t count) {
    vf top = vf_set(-INFINITY);
    vi wrong = {0};
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) {
        vf v = vf_load(x + i);
        wrong |= v != v;
        top = vf_max(v, top);
    }
    vf v = load_logits(x + i, count - i);
    wrong |= v != v;
    top = vf_max(v, top);
    for (int lane = 0; lane < LK_WIDTH; lane++)
        if (wrong[lane]) return NAN;
    return vf_largest(top);
}

/* x ← exp(x - top). Returns the sum: in floats over short pieces, whose sums are added in double precision. */
static double exponentials(float *x, size_t count, float top) {
    enum { PIECE = 64 * LK_WIDTH };
    double sum = 0;
    size_t i = 0;
    while (i + LK_WIDTH <= count) {
        vf part = {0};
        for (size_t end = i + PIECE; i < end && i + LK_WIDTH <= count; i += LK_WIDTH) {
            vf e = vf_exp(vf_load(x + i) - vf_set(top));
            vf_store(x + i, e);
            part += e;
        }
        sum += vf_sum(part);
    }
    vf e = vf_exp(load_logits(x + i, count - i) - vf_set(top));
    memcpy(x + i, &e, (count - i) * sizeof(float));
    return sum + vf_sum(e);
}

static double cross_entropy(float *x, size_t count, size_t target, float scale) {
    const float wanted = x[target], top = largest_logit(x, count);
    if (!isfinite(top)) {
        for (size_t i = 0; i < count; i++) x[i] = NAN;
        return NAN;
    }
    const double sum = exponentials(x, count, top);
    const float factor = (float)(scale / sum);
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) vf_store(x + i, vf_load(x + i) * vf_set(factor));
    for (; i < count; i++) x[i] *= factor;
    x[target] -= scale;
    return log(sum) + ((double)top - wanted);
}

const lk_training_kernels LK_TRAINING_KERNELS = {
    .adamw = adamw,
    .square_sum = square_sum,
    .cross_entropy = cross_entropy,
};
