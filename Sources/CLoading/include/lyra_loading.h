/* Opens shared libraries on first use, so that lyra starts without them.
 *
 * The target of a library lists the functions that lyra calls in a file with lines such as
 *
 *     LYRA_FUNCTION(RETURN TYPE, NAME, (PARAMETERS), (ARGUMENTS), RESULT WHILE THE LIBRARY IS NOT LOADED)
 *     LYRA_PROCEDURE(NAME, (PARAMETERS), (ARGUMENTS))
 *
 * and includes that file twice. The target's header includes the library's own header, then renames the symbol of each
 * function to lyra_dl_NAME with LYRA_RENAME: C and Swift call the functions by their usual names, but lyra defines no
 * symbol that could replace one of the host's own copy of the library. The target's C file includes lyra_forwarders.h,
 * which defines these symbols: they call the functions found in the library.
 */
#ifndef LYRA_LOADING_H
#define LYRA_LOADING_H

#include <stddef.h>

typedef struct lyra_library {
    const char *file;    /* its SONAME */
    const char *package; /* Debian's name for it, for the message */
    const char *version; /* its function that returns the version, major from bit 16 up; null: any version */
    unsigned major;      /* the required major version, that of the headers: structs differ between versions */
} lyra_library;

enum {
    LYRA_LOADED = 0,
    LYRA_LOAD_MISSING = 1, /* not installed, damaged, or of another version */
    LYRA_LOAD_MEMORY = 2,
    LYRA_LOAD_IO = 3 /* the system refuses to open the file: too many open files, no permission */
};

/* Opens `libraries` and finds the function of each of `names` in one of them. The libraries stay open; the rest of the
 * process does not see their symbols. Thread-safe.
 *
 * `room`: bytes of address space that the libraries map. lyra_load checks it first, because the initializers of a
 * library may crash without memory.
 * → a status; in `addresses` one address for each name. On failure the libraries are closed again, and `reason` holds a
 * message. */
int lyra_load(const lyra_library *libraries, size_t count, const char *const *names, void **addresses, size_t functions,
              size_t room, char *reason, size_t capacity);

#define LYRA_TEXT_(text) #text
#define LYRA_TEXT(text) LYRA_TEXT_(text)
#define LYRA_PRAGMA_(text) _Pragma(#text)
#define LYRA_RENAME(name) LYRA_PRAGMA_(redefine_extname name lyra_dl_##name)

#endif
