/* For every processor, as float_generic.c. */
#define LK_WIDTH 4
#define LK_BF16_KERNELS lk_bf16_generic
#include "bf16_isa.h"
