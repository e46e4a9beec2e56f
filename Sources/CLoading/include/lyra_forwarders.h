/* Defines the functions listed in the file LYRA_FUNCTIONS, whose format lyra_loading.h describes, and load_functions,
 * which finds them in their libraries once. */
#include "lyra_loading.h"
#include <stdatomic.h>
#include <stdlib.h>

typedef struct functions {
#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) __typeof__(name) *name;
#define LYRA_PROCEDURE(name, parameters, arguments) __typeof__(name) *name;
#include LYRA_FUNCTIONS
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE
} functions;

static const char *const function_names[] = {
#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_TEXT(name),
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_TEXT(name),
#include LYRA_FUNCTIONS
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE
};

/* Null until the library is loaded; then it never changes. */
static _Atomic(const functions *) found_functions;

static const functions *loaded(void) { return atomic_load_explicit(&found_functions, memory_order_acquire); }

#define LYRA_HIDDEN __attribute__((visibility("hidden")))
#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) \
    LYRA_HIDDEN type name parameters {                              \
        const functions *f = loaded();                              \
        return f ? f->name arguments : (otherwise);                 \
    }
#define LYRA_PROCEDURE(name, parameters, arguments) \
    LYRA_HIDDEN void name parameters {              \
        const functions *f = loaded();              \
        if (f) f->name arguments;                   \
    }
#include LYRA_FUNCTIONS
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* Two threads may find the functions at the same time: the first table is kept. *is_first says whether this call's was.
 * → LYRA_LOADED, or another status with a message in `reason`. */
static int load_functions(const lyra_library *libraries, size_t count, size_t room, int *is_first, char *reason,
                          size_t capacity) {
    *is_first = 0;
    if (loaded()) return LYRA_LOADED;
    functions *found = malloc(sizeof *found);
    if (!found) {
        if (capacity > 0) reason[0] = 0;
        return LYRA_LOAD_MEMORY;
    }
    int status = lyra_load(libraries, count, function_names, (void **)found,
                           sizeof function_names / sizeof *function_names, room, reason, capacity);
    const functions *none = NULL;
    *is_first = status == LYRA_LOADED && atomic_compare_exchange_strong(&found_functions, &none, found);
    if (!*is_first) free(found);
    return status;
}
