/* Writing keys and values into the pages of a cache. */
#include "table.h"
#include <string.h>

void lk_kv_store(void *page, float *scales, lk_kv_type type, size_t first_row, const float *src, size_t stride,
                 size_t rows, size_t kv_heads, size_t dim) {
    const lk_table *kernels = lk_kernels();
    size_t columns = kv_heads * dim;
    for (size_t r = first_row; r < first_row + rows; r++, src += stride) {
        if (type == LK_KV_Q8) {
            for (size_t h = 0; h < kv_heads; h++)
                scales[r * kv_heads + h] =
                    kernels->quantize((int8_t *)page + r * columns + h * dim, src + h * dim, dim);
        } else if (type == LK_KV_F32) {
            memcpy((float *)page + r * columns, src, columns * sizeof(float));
        } else {
            kernels->narrow((uint16_t *)page + r * columns, src, type, columns);
        }
    }
}
