/* Rounds rows of x to bytes, in tiles. packed.h describes the layout. */

/* The largest lane, and the sum of all lanes, in registers. From a loop, the compiler would make memory accesses. */
#if LK_WIDTH == 16 && !defined(LK_PORTABLE)
LK_INLINE int32_t vi_most(vi v) { return _mm512_reduce_max_epi32((__m512i)v); }
LK_INLINE int32_t vi_total(vi v) { return _mm512_reduce_add_epi32((__m512i)v); }
#elif LK_WIDTH == 8
LK_INLINE int32_t vi_most(vi v) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
LK_INLINE int32_t vi_total(vi v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
#else
LK_INLINE int32_t vi_most(vi v) {
    int32_t most = v[0];
    for (int i = 1; i < LK_WIDTH; i++) most = v[i] > most ? v[i] : most;
    return most;
}
LK_INLINE int32_t vi_total(vi v) {
    int32_t total = 0;
    for (int i = 0; i < LK_WIDTH; i++) total += v[i];
    return total;
}
#endif

/* Rounds 32 values of x to bytes of -127 … 127 at q, with `apart` bytes between the starts of groups of four. Returns
 * the scale, and in `halves` the sums of the first and the last 16 bytes. If a value is not finite, the bytes are zeros
 * and the scale is NaN. */
LK_INLINE float make_block(char *q, size_t apart, const float *x, int32_t halves[2]) {
#pragma clang fp contract(off) /* the same bytes with every instruction set */
    /* Bits of magnitudes compare as integers; NaN is above infinity. */
    vi magnitudes = {0};
    LK_UNROLL for (int i = 0; i < LK_BLOCK; i += LK_WIDTH) {
        vi magnitude = (vi)(vu_load(x + i) & 0x7fffffffu);
        magnitudes = (vi)vf_select(magnitude > magnitudes, (vf)magnitude, (vf)magnitudes);
    }
    const int32_t most = vi_most(magnitudes);
    if (most >= 0x7f800000) {
        for (int i = 0; i < LK_BLOCK / 4; i++) memset(q + (size_t)i * apart, 0, 4);
        halves[0] = halves[1] = 0;
        return NAN;
    }
    float largest = float_at((const char *)&most), inverse = largest > 1e-30f ? 127 / largest : 0;
    LK_UNROLL for (int half = 0; half < 2; half++) {
        vi total = {0};
        LK_UNROLL for (int i = 16 * half; i < 16 * half + 16; i += LK_WIDTH) {
            /* Adding 1.5 · 2^23 rounds to an integer in the lowest bits. */
            vi rounded = (vi)(vf_load(x + i) * vf_set(inverse) + vf_set(12582912.0f)) - (vi)vf_set(12582912.0f);
            vsb bytes = __builtin_convertvector(rounded, vsb);
            LK_UNROLL for (int j = 0; j < LK_WIDTH; j += 4)
                memcpy(q + (size_t)(i + j) / 4 * apart, (const char *)&bytes + j, 4);
            total += rounded;
        }
        halves[half] = vi_total(total);
    }
    return largest / 127;
}

static void make_integer_tile(char *tile, const float *x, size_t ldx, size_t rows, size_t k, lk_type type) {
    int32_t offset = type == LK_Q4_0 ? 8 : type == LK_Q6_K ? 32 : 0;
#ifndef LK_SIGNED
    if (type == LK_Q8_0) offset = 128;
#endif
    for (size_t r = 0; r < rows; r++) {
        char *block = tile;
        for (size_t i = 0; i < k; i += LK_BLOCK, block += LK_X_BLOCK * rows) {
            int32_t halves[2];
            float scale = make_block(block + 4 * r, 4 * rows, x + r * ldx + i, halves);
            int32_t correction[2] = {-offset * halves[0], -offset * halves[1]};
            float minimum = scale * (float)(halves[0] + halves[1]);
            if (type == LK_Q4_K) memcpy(correction, &minimum, 4);
            else if (type != LK_Q6_K) correction[0] += correction[1];
            memcpy(block + 32 * rows + 4 * r, &scale, 4);
            memcpy(block + 36 * rows + 4 * r, correction, 4);
            memcpy(block + 40 * rows + 4 * r, correction + 1, 4);
        }
    }
}
