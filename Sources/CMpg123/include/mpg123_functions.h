/* What lyra uses of libmpg123; see lyra_loading.h. */
LYRA_PROCEDURE(mpg123_delete, (mpg123_handle *handle), (handle))
LYRA_FUNCTION(int, mpg123_errcode, (mpg123_handle *handle), (handle), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_framebyframe_decode,
              (mpg123_handle *handle, off_t *number, unsigned char **samples, size_t *bytes),
              (handle, number, samples, bytes), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_framebyframe_next, (mpg123_handle *handle), (handle), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_framedata,
              (mpg123_handle *handle, unsigned long *header, unsigned char **body, size_t *bytes),
              (handle, header, body, bytes), MPG123_ERR)
LYRA_FUNCTION(off_t, mpg123_framepos, (mpg123_handle *handle), (handle), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_getformat, (mpg123_handle *handle, long *rate, int *channels, int *encoding),
              (handle, rate, channels, encoding), MPG123_ERR)
LYRA_FUNCTION(off_t, mpg123_length, (mpg123_handle *handle), (handle), MPG123_ERR)
LYRA_FUNCTION(mpg123_handle *, mpg123_new, (const char *decoder, int *error), (decoder, error), NULL)
LYRA_FUNCTION(int, mpg123_open_handle, (mpg123_handle *handle, void *data), (handle, data), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_param, (mpg123_handle *handle, int what, long value, double fraction),
              (handle, what, value, fraction), MPG123_ERR)
LYRA_FUNCTION(int, mpg123_replace_reader_handle,
              (mpg123_handle *handle, mpg123_ssize_t (*read)(void *, void *, size_t),
               off_t (*seek)(void *, off_t, int), void (*cleanup)(void *)),
              (handle, read, seek, cleanup), MPG123_ERR)
LYRA_FUNCTION(const char *, mpg123_strerror, (mpg123_handle *handle), (handle), "libmpg123 is not loaded")
