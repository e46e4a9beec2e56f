/* Quantizes Q4_K and Q6_K. For each sub-block it tries step widths around the smallest width that covers the values.
 * For each width it rounds the values, and fits a line to them by least squares weighted by magnitude. */
#include "blocks.h"
#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

enum { TRIES = 20 };

/* The rounded value, clamped to 0 … most; NaN becomes 0. */
static int level(float value, int most) {
    float v = value + 0.5f;
    return v >= (float)most + 0.5f ? most : v >= 0 ? (int)v : 0;
}

/* x ≈ step · q + offset, with an offset of at most 0. */
typedef struct line {
    float step, offset;
} line;

/* The line through (q, x) that fits best; returns the weighted error. */
static float fit(line *best, const float *x, const float *weight, const uint8_t *q, int count) {
    float sw = 0, sq = 0, sqq = 0, sx = 0, sqx = 0;
    for (int i = 0; i < count; i++) {
        float w = weight[i], v = (float)q[i];
        sw += w, sq += w * v, sqq += w * v * v, sx += w * x[i], sqx += w * v * x[i];
    }
    float determinant = sw * sqq - sq * sq;
    line l = {0, 0};
    if (determinant > 0) {
        l.step = (sw * sqx - sq * sx) / determinant;
        l.offset = (sqq * sx - sq * sqx) / determinant;
    }
    if (l.offset > 0 || determinant <= 0) l = (line){sqq > 0 ? sqx / sqq : 0, 0};
    float error = 0;
    for (int i = 0; i < count; i++) {
        float d = l.step * (float)q[i] + l.offset - x[i];
        error += weight[i] * d * d;
    }
    *best = l;
    return error;
}

static line search_line(const float *x, int count, int most) {
    float low = 0, high = 0, squares = 0, weight[32];
    for (int i = 0; i < count; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        squares += x[i] * x[i];
    }
    line best = {0, low};
    if (!(high > low)) return best;
    float mean = sqrtf(squares / (float)count), least = INFINITY;
    for (int i = 0; i < count; i++) weight[i] = mean + fabsf(x[i]);
    for (int t = 0; t <= TRIES; t++) {
        float inverse = ((float)most - 1 + 0.1f * (float)t) / (high - low);
        uint8_t q[32];
        for (int i = 0; i < count; i++) q[i] = (uint8_t)level((x[i] - low) * inverse, most);
        line l;
        float error = fit(&l, x, weight, q, count);
        if (error < least && l.step > 0) least = error, best = l;
    }
    return best;
}

void lk_quantize_q4_k(lk_q4_k *block, const float *x) {
    line lines[8];
    float most_step = 0, most_minimum = 0;
    for (int p = 0; p < 8; p++) {
        lines[p] = search_line(x + p * 32, 32, 15);
        most_step = fmaxf(most_step, lines[p].step);
        most_minimum = fmaxf(most_minimum, -lines[p].offset);
    }
    block->scale = lk_to_f16(most_step / 63);
    block->minimum = lk_to_f16(most_minimum / 63);
    float d = lk_from_f16(block->scale), m = lk_from_f16(block->minimum);
    uint8_t scale[8], minimum[8], q[LK_SUPER];
    for (int p = 0; p < 8; p++) {
        scale[p] = (uint8_t)(d > 0 ? level(lines[p].step / d, 63) : 0);
        minimum[p] = (uint8_t)(m > 0 ? level(-lines[p].offset / m, 63) : 0);
        float step = d * (float)scale[p], offset = m * (float)minimum[p];
        for (int i = p * 32; i < p * 32 + 32; i++) q[i] = (uint8_t)(step > 0 ? level((x[i] + offset) / step, 15) : 0);
    }
    lk_q4_k_pack_scales(block->scales, scale, minimum);
    lk_q4_k_set_values(block, q);
}

/* The step, of either sign, that fits 16 values best: x ≈ step · (q - 32). */
static float search_step(const float *x) {
    float largest = 0, best = 0, most = 0;
    for (int i = 0; i < 16; i++) largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    if (largest == 0) return 0;
    for (int t = 0; t <= TRIES; t++) {
        float inverse = -(31 + 0.1f * (float)t) / largest, products = 0, squares = 0;
        for (int i = 0; i < 16; i++) {
            float w = x[i] * x[i], q = (float)(level(x[i] * inverse + 32, 63) - 32);
            products += w * x[i] * q, squares += w * q * q;
        }
        if (squares > 0 && products * products > most * squares) {
            most = products * products / squares;
            best = products / squares;
        }
    }
    return best != 0 ? best : largest / -32;
}

void lk_quantize_q6_k(lk_q6_k *block, const float *x) {
    float steps[16], largest = 0;
    for (int p = 0; p < 16; p++) {
        steps[p] = search_step(x + p * 16);
        largest = fabsf(steps[p]) > fabsf(largest) ? steps[p] : largest;
    }
    block->scale = lk_to_f16(largest / -128);
    float d = lk_from_f16(block->scale);
    uint8_t q[LK_SUPER];
    for (int p = 0; p < 16; p++) {
        block->scales[p] = (int8_t)(d != 0 ? level(steps[p] / d + 128, 255) - 128 : 0);
        float step = d * (float)block->scales[p];
        for (int i = p * 16; i < p * 16 + 16; i++) q[i] = (uint8_t)(step != 0 ? level(x[i] / step + 32, 63) : 32);
    }
    lk_q6_k_set_values(block, q);
}
