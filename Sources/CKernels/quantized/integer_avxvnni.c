#if defined(__x86_64__)
#include "../table.h"
#include "blocks.h"
#include "packed.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#define LK_TARGET "avx2,fma,f16c,avxvnni"
#pragma clang attribute push(__attribute__((target(LK_TARGET))), apply_to = function)
#define LK_WIDTH 8
#define LK_VNNI
#define LK_F16C
#define LK_INTEGER_KERNELS lk_integer_avxvnni
#include "integer_isa.h"
#pragma clang attribute pop
#endif
