/* Direct convolution along contiguous time. */

#define LK_CONV_ROWS 4

/* Placeholder-free reference form: correct for every shape. */
static void conv1d(float *y, size_t ldy, const float *x, size_t ldx, size_t out_columns, const float *packed,
                   const float *bias, size_t in_channels, size_t out_channels, size_t kernel, size_t dilation) {
    for (size_t co = 0; co < out_channels; co++)
        for (size_t t = 0; t < out_columns; t++) {
            float total = bias ? bias[co] : 0;
            for (size_t ci = 0; ci < in_channels; ci++)
                for (size_t j = 0; j < kernel; j++)
                    total += packed[((co / LK_CONV_ROWS * in_channels + ci) * kernel + j) * LK_CONV_ROWS + co % LK_CONV_ROWS] *
                             x[ci * ldx + t + j * dilation];
            y[co * ldy + t] = total;
        }
}
