/* For every processor, as float_generic.c. */
#include "../table.h"
#include <string.h>
#define LK_WIDTH 4
#define LK_AMX_STAND_IN
#define LK_AMX_KERNELS lk_amx_stand_in
#include "amx_isa.h"
