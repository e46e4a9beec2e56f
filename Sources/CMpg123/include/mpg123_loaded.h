/* libmpg123, loaded by lyra_mpg123_load. Until then its functions do nothing and return an error or null. */
#pragma once

#include <mpg123.h>
#include <sys/types.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "mpg123_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* Thread-safe. → LYRA_LOADED, or another status with a message in `reason`. */
int lyra_mpg123_load(char *reason, size_t capacity);

/* Opens a stream that callbacks read. libmpg123's names for these functions are macros, which Swift cannot import. */
static inline int lyra_mpg123_open(
    mpg123_handle *handle, void *data, ssize_t (*read)(void *, void *, size_t), off_t (*seek)(void *, off_t, int)) {
    int status = mpg123_replace_reader_handle(handle, read, seek, NULL);
    return status == MPG123_OK ? mpg123_open_handle(handle, data) : status;
}

static inline int lyra_mpg123_set(mpg123_handle *handle, enum mpg123_parms what, long value) {
    return mpg123_param(handle, what, value, 0);
}

/* The byte offset of the frame that was parsed last. */
static inline off_t lyra_mpg123_framepos(mpg123_handle *handle) { return mpg123_framepos(handle); }
