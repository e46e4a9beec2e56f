/* Asks a model about a recording: text streams to standard output, and the spoken answer goes into a WAV file.
 *
 *     speak [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] AUDIO OUT.wav [PROMPT]
 *
 * The model is lyra:nano, if lyra was built with it, unless another is named. Without a prompt, the recording is the
 * question.
 *
 * Exit status: 0, 1 after an error (with one line on standard error), 64 for wrong usage. */
#include <lyra.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- WAV files */

enum { WAV_HEADER_BYTES = 44, WAV_BYTES_PER_SAMPLE = 2 };

typedef struct {
    FILE *file;
    const char *path;
    uint32_t sample_rate;
    uint32_t samples;
} wav_writer;

static void put_little_endian(unsigned char *at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

/* Writes the header, for the samples so far, at the start of the file. Returns 0, or -1 on failure. */
static int wav_write_header(wav_writer *wav) {
    const uint32_t data_bytes = wav->samples * WAV_BYTES_PER_SAMPLE;
    unsigned char header[WAV_HEADER_BYTES] = "RIFF....WAVEfmt ";
    put_little_endian(header + 4, WAV_HEADER_BYTES - 8 + data_bytes, 4);
    put_little_endian(header + 16, 16, 4); /* bytes of the format chunk */
    put_little_endian(header + 20, 1, 2);  /* integer PCM */
    put_little_endian(header + 22, 1, 2);  /* channels */
    put_little_endian(header + 24, wav->sample_rate, 4);
    put_little_endian(header + 28, wav->sample_rate * WAV_BYTES_PER_SAMPLE, 4);
    put_little_endian(header + 32, WAV_BYTES_PER_SAMPLE, 2);
    put_little_endian(header + 34, 8 * WAV_BYTES_PER_SAMPLE, 2);
    memcpy(header + 36, "data", 4);
    put_little_endian(header + 40, data_bytes, 4);
    if (fseek(wav->file, 0, SEEK_SET) != 0) return -1;
    return fwrite(header, 1, sizeof header, wav->file) == sizeof header ? 0 : -1;
}

/* Creates the file, or empties an existing one: not called before there are samples. Returns 0, or -1 on failure. */
static int wav_open(wav_writer *wav) {
    if (wav->file != NULL) return 0;
    wav->file = fopen(wav->path, "wb");
    return wav->file != NULL ? wav_write_header(wav) : -1;
}

/* Appends samples in -1…1. Returns 0, or -1 on failure. */
static int wav_write(wav_writer *wav, const float *samples, size_t count) {
    if (count == 0) return 0;
    if (wav_open(wav) != 0) return -1;
    if (count > (UINT32_MAX - WAV_HEADER_BYTES) / WAV_BYTES_PER_SAMPLE - wav->samples) {
        errno = EFBIG;
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const float sample = samples[i] < -1 ? -1 : samples[i] > 1 ? 1 : samples[i];
        unsigned char bytes[WAV_BYTES_PER_SAMPLE];
        put_little_endian(bytes, (uint32_t)(int32_t)(sample * 32767), WAV_BYTES_PER_SAMPLE);
        if (fwrite(bytes, 1, sizeof bytes, wav->file) != sizeof bytes) return -1;
    }
    wav->samples += (uint32_t)count;
    return 0;
}

/* Completes the header and closes the file. Returns 0, or -1 on failure. */
static int wav_finish(wav_writer *wav) {
    if (wav_open(wav) != 0 || wav_write_header(wav) != 0) return -1;
    FILE *file = wav->file;
    wav->file = NULL;
    return fclose(file) == 0 ? 0 : -1;
}

/* ------------------------------------------------------------------------------------------------------- the answer */

static int lyra_failed(const char *what, lyra_status status) {
    fprintf(stderr, "speak: %s: %s (%s)\n", what, lyra_last_error(), lyra_status_name(status));
    return -1;
}

static int file_failed(const char *path) {
    fprintf(stderr, "speak: %s: %s\n", path, strerror(errno));
    return -1;
}

/* Writes all unread text to standard output. */
static int drain_text(lyra_session *session) {
    char text[256];
    size_t bytes = 1;
    while (bytes > 0) {
        const lyra_status status = lyra_read_text(session, text, sizeof text, &bytes);
        if (status != LYRA_OK) return lyra_failed("reading text", status);
        if (fwrite(text, 1, bytes, stdout) != bytes) return file_failed("standard output");
    }
    return fflush(stdout) == 0 ? 0 : file_failed("standard output");
}

/* Writes all unread audio to the WAV file. */
static int drain_audio(lyra_session *session, wav_writer *wav) {
    float audio[4096];
    size_t samples = 1;
    while (samples > 0) {
        const lyra_status status = lyra_read_audio(session, audio, sizeof audio / sizeof *audio, &samples);
        if (status != LYRA_OK) return lyra_failed("reading audio", status);
        if (wav_write(wav, audio, samples) != 0) return file_failed(wav->path);
    }
    return 0;
}

static int answer(lyra_session *session, const char *audio, const char *prompt, wav_writer *wav) {
    lyra_status status = lyra_feed_audio_file(session, audio);
    if (status != LYRA_OK) return lyra_failed("feeding the recording", status);
    status = prompt ? lyra_feed_text(session, prompt, strlen(prompt)) : LYRA_OK;
    if (status != LYRA_OK) return lyra_failed("feeding the prompt", status);
    status = lyra_end_turn(session);
    if (status != LYRA_OK) return lyra_failed("ending the turn", status);

    uint32_t events = 0;
    while (!(events & LYRA_EVENT_END)) {
        status = lyra_step(session, &events);
        if (status != LYRA_OK) return lyra_failed("answering", status);
        if (drain_text(session) != 0 || drain_audio(session, wav) != 0) return -1;
    }
    printf("\n");

    lyra_usage usage;
    status = lyra_usage_init(&usage);
    if (status == LYRA_OK) status = lyra_get_usage(session, &usage);
    if (status != LYRA_OK) return lyra_failed("reading the usage", status);
    fprintf(stderr, "%lld prompt tokens, %lld generated, %.1f s of speech, the first after %.0f ms\n",
            (long long)usage.prompt_tokens, (long long)usage.generated_tokens,
            (double)usage.audio_samples / wav->sample_rate, usage.first_audio_ms);
    return 0;
}

/* ------------------------------------------------------------------------------------- the model, and the arguments */

typedef struct {
    const char *model, *towers, *audio, *prompt, *out;
    int greedy;
    int32_t max_tokens;
} arguments;

static void note(void *user, lyra_log_level level, const char *message) {
    (void)user;
    fprintf(stderr, "%s%s\n", level == LYRA_LOG_WARNING ? "warning: " : "", message);
}

static int run_session(lyra_model *model, const arguments *given, wav_writer *wav) {
    lyra_session_options options;
    lyra_session *session = NULL;
    lyra_status status = lyra_session_options_init(&options);
    if (status != LYRA_OK) return lyra_failed("options", status);
    options.speak = 1;
    options.sampling = given->greedy ? LYRA_SAMPLING_GREEDY : LYRA_SAMPLING_DEFAULT;
    options.max_new_tokens = given->max_tokens;
    status = lyra_session_create(model, &options, &session);
    if (status != LYRA_OK) return lyra_failed("beginning a session", status);
    const int result = answer(session, given->audio, given->prompt, wav);
    lyra_session_destroy(session);
    return result;
}

static int run_model(const arguments *given, wav_writer *wav) {
    lyra_model_options options;
    lyra_model *model = NULL;
    lyra_status status = lyra_model_options_init(&options);
    if (status != LYRA_OK) return lyra_failed("options", status);
    options.towers_dir = given->towers;
    options.log = note;
    status = lyra_model_open(given->model, &options, &model);
    if (status != LYRA_OK) return lyra_failed(given->model, status);

    lyra_model_info info;
    int result = -1;
    status = lyra_model_info_init(&info);
    if (status == LYRA_OK) status = lyra_model_get_info(model, &info);
    if (status != LYRA_OK) {
        lyra_failed("reading the model's info", status);
    } else {
        wav->sample_rate = (uint32_t)info.audio_sample_rate;
        result = run_session(model, given, wav);
    }
    lyra_model_close(model);
    return result;
}

static int parse(int argc, char **argv, arguments *given) {
    const char **positional[] = {&given->audio, &given->out, &given->prompt};
    int count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--greedy") == 0) {
            given->greedy = 1;
        } else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            given->model = argv[++i];
        } else if (strcmp(argv[i], "--towers") == 0 && i + 1 < argc) {
            given->towers = argv[++i];
        } else if (strcmp(argv[i], "--max-tokens") == 0 && i + 1 < argc) {
            given->max_tokens = (int32_t)strtol(argv[++i], NULL, 10);
        } else if (strncmp(argv[i], "--", 2) != 0 && count < 3) {
            *positional[count++] = argv[i];
        } else {
            return -1;
        }
    }
    return count >= 2 ? 0 : -1;
}

int main(int argc, char **argv) {
    arguments given = {.model = "lyra:nano"};
    if (parse(argc, argv, &given) != 0) {
        fprintf(stderr, "usage: speak [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] "
                        "AUDIO OUT.wav [PROMPT]\n");
        return 64;
    }
    wav_writer wav = {NULL, given.out, 0, 0};
    int result = run_model(&given, &wav);
    if (result == 0 && wav_finish(&wav) != 0) result = file_failed(given.out);
    if (wav.file != NULL) fclose(wav.file);
    return result == 0 ? 0 : 1;
}
