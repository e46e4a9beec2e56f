#include "sound_writer.h"
#include <sndfile.h>

int write_sound_file(const char *path, const float *samples, long frames, int channels, int sample_rate, int format) {
    SF_INFO info = {.samplerate = sample_rate, .channels = channels, .format = format};
    SNDFILE *file = sf_format_check(&info) ? sf_open(path, SFM_WRITE, &info) : NULL;
    if (!file) return 0;
    long done = 0, count = 1;
    /* In pieces, because libsndfile's Vorbis encoder keeps a whole write on the stack. */
    for (; done < frames && count > 0; done += count) {
        long piece = 4096 / channels;
        count = sf_writef_float(file, samples + done * channels, frames - done < piece ? frames - done : piece);
    }
    return sf_close(file) == 0 && done == frames;
}
