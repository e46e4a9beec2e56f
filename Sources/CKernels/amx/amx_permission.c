/* Linux gives tiles to a process that asks. */
#define _GNU_SOURCE
#include "amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static int has_tiles(void) {
    enum { OS_SAVES = 1 << 27, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, TILES = 3 << 17 };
    unsigned a, b, c, d, saved, saved_high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OS_SAVES)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE)) return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(saved_high) : "c"(0));
    return (saved & TILES) == TILES;
}

/* The system refuses if a thread of the process has a signal stack that could not hold tiles too, and afterwards refuses
 * such a stack. */
int lk_amx_permitted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    const int error = errno;
    const int permitted = has_tiles() && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
    errno = error;
    return permitted;
}
#else
int lk_amx_permitted(void) { return 0; }
#endif
