#if defined(__x86_64__)
#include "table.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define LK_WIDTH 8
#define LK_F16C
#define LK_PRODUCT_ROWS 6
#define LK_FLOAT_KERNELS lk_float_avx2
#include "float_isa.h"
#pragma clang attribute pop
#endif
