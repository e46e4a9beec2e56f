#include "include/lyra_memory.h"
#include <stdatomic.h>
#include <stddef.h>

typedef void (*free_function)(void);

static _Atomic(free_function) hook;

void lyra_on_shortage(void (*free_kept)(void)) { atomic_store(&hook, free_kept); }

int lyra_free_kept(void) {
    free_function free_kept = atomic_load(&hook);
    if (!free_kept) return 0;
    free_kept();
    return 1;
}
