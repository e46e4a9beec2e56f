/* For every processor: vectors of four, which the compiler maps to what the target has (SSE2, NEON, or scalars). */
#define LK_WIDTH 4
#define LK_PRODUCT_ROWS 3
#define LK_FLOAT_KERNELS lk_float_generic
#include "float_isa.h"
