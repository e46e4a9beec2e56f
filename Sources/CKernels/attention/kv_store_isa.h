/* Converts floats to stored keys and values, and back. */

static void dequantize_codes(float *dst, const int8_t *codes, float factor, size_t count) {
    size_t i = 0;
    for (; i + LK_WIDTH <= count; i += LK_WIDTH) vf_store(dst + i, vf_from_s8(codes + i) * vf_set(factor));
    for (; i < count; i++) dst[i] = (float)codes[i] * factor;
}

LK_INLINE vh vh_bf16(vf x) { return __builtin_convertvector(vu_round_bf16(x) >> 16, vh); }

#ifdef LK_F16C
LK_INLINE vh vh_f16(vf x) {
    typedef _Float16 halves __attribute__((vector_size(LK_WIDTH * 2)));
    return (vh)__builtin_convertvector(x, halves);
}
#else
/* Normal results: adds half a unit of the last place, then truncates. Subnormal results: adding 1/2 leaves the result
 * in the low bits, because the last place of a float in [1/2, 1) equals the smallest half. */
LK_INLINE vh vh_f16(vf x) {
    vu u = (vu)x, magnitude = u & 0x7fffffff, sign = (u >> 16) & 0x8000;
    vu normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
    vu small = (vu)((vf)magnitude + vf_set(0.5f)) - 0x3f000000;
    vu quiet = ((magnitude >> 13) & 0x3ff) | 0x7e00, infinity = (magnitude & 0) | 0x7c00;
    vu half = (vu)vf_select((vi)magnitude < 0x38800000, (vf)small, (vf)normal);
    half = (vu)vf_select((vi)magnitude >= 0x47800000, (vf)infinity, (vf)half);
    half = (vu)vf_select((vi)magnitude > 0x7f800000, (vf)quiet, (vf)half);
    return __builtin_convertvector(half | sign, vh);
}
#endif

static void round_to_half(void *dst, const float *src, lk_kv_type type, size_t count) {
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        const size_t valid = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vf v = vf_load_part(src + i, valid);
        vh half = type == LK_KV_BF16 ? vh_bf16(v) : vh_f16(v);
        memcpy((char *)dst + 2 * i, &half, 2 * valid);
    }
}

static float quantize_codes(int8_t *codes, const float *src, size_t count) {
    /* The bits of magnitudes compare as integers; NaN is above infinity. */
    vi top = {0};
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        vf v = vf_load_part(src + i, count - i < LK_WIDTH ? count - i : LK_WIDTH);
        vi magnitude = (vi)v & 0x7fffffff;
        top = (vi)vf_select(magnitude > top, (vf)magnitude, (vf)top);
    }
    int32_t bits = 0;
    for (int i = 0; i < LK_WIDTH; i++) bits = top[i] > bits ? top[i] : bits;
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    const float factor = bits < 0x7f800000 ? largest / 127 : NAN;
    if (!(factor > 0)) {
        memset(codes, 0, count);
        return factor;
    }
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        const size_t valid = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vf v = vf_load_part(src + i, valid) / vf_set(factor);
        /* A subnormal factor is inexact, so the quotient can exceed 127. */
        vf code = vf_min(vf_set(127), vf_max(vf_set(-127), v)) + vf_set(12582912.0f);
        vsb signed_code = __builtin_convertvector((vi)code - (vi)vf_set(12582912.0f), vsb);
        memcpy(codes + i, &signed_code, valid);
    }
    return factor;
}
