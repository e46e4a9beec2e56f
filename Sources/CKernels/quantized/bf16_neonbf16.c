#if defined(__aarch64__)
#include "../table.h"
#include "blocks.h"
#include "packed.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)
#define LK_WIDTH 4
#define LK_F16C
#define LK_NEON_BF16
#define LK_BF16_KERNELS lk_bf16_neonbf16
#include "bf16_isa.h"
#pragma clang attribute pop
#endif
