/* A recording from a file, bytes, a reader and as samples; readers that fail; each reader is closed once. */
#include "memory_file.h"

#include <math.h>

typedef struct {
    int32_t ids[64];
    size_t count;
    lyra_status status;
    int ends;
} outcome;

static outcome finish(lyra_session *session) {
    outcome result;
    uint32_t events = 0;
    memset(&result, 0, sizeof result);
    need(lyra_feed_text(session, "What is said?", 13), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    while (!(events & LYRA_EVENT_END) && result.status == LYRA_OK) result.status = lyra_step(session, &events);
    result.ends = (events & LYRA_EVENT_END) != 0;
    need(lyra_read_tokens(session, result.ids, 64, &result.count), "ids are read");
    return result;
}

static int same(outcome a, outcome b) {
    return a.status == LYRA_OK && b.status == LYRA_OK && a.count > 0 && a.count == b.count &&
           memcmp(a.ids, b.ids, a.count * sizeof *a.ids) == 0;
}

/* The samples of a WAV file with a header of 44 bytes and 16-bit mono samples, as examples/python writes it. */
static float *samples_of(const memory_file *file, size_t *count, int32_t *rate) {
    *count = (file->count - 44) / 2;
    *rate = (int32_t)(file->bytes[24] | file->bytes[25] << 8 | file->bytes[26] << 16);
    float *samples = malloc(*count * sizeof *samples);
    if (samples == NULL) exit(1);
    for (size_t i = 0; i < *count; i++) {
        const int value = file->bytes[44 + 2 * i] | file->bytes[45 + 2 * i] << 8;
        samples[i] = (float)(value >= 32768 ? value - 65536 : value) / 32768;
    }
    return samples;
}

static void same_recording(lyra_session *session, const char *path, memory_file *file) {
    need(lyra_feed_audio_file(session, path), "a file is fed");
    const outcome expected = finish(session);
    check(expected.status == LYRA_OK && expected.count > 0, "a turn of a file is answered");

    need(lyra_reset(session), "reset");
    need(lyra_feed_audio_bytes(session, file->bytes, file->count), "bytes are fed");
    check(same(expected, finish(session)), "bytes have the answer of the file");

    need(lyra_reset(session), "reset");
    lyra_reader reader = reader_over(file);
    need(lyra_feed_audio_reader(session, &reader), "a reader is fed");
    memset(&reader, 0xA5, sizeof reader); /* the struct was copied */
    check(same(expected, finish(session)), "a reader has the answer of the file");
    check(file->closes == 1, "after the turn the reader is closed once");

    size_t count;
    int32_t rate;
    float *samples = samples_of(file, &count, &rate);
    need(lyra_reset(session), "reset");
    need(lyra_feed_audio_pcm(session, samples, count, 1, rate), "samples are fed");
    check(same(expected, finish(session)), "samples have the answer of the file");

    need(lyra_reset(session), "reset");
    for (size_t at = 0; at < count; at += 777) {
        const size_t piece = count - at < 777 ? count - at : 777;
        need(lyra_feed_audio_pcm(session, samples + at, piece, 1, rate), "a piece of samples is fed");
    }
    need(lyra_feed_audio_end(session), "the samples end");
    need(lyra_feed_audio_end(session), "ending an ended recording is no error");
    check(same(expected, finish(session)), "samples in pieces have the answer of the file");

    float *stereo = malloc(2 * count * sizeof *stereo);
    if (stereo == NULL) exit(1);
    for (size_t i = 0; i < count; i++) stereo[2 * i] = stereo[2 * i + 1] = samples[i];
    need(lyra_reset(session), "reset");
    need(lyra_feed_audio_pcm(session, stereo, count, 2, rate), "stereo samples are fed");
    check(same(expected, finish(session)), "two equal channels have the answer of one");
    free(stereo);

    need(lyra_reset(session), "reset");
    need(lyra_feed_audio_pcm(session, samples, 10, 1, rate), "samples are fed");
    check_status(lyra_feed_audio_pcm(session, samples, 10, 1, rate + 1), LYRA_E_ARGUMENT, "the rate does not change");
    check_status(lyra_feed_audio_pcm(session, samples, 5, 2, rate), LYRA_E_ARGUMENT, "the channels do not change");
    const float faulty[3] = {0, 0, (float)INFINITY};
    check_status(lyra_feed_audio_pcm(session, faulty, 3, 1, rate), LYRA_E_ARGUMENT, "a sample that is not finite");
    check(strstr(lyra_last_error(), "sample 12 ") != NULL, "the message counts from the start of the recording");
    need(lyra_feed_audio_end(session), "the samples end");
    check_status(lyra_feed_audio_pcm(session, samples, 10, 1, rate + 1), LYRA_OK, "a new recording has its own rate");
    need(lyra_reset(session), "reset");
    check_status(lyra_feed_audio_pcm(session, samples, 0, 1, rate), LYRA_OK, "a recording of no samples is fed");
    const outcome silence = finish(session);
    check(silence.status == LYRA_OK && silence.ends, "and is answered");
    free(samples);
}

static void failing_readers(lyra_session *session, memory_file *file) {
    need(lyra_reset(session), "reset");
    lyra_reader reader = reader_over(file);
    file->fail_after = 0;
    const lyra_status status = lyra_feed_audio_reader(session, &reader);
    check_status(status, LYRA_E_IO, "a reader whose first read fails");
    check(file->closes == 1, "the reader is closed once");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "and nothing was fed");

    reader = reader_over(file);
    reader.seek = NULL;
    check_status(lyra_feed_audio_reader(session, &reader), LYRA_E_ARGUMENT, "a reader without a seek function");
    check(file->closes == 1, "the reader is closed once");

    memory_file noise = *file;
    noise.bytes = calloc(1, 5000);
    noise.count = 5000;
    if (noise.bytes == NULL) exit(1);
    reader = reader_over(&noise);
    check_status(lyra_feed_audio_reader(session, &reader), LYRA_E_FORMAT, "a reader of zeros");
    check(noise.closes == 1, "the reader is closed once");
    check_status(lyra_feed_audio_bytes(session, noise.bytes, noise.count), LYRA_E_FORMAT, "bytes of zeros");
    free(noise.bytes);

    reader = reader_over(file);
    need(lyra_feed_audio_reader(session, &reader), "a reader is fed");
    file->fail_after = 0;
    const outcome broken = finish(session);
    check(broken.status == LYRA_E_IO && broken.ends, "a reader that fails later ends the turn with LYRA_E_IO");
    check(file->closes == 1, "the reader is closed once");
    need(lyra_feed_text(session, "hello", 5), "the session can be fed after that");
    const outcome after = finish(session);
    check(after.status == LYRA_OK && after.count > 0, "and answers");

    reader = reader_over(file);
    need(lyra_feed_audio_reader(session, &reader), "a reader is fed");
    need(lyra_cancel(session), "cancel");
    need(lyra_reset(session), "reset");
    check(file->closes == 1, "a reader of a discarded turn is closed once");

    reader = reader_over(file);
    need(lyra_feed_audio_reader(session, &reader), "a reader is fed");
    need(lyra_session_destroy(session), "the session is destroyed");
    check(file->closes == 1, "a reader of a destroyed session is closed once");

    reader = reader_over(file);
    check_status(lyra_feed_audio_reader(session, &reader), LYRA_E_CLOSED, "a closed session takes no reader");
    check(file->closes == 1, "the reader is closed once");
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    lyra_session *session = greedy_session(model);
    memory_file file = load(argv[2]);
    same_recording(session, argv[2], &file);
    failing_readers(session, &file);
    need(lyra_model_close(model), "the model is closed");
    free(file.bytes);
    return check_failures != 0;
}
