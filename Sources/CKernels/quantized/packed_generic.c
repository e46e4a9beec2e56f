/* For every processor, as isa_generic.c. */
#include "blocks.h"
#include "../table.h"
#define LK_WIDTH 4
#define LK_PACKED_TABLE lk_packed_generic
#include "packed_isa.h"
