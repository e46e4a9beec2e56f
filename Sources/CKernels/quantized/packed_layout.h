/* The form of packed weights in numbers. */
#ifndef LYRA_KERNELS_PACKED_LAYOUT_H
#define LYRA_KERNELS_PACKED_LAYOUT_H

#include "packed.h"

/* k of one unit, and its bytes. */
static inline size_t lk_unit_depth(lk_type type) { return type == LK_BF16 ? 2 : lk_block_elements(type); }

static inline size_t lk_unit_bytes(lk_type type) {
    switch (type) {
    case LK_BF16: return LK_BF16_UNIT;
    case LK_Q8_0: return LK_Q8_0_UNIT;
    case LK_Q4_0: return LK_Q4_0_UNIT;
    case LK_Q4_K: return LK_Q4_K_UNIT;
    default: return LK_Q6_K_UNIT;
    }
}

static inline size_t lk_units(lk_type type, size_t k) { return (k + lk_unit_depth(type) - 1) / lk_unit_depth(type); }
static inline size_t lk_panel_bytes(lk_type type, size_t k) { return lk_units(type, k) * lk_unit_bytes(type); }

#endif
