/* For every processor: vectors of four, which the compiler maps to what the target has. */
#define LK_WIDTH 4
#define LK_GRADIENT_KERNELS lk_gradients_generic
#include "gradients_isa.h"
