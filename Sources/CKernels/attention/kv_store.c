/* Writes keys and values into the pages of a cache. */
#include "../table.h"
#include <string.h>

void lk_kv_store(const lk_kv_mutable_page *page, size_t first_row, const float *src, size_t row_stride,
                 size_t head_stride, size_t rows) {
    const lk_float_kernels *kernels = lk_kernels();
    const size_t dim = page->dim;
    for (size_t h = 0; h < page->heads; h++)
        for (size_t r = 0; r < rows; r++) {
            const float *row = src + r * row_stride + h * head_stride;
            const size_t to = h * page->page_rows + first_row + r;
            if (page->type == LK_KV_Q8)
                page->scales[to] = kernels->quantize_codes((int8_t *)page->data + to * dim, row, dim);
            else if (page->type == LK_KV_F32) memcpy((float *)page->data + to * dim, row, dim * sizeof(float));
            else kernels->round_to_half((uint16_t *)page->data + to * dim, row, page->type, dim);
        }
}
