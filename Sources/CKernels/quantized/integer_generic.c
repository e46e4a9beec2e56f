/* For every processor, as float_generic.c. */
#define LK_WIDTH 4
#define LK_INTEGER_KERNELS lk_integer_generic
#include "integer_isa.h"
