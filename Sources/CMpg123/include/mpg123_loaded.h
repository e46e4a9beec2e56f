/* libmpg123, which is loaded when lyra_mpg123_load is called; a function of it that is called without does nothing, and
 * returns an error or null. */
#pragma once

#include <mpg123.h>
#include <sys/types.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "mpg123_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* From any thread. → LYRA_LOADED, or why not, with a sentence in `reason`. */
int lyra_mpg123_load(char *reason, size_t capacity);

/* Opens a stream behind callbacks. (The functions are macros that Swift cannot import: their names depend on off_t.) */
static inline int lyra_mpg123_open(
    mpg123_handle *handle, void *data, ssize_t (*read)(void *, void *, size_t), off_t (*seek)(void *, off_t, int)) {
    int status = mpg123_replace_reader_handle(handle, read, seek, NULL);
    return status == MPG123_OK ? mpg123_open_handle(handle, data) : status;
}

static inline int lyra_mpg123_set(mpg123_handle *handle, enum mpg123_parms what, long value) {
    return mpg123_param(handle, what, value, 0);
}

/* Where the frame that was parsed last begins. */
static inline off_t lyra_mpg123_framepos(mpg123_handle *handle) { return mpg123_framepos(handle); }
