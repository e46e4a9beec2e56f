/* What one core can do at most: loops that read memory or multiply what is in registers. Included by packed_isa.h. */

/* Sums that do not wait for each other: as many as hide what one operation takes. */
enum { LK_CHAINS = 12 };

/* Eight vectors at a time, from end to end, with the lines of a while later asked for: without that one core reaches
 * two thirds of it. */
static uint32_t read_bytes(const void *data, size_t bytes) {
    enum { LINE = 64, AHEAD = 1024 };
    const char *p = data;
    vu sums[8] = {{0}};
    for (size_t i = 0; i + sizeof sums <= bytes; i += sizeof sums) {
        for (size_t line = 0; line < sizeof sums; line += LINE) __builtin_prefetch(p + i + AHEAD + line, 0, 3);
        LK_UNROLL for (int v = 0; v < 8; v++) sums[v] += vu_load(p + i + v * sizeof(vu));
    }
    uint32_t total = 0;
    for (int v = 0; v < 8; v++)
        for (int lane = 0; lane < LK_WIDTH; lane++) total += sums[v][lane];
    return total;
}

/* Products of bytes, as the fastest kernel adds them before sums need more than 16 bits. */
LK_INLINE vi add_bytes(vi sums, vu *weights) {
    LK_IN_ORDER(*weights); /* so that their product is computed every time */
#ifdef LK_PAIRS
    return (vi)((vs)sums + vs_pairs(*weights, 0x01010101));
#else
    return vi_dot(sums, *weights, 0x01010101);
#endif
}

/* `kind` is a constant wherever this is inlined. */
LK_INLINE double peak_of(const lk_peak kind, size_t rounds) {
    vf sums[LK_CHAINS];
    vf factor = vf_set(0.5f);
    LK_IN_ORDER(factor); /* its square is computed, not known */
    vu weights = (vu){0} + 0x01010101u;
    const float pair[2] = {0.5f, 0.5f};
    LK_UNROLL for (int i = 0; i < LK_CHAINS; i++) sums[i] = vf_set(0);
    for (size_t round = 0; round < rounds; round++)
        LK_UNROLL for (int i = 0; i < LK_CHAINS; i++) {
            if (kind == LK_PEAK_F32) sums[i] += factor * factor;
            else if (kind == LK_PEAK_BF16) sums[i] = vf_dot_pairs(sums[i], weights, (const char *)pair);
            else sums[i] = (vf)add_bytes((vi)sums[i], &weights);
            LK_IN_ORDER(sums[i]);
        }
    const double products = kind == LK_PEAK_F32 ? 1 : kind == LK_PEAK_BF16 ? 2 : 4;
    return 2 * products * LK_WIDTH * LK_CHAINS * (double)rounds;
}

/* Runs `rounds` of one kind of product; gives the multiplications and additions that they were. */
static double peak(lk_peak kind, size_t rounds) {
    switch (kind) {
    case LK_PEAK_F32: return peak_of(LK_PEAK_F32, rounds);
    case LK_PEAK_BF16: return peak_of(LK_PEAK_BF16, rounds);
    default: return peak_of(LK_PEAK_INT8, rounds);
    }
}
