#define _GNU_SOURCE
#include "lyra_loading.h"
#include "lyra_memory.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST_LIBRARIES = 8 };

static int refuse(int status, char *reason, size_t capacity, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (capacity > 0) vsnprintf(reason, capacity, format, arguments);
    va_end(arguments);
    return status;
}

static int is_open(const char *file) {
    void *handle = dlopen(file, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (handle) dlclose(handle);
    return handle != NULL;
}

/* Whether that many bytes of address space are free (RLIMIT_AS). The probe takes no memory. */
static int has_room(size_t bytes) {
    void *probe = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) return 0;
    munmap(probe, bytes);
    return 1;
}

/* Whether the loader's sentence names this error. The host may have chosen the sentence's language. */
static int names_error(const char *sentence, int error) {
    char buffer[128] = "";
    return strstr(sentence, strerror_r(error, buffer, sizeof buffer)) != NULL;
}

/* MISSING is for a file that is absent or damaged: the system may also refuse to open a library that is there. */
static int cause_of_failure(const char *sentence) {
    static const int refusals[] = {EMFILE, ENFILE, EACCES, EIO};
    if (names_error(sentence, ENOMEM) || strstr(sentence, "allocate memory")) return LYRA_LOAD_MEMORY;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (names_error(sentence, refusals[i])) return LYRA_LOAD_IO;
    return LYRA_LOAD_MISSING;
}

static int open_library(const lyra_library *library, void **handle, char *reason, size_t capacity) {
    *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
    if (!*handle) {
        const char *message = dlerror();
        if (!message) message = "";
        int cause = cause_of_failure(message);
        if (cause == LYRA_LOAD_MEMORY)
            return refuse(cause, reason, capacity, "no memory to load %s (%s)", library->file, message);
        if (cause == LYRA_LOAD_IO)
            return refuse(cause, reason, capacity, "the library %s cannot be opened: %s", library->file, message);
        return refuse(cause, reason, capacity, "the library %s cannot be loaded; install it (Debian: %s). %s",
                      library->file, library->package, message);
    }
    if (!library->version) return LYRA_LOADED;
    unsigned (*version)(void) = (unsigned (*)(void))dlsym(*handle, library->version);
    unsigned major = version ? version() >> 16 : 0;
    if (major == library->major) return LYRA_LOADED;
    return refuse(LYRA_LOAD_MISSING, reason, capacity,
                  "the library %s has version %u, but lyra was built for %u; install that version (Debian: %s)",
                  library->file, major, library->major, library->package);
}

static int find_functions(const lyra_library *libraries, void *const *handles, size_t count, const char *const *names,
                          void **addresses, size_t functions, char *reason, size_t capacity) {
    for (size_t f = 0; f < functions; f++) {
        void *address = NULL;
        for (size_t i = 0; i < count && !address; i++) address = dlsym(handles[i], names[f]);
        if (!address)
            return refuse(LYRA_LOAD_MISSING, reason, capacity,
                          "the library %s has no function %s; install a newer one (Debian: %s)", libraries[0].file,
                          names[f], libraries[0].package);
        addresses[f] = address;
    }
    return LYRA_LOADED;
}

int lyra_load(const lyra_library *libraries, size_t count, const char *const *names, void **addresses, size_t functions,
              size_t room, char *reason, size_t capacity) {
    void *handles[MOST_LIBRARIES] = {NULL};
    int status = LYRA_LOADED;
    if (!is_open(libraries[0].file) && !has_room(room) && !(lyra_free_kept() && has_room(room)))
        return refuse(LYRA_LOAD_MEMORY, reason, capacity, "no memory to load %s: it needs %zu MiB of address space",
                      libraries[0].file, room >> 20);
    for (size_t i = 0; i < count && status == LYRA_LOADED; i++)
        status = open_library(&libraries[i], &handles[i], reason, capacity);
    if (status == LYRA_LOADED)
        status = find_functions(libraries, handles, count, names, addresses, functions, reason, capacity);
    if (status == LYRA_LOADED) return status;
    for (size_t i = 0; i < count; i++)
        if (handles[i]) dlclose(handles[i]);
    return status;
}
