/* Sizes of packed weights. */
#ifndef LYRA_KERNELS_PACKED_LAYOUT_H
#define LYRA_KERNELS_PACKED_LAYOUT_H

#include "packed.h"

/* Columns of w (k), and bytes, of one slice. */
static inline size_t lk_slice_depth(lk_type type) { return type == LK_BF16 ? 2 : lk_block_elements(type); }

static inline size_t lk_slice_bytes(lk_type type) {
    switch (type) {
    case LK_BF16: return LK_BF16_SLICE;
    case LK_Q8_0: return LK_Q8_0_SLICE;
    case LK_Q4_0: return LK_Q4_0_SLICE;
    case LK_Q4_K: return LK_Q4_K_SLICE;
    default: return LK_Q6_K_SLICE;
    }
}

static inline size_t lk_slices(lk_type type, size_t k) { return (k + lk_slice_depth(type) - 1) / lk_slice_depth(type); }
static inline size_t lk_panel_bytes(lk_type type, size_t k) { return lk_slices(type, k) * lk_slice_bytes(type); }

#endif
