/* What lyra uses of libmpg123; see lyra_loading.h. */
LYRA_PROCEDURE(mpg123_delete, (mpg123_handle *handle), (handle))
LYRA_FUNCTION(int, mpg123_getformat, (mpg123_handle *handle, long *rate, int *channels, int *encoding),
              (handle, rate, channels, encoding), MPG123_ERR)
LYRA_FUNCTION(off_t, mpg123_length, (mpg123_handle *handle), (handle), MPG123_ERR)
LYRA_FUNCTION(mpg123_handle *, mpg123_new, (const char *decoder, int *error), (decoder, error), NULL)
LYRA_FUNCTION(int, mpg123_open_handle, (mpg123_handle *handle, void *data), (handle, data), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_param, (mpg123_handle *handle, int what, long value, double fraction),
              (handle, what, value, fraction), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_read, (mpg123_handle *handle, void *samples, size_t bytes, size_t *done),
              (handle, samples, bytes, done), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_replace_reader_handle,
              (mpg123_handle *handle, mpg123_ssize_t (*read)(void *, void *, size_t),
               off_t (*seek)(void *, off_t, int), void (*cleanup)(void *)),
              (handle, read, seek, cleanup), MPG123_ERR)
LYRA_FUNCTION(const char *, mpg123_strerror, (mpg123_handle *handle), (handle), "libmpg123 is not loaded")
