/* float_isa.h includes this file for floats. bf16_isa.h includes it, with LK_CONV_PAIRS, for BF16: 32 bits of x or of w
 * are then the values of two channels, and job->in_channels counts pairs of channels.
 *
 * Direct convolution along contiguous time. A tile of 4 output channels × some vectors of columns stays in registers
 * during the loops over input channels and taps. In every tile, a value is the same chain of multiply-adds: from the
 * bias, over input channels and then taps. If a row's length is not a multiple of the vector, the last vectors are
 * moved back over columns already written, which get the same values again. */

/* Vectors of columns in a tile: as many as the registers hold. */
#if LK_WIDTH == 16
#define LK_CONV_VECTORS 6
#elif LK_WIDTH == 8
#define LK_CONV_VECTORS 3
#else
#define LK_CONV_VECTORS 2
#endif

#ifdef LK_CONV_PAIRS
typedef vu vx;
LK_INLINE vx vx_load(const float *x) { return vu_load(x); }
LK_INLINE vx vx_set(const float *w) {
    uint32_t pair;
    memcpy(&pair, w, sizeof pair);
    return (vu){0} + pair;
}
LK_INLINE vf vx_add_product(vf sum, vx w, vx x) {
#ifdef LK_BF16_DOT
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x);
#elif defined(LK_NEON_BF16)
    return (vf)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)w, (bfloat16x8_t)x);
#else
    sum += (vf)(w << 16) * (vf)(x << 16);
    return sum + (vf)(w & 0xffff0000u) * (vf)(x & 0xffff0000u);
#endif
}
#else
typedef vf vx;
LK_INLINE vx vx_load(const float *x) { return vf_load(x); }
LK_INLINE vx vx_set(const float *w) { return vf_set(*w); }
LK_INLINE vf vx_add_product(vf sum, vx w, vx x) { return sum + w * x; }
#endif

/* Stores one vector, of which only the first `valid` columns exist. */
LK_INLINE void conv_store(const lk_conv1d_output *o, size_t co, size_t t, size_t valid, vf v) {
    float rest[LK_WIDTH] = {0};
    if (valid >= LK_WIDTH) {
        if (o->add) v += vf_load(o->add + co * o->ld_add + t);
        if (o->y) vf_store(o->y + co * o->ldy + t, v);
        if (o->activated) vf_store(o->activated + co * o->ld_activated + t, vf_max(v, v * vf_set(o->slope)));
        return;
    }
    if (o->add) {
        memcpy(rest, o->add + co * o->ld_add + t, valid * sizeof(float));
        v += vf_load(rest);
    }
    if (o->y) {
        vf_store(rest, v);
        memcpy(o->y + co * o->ldy + t, rest, valid * sizeof(float));
    }
    if (o->activated) {
        vf_store(rest, vf_max(v, v * vf_set(o->slope)));
        memcpy(o->activated + co * o->ld_activated + t, rest, valid * sizeof(float));
    }
}

/* Columns [t, t + vectors · LK_WIDTH) of one group. Callers pass a constant for `vectors`. */
LK_INLINE void conv_tile(const int vectors, const lk_conv1d_job *job, size_t group, size_t t, size_t valid) {
    vf acc[LK_CONV_GROUP][LK_CONV_VECTORS];
    const size_t first = group * LK_CONV_GROUP, kernel = job->kernel, dilation = job->dilation;
#pragma clang loop unroll(full)
    for (int r = 0; r < LK_CONV_GROUP; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vf_set(job->bias && first + r < job->out_channels ? job->bias[first + r] : 0);
    const float *w = job->packed + first * job->in_channels * kernel;
    for (size_t ci = 0; ci < job->in_channels; ci++) {
        const float *x = job->x + ci * job->ldx + t;
        for (size_t j = 0; j < kernel; j++, x += dilation, w += LK_CONV_GROUP) {
            vx column[LK_CONV_VECTORS];
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) column[v] = vx_load(x + v * LK_WIDTH);
#pragma clang loop unroll(full)
            for (int r = 0; r < LK_CONV_GROUP; r++) {
                vx weight = vx_set(w + r);
                LK_IN_ORDER(weight);
#pragma clang loop unroll(full)
                for (int v = 0; v < vectors; v++) acc[r][v] = vx_add_product(acc[r][v], weight, column[v]);
#pragma clang loop unroll(full)
                for (int v = 0; v < vectors; v++) LK_IN_ORDER(acc[r][v]);
            }
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < LK_CONV_GROUP; r++) {
        if (first + r >= job->out_channels) break;
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
            conv_store(&job->output, first + r, t + v * LK_WIDTH, valid - v * LK_WIDTH, acc[r][v]);
    }
}

static void conv_columns(int vectors, const lk_conv1d_job *job, size_t group, size_t t, size_t valid) {
    switch (vectors) {
#if LK_CONV_VECTORS > 3
    case 6: conv_tile(6, job, group, t, valid); break;
    case 5: conv_tile(5, job, group, t, valid); break;
    case 4: conv_tile(4, job, group, t, valid); break;
#endif
#if LK_CONV_VECTORS > 2
    case 3: conv_tile(3, job, group, t, valid); break;
#endif
    case 2: conv_tile(2, job, group, t, valid); break;
    default: conv_tile(1, job, group, t, valid);
    }
}

static void conv1d(const lk_conv1d_job *job, size_t first_group, size_t last_group, size_t first_column,
                   size_t last_column) {
    const size_t tile = LK_CONV_VECTORS * LK_WIDTH, count = last_column - first_column;
    for (size_t group = first_group; group < last_group; group++) {
        size_t t = first_column;
        for (; t + tile <= last_column; t += tile) conv_columns(LK_CONV_VECTORS, job, group, t, tile);
        size_t vectors = (last_column - t + LK_WIDTH - 1) / LK_WIDTH, moved = vectors * LK_WIDTH;
        if (vectors == 0) continue;
        if (moved <= count) {
            conv_columns((int)vectors, job, group, last_column - moved, moved);
        } else if (count < LK_WIDTH) {
            conv_columns(1, job, group, t, count);
        } else { /* fewer columns than the vectors cover: the whole vectors, then one moved back */
            conv_columns((int)vectors - 1, job, group, t, moved - LK_WIDTH);
            conv_columns(1, job, group, last_column - LK_WIDTH, LK_WIDTH);
        }
    }
}
