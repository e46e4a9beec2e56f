/* Sound files for tests, as libsndfile writes them. */
#pragma once

/* Writes interleaved samples in a format of libsndfile. → 0 if the installed libsndfile cannot write it */
int write_sound_file(const char *path, const float *samples, long frames, int channels, int sample_rate, int format);
