/* Softmax of one tile of scores. */

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
        if (fault) { /* all weights of the row are NaN; vf_exp(NaN) could be a number */
            for (size_t j = 0; j < padded; j++) s[j] = j < n ? NAN : 0;
            row_keep[r] = 1;
            row_sum[r] = NAN;
            continue;
        }
        largest *= factor;
        if (largest < row_max[r]) largest = row_max[r];
        row_keep[r] = row_max[r] == -INFINITY ? 0 : expf(row_max[r] - largest);
        row_max[r] = largest;
        /* scores past n become exp(-inf) = 0, so that whole vectors can be used */
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
