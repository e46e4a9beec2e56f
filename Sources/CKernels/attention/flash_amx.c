/* Attention of many rows in BF16, with tiles. */
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,f16c,amx-tile,amx-bf16"))),      \
                             apply_to = function)
#define LK_FLASH_TILES
#define LK_FLASH_TABLE lk_flash_amx
#include "flash_isa.h"
#pragma clang attribute pop
#endif
