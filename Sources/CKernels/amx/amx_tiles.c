#if defined(__x86_64__)
#include "../table.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#define LK_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,amx-tile,amx-bf16"
#pragma clang attribute push(__attribute__((target(LK_TARGET))), apply_to = function)
#define LK_WIDTH 16
#define LK_F16C
#define LK_AMX_KERNELS lk_amx_tiles
#include "amx_isa.h"
#pragma clang attribute pop
#endif
