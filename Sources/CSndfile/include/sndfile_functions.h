/* What lyra uses of libsndfile; see lyra_loading.h. */
LYRA_FUNCTION(SNDFILE *, sf_open_virtual, (SF_VIRTUAL_IO *reader, int mode, SF_INFO *info, void *user),
              (reader, mode, info, user), NULL)
LYRA_FUNCTION(int, sf_close, (SNDFILE *file), (file), SF_ERR_SYSTEM)
LYRA_FUNCTION(int, sf_error, (SNDFILE *file), (file), SF_ERR_SYSTEM)
LYRA_FUNCTION(const char *, sf_strerror, (SNDFILE *file), (file), "libsndfile is not loaded")
LYRA_FUNCTION(sf_count_t, sf_readf_float, (SNDFILE *file, float *samples, sf_count_t frames), (file, samples, frames),
              0)
