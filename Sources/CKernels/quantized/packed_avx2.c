#if defined(__x86_64__)
#include "blocks.h"
#include "../table.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define LK_WIDTH 8
#define LK_F16C
#define LK_PACKED_TABLE lk_packed_avx2
#include "packed_isa.h"
#pragma clang attribute pop
#endif
