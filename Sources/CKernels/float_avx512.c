#if defined(__x86_64__)
#include "table.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#define LK_WIDTH 16
#define LK_F16C
#define LK_PRODUCT_ROWS 12
#define LK_FLOAT_KERNELS lk_float_avx512
#include "float_isa.h"
#pragma clang attribute pop
#endif
