#pragma once

#include <mpg123.h>
#include <sys/types.h>

/* Opens a stream behind callbacks. (The functions are macros that Swift cannot import: their names depend on off_t.) */
static inline int lyra_mpg123_open(
    mpg123_handle *handle, void *data, ssize_t (*read)(void *, void *, size_t), off_t (*seek)(void *, off_t, int)) {
    int status = mpg123_replace_reader_handle(handle, read, seek, NULL);
    return status == MPG123_OK ? mpg123_open_handle(handle, data) : status;
}

static inline int lyra_mpg123_set(mpg123_handle *handle, enum mpg123_parms what, long value) {
    return mpg123_param(handle, what, value, 0);
}
