#include "table.h"
#include <string.h>

/* Output channels are packed in groups of this many, so that one load feeds a whole group. */
enum { GROUP = 4 };

size_t lk_conv1d_packed_count(size_t in_channels, size_t out_channels, size_t kernel) {
    return (out_channels + GROUP - 1) / GROUP * GROUP * in_channels * kernel;
}

void lk_conv1d_pack(float *packed, const float *w, size_t in_channels, size_t out_channels, size_t kernel) {
    memset(packed, 0, lk_conv1d_packed_count(in_channels, out_channels, kernel) * sizeof(float));
    for (size_t co = 0; co < out_channels; co++)
        for (size_t ci = 0; ci < in_channels; ci++)
            for (size_t j = 0; j < kernel; j++)
                packed[((co / GROUP * in_channels + ci) * kernel + j) * GROUP + co % GROUP] =
                    w[(co * in_channels + ci) * kernel + j];
}

void lk_conv1d(float *y, size_t ldy, const float *x, size_t ldx, size_t out_columns, const float *packed,
               const float *bias, size_t in_channels, size_t out_channels, size_t kernel, size_t dilation) {
    lk_kernels()->conv1d(y, ldy, x, ldx, out_columns, packed, bias, in_channels, out_channels, kernel, dilation);
}
