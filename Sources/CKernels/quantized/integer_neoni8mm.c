#if defined(__aarch64__)
#include "../table.h"
#include "blocks.h"
#include "packed.h"
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
#define LK_WIDTH 4
#define LK_F16C
#define LK_NEON_MIXED
#define LK_INTEGER_KERNELS lk_integer_neoni8mm
#include "integer_isa.h"
#pragma clang attribute pop
#endif
