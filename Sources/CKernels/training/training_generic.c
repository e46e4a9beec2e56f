/* For every processor: vectors of four, which the compiler maps to what the target has (SSE2, NEON, or scalars). */
#define LK_WIDTH 4
#define LK_TRAINING_KERNELS lk_training_generic
#include "training_isa.h"
