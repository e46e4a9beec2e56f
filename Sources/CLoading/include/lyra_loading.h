/* Shared libraries that are opened when they are first needed, so that lyra starts, and does what it can, without them.
 *
 * A target that stands for such a library lists the functions that lyra uses in a file of lines
 *
 *     LYRA_FUNCTION(RETURNS, NAME, (PARAMETERS), (ARGUMENTS), WHAT IT RETURNS AS LONG AS THE LIBRARY IS NOT LOADED)
 *     LYRA_PROCEDURE(NAME, (PARAMETERS), (ARGUMENTS))
 *
 * and includes it twice. Its header, after the library's own, gives each function the symbol lyra_dl_NAME by LYRA_RENAME:
 * callers, Swift's among them, use the names that they know, while no plain name is defined that could stand in for a
 * host's own library. Its C file defines these symbols by LYRA_FORWARDERS: they call what was found in the library.
 */
#ifndef LYRA_LOADING_H
#define LYRA_LOADING_H

#include <stddef.h>

typedef struct lyra_library {
    const char *file;    /* its SONAME */
    const char *package; /* Debian's, for the message */
    const char *version; /* a function that returns its version, with the major in bits 16 and up; or null */
    unsigned major;      /* what that must be: the header's, since structs differ */
} lyra_library;

enum {
    LYRA_LOADED = 0,
    LYRA_LOAD_MISSING = 1, /* not installed, damaged, or of another version */
    LYRA_LOAD_MEMORY = 2,
    LYRA_LOAD_IO = 3 /* the system refuses to open the file: too many open files, no permission */
};

/* Opens `libraries` and finds each of `names` in one of them. They are never closed again, and stay out of the way of
 * what else the process has loaded. Any number of threads may call it at once.
 *
 * `room`: bytes of addresses that opening them takes, which are looked for first: what libraries do as they are opened
 * does not bear a failure.
 * → addresses: one for each name. On failure nothing was kept, and `reason` has a sentence for a person. */
int lyra_load(const lyra_library *libraries, size_t count, const char *const *names, void **addresses, size_t functions,
              size_t room, char *reason, size_t capacity);

#define LYRA_TEXT_(text) #text
#define LYRA_TEXT(text) LYRA_TEXT_(text)
#define LYRA_PRAGMA_(text) _Pragma(#text)
#define LYRA_RENAME(name) LYRA_PRAGMA_(redefine_extname name lyra_dl_##name)

#endif
