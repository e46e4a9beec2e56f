/* Weights and scales in a block of 32 k of a panel, as vectors. packed.h describes the layout. Callers pass constants
 * except for pointers. */

/* Weights of group `i` of a block of 32 k, rows of vector `vector`. */
LK_INLINE vu block_weights(const lk_type type, const char *w, int i, int vector) {
    if (type == LK_Q8_0) {
        vu v = vu_load(w + LK_Q8_0_LINE * i + 4 * LK_WIDTH * vector);
#ifdef LK_SIGNED
        v ^= 0x80808080u;
#endif
        return v;
    }
    int at = 4 * (LK_WIDTH * vector % 16), half = LK_WIDTH * vector / 16;
    vu v = (vu_load(w + LK_HALF_LINE * i + at) >> (4 * half)) & 0x0f0f0f0fu;
    if (type == LK_Q6_K) {
        int upper = 2 * i + half;
        v |= ((vu_load(w + LK_HALVES + LK_HALF_LINE * (upper / 4) + at) >> (2 * (upper % 4))) & 0x03030303u) << 4;
    }
    return v;
}

/* Scales of the rows of vector `vector` in a block of 32 k. `super` is the header of a slice of Q4_K or Q6_K. `half`
 * selects 16 of the 32 k; only Q6_K has a scale for each half. */
LK_INLINE vf block_scales(const lk_type type, const char *w, const char *super, int half, int vector) {
    if (type == LK_Q8_0) return vf_from_f16(w + LK_Q8_0_SCALES + 2 * LK_WIDTH * vector);
    if (type == LK_Q4_0) return vf_from_f16(w + LK_HALVES + 2 * LK_WIDTH * vector);
    vf d = vf_from_f16(super + 2 * LK_WIDTH * vector);
    if (type == LK_Q4_K) return d * vf_from_u8(w + LK_HALVES + LK_WIDTH * vector);
    return d * vf_from_s8(w + LK_Q6_K_SCALES + LK_PANEL * half + LK_WIDTH * vector);
}

LK_INLINE vf block_minimums(const char *w, const char *super, int vector) {
    return vf_from_f16(super + LK_MINIMUMS + 2 * LK_WIDTH * vector) *
           vf_from_u8(w + LK_Q4_K_MINIMUMS + LK_WIDTH * vector);
}
