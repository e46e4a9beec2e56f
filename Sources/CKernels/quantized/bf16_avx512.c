#if defined(__x86_64__)
#include "../table.h"
#include "blocks.h"
#include "packed.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#define LK_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#pragma clang attribute push(__attribute__((target(LK_TARGET))), apply_to = function)
#define LK_WIDTH 16
#define LK_F16C
#define LK_BF16_KERNELS lk_bf16_avx512
#include "bf16_isa.h"
#pragma clang attribute pop
#endif
