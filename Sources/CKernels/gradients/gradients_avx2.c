#if defined(__x86_64__)
#include "gradients.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define LK_WIDTH 8
#define LK_F16C
#define LK_GRADIENT_KERNELS lk_gradients_avx2
#include "gradients_isa.h"
#pragma clang attribute pop
#endif
