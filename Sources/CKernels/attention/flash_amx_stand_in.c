/* As flash_amx.c, with the functions that stand in for tiles. */
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,f16c"))),      \
                             apply_to = function)
#define LK_FLASH_TILES
#define LK_AMX_STAND_IN
#define LK_FLASH_TABLE lk_flash_amx_stand_in
#include "flash_isa.h"
#pragma clang attribute pop
#endif
