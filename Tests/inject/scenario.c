#define _GNU_SOURCE
#include "scenario.h"
#include <lyra.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct context {
    const scenario_paths *paths;
    scenario_outcome *outcome;
    const char *name; /* of the session at work */
} context;

/* --------------------------------------------------------------------------------------------------------- outcomes */

static void hash(context *run, const void *data, size_t bytes) {
    const unsigned char *byte = data;
    while (bytes--) run->outcome->hash = (run->outcome->hash ^ *byte++) * 0x100000001b3ull;
}

/* Takes note of a status. → whether it is a failure */
static int failed(context *run, const char *call, lyra_status status) {
    if (status == LYRA_OK) return 0;
    scenario_outcome *outcome = run->outcome;
    const char *sentence = lyra_last_error();
    /* An error message must name a subject and say something about it. */
    if (!sentence || strlen(sentence) < 12 || !strchr(sentence, ' ')) outcome->poor_sentences++;
    if (outcome->failures++ == 0) {
        snprintf(outcome->call, sizeof outcome->call, "%s", call);
        snprintf(outcome->sentence, sizeof outcome->sentence, "%s", sentence ? sentence : "(null)");
        outcome->status = status;
    }
    return 1;
}

static void lost(context *run, const char *call, lyra_status status, const char *what) {
    if (run->outcome->losses++ > 0) return;
    snprintf(run->outcome->loss, sizeof run->outcome->loss, "%s, %s: %s: %s", run->name, call,
             lyra_status_name(status), what);
}

/* Makes a call, and repeats it if it fails. If it fails again, jumps to the label `out`. */
#define TRY(function, call) \
    do { \
        lyra_status status_ = call; \
        if (failed(run, function, status_) && (status_ = call) != LYRA_OK) { \
            lost(run, function, status_, lyra_last_error()); \
            goto out; \
        } \
    } while (0)

/* ------------------------------------------------------------------------------------------------------------ feeds */

static lyra_status feed_file(context *run, lyra_session *session, const char *file,
                             lyra_status (*feed)(lyra_session *, const char *)) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", run->paths->media, file);
    return feed(session, path);
}

static lyra_status feed_video(lyra_session *session, const char *path) {
    lyra_video_options options;
    lyra_video_options_init(&options);
    options.max_frames = 4;
    options.with_audio = 1;
    return lyra_feed_video_file(session, path, &options);
}

/* Files in memory, as in a host that reads them from an archive. */
static struct stored {
    const char *name;
    size_t count;
    unsigned char bytes[1 << 20];
} stored[] = {{.name = "picture.tiff"}, {.name = "speech.m4a"}};

int load_media(const char *directory) {
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", directory, stored[i].name);
        FILE *stream = fopen(path, "rbe");
        if (!stream) return -1;
        stored[i].count = fread(stored[i].bytes, 1, sizeof stored[i].bytes, stream);
        fclose(stream);
        if (stored[i].count == 0) return -1;
    }
    return 0;
}

static lyra_status feed_bytes(lyra_session *session, const char *file,
                              lyra_status (*feed)(lyra_session *, const void *, size_t)) {
    const struct stored *found = stored;
    while (strcmp(found->name, file) != 0) found++;
    return feed(session, found->bytes, found->count);
}

enum { PCM_RATE = 44100, PCM_FRAMES = 30000 };

/* Stereo at another rate than the model's: a sweep. */
static const float *pcm(void) {
    static float samples[2 * PCM_FRAMES];
    if (samples[2] == 0)
        for (int i = 0; i < 2 * PCM_FRAMES; i++) samples[i] = (float)(i * (long)(i + 1) % 2001 - 1000) / 4000;
    return samples;
}

static lyra_status feed_pcm(lyra_session *session) {
    return lyra_feed_audio_pcm(session, pcm(), PCM_FRAMES, 2, PCM_RATE);
}

static lyra_status feed_pixels(lyra_session *session) {
    static uint8_t pixels[200 * 160 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i / 7 + i);
    return lyra_feed_image_rgb8(session, pixels, 200, 160, 600);
}

/* → 0, or -1 if a feed failed twice */
static int feed_turn(context *run, lyra_session *session, int turn) {
    static const char text[] = "What is said, and what is seen?";
    switch (turn) {
    case 0:
        TRY("feed_image_file, JPEG", feed_file(run, session, "picture.jpg", lyra_feed_image_file));
        TRY("feed_audio_file, WAV", feed_file(run, session, "speech.wav", lyra_feed_audio_file));
        break;
    case 1:
        TRY("feed_image_file, PNG", feed_file(run, session, "picture.png", lyra_feed_image_file));
        TRY("feed_video_file", feed_file(run, session, "clip.mp4", feed_video));
        TRY("feed_audio_file, M4A", feed_file(run, session, "speech.m4a", lyra_feed_audio_file));
        TRY("feed_sound_file", feed_file(run, session, "speech.wav", lyra_feed_sound_file));
        break;
    case 2:
        TRY("feed_image_bytes, TIFF", feed_bytes(session, "picture.tiff", lyra_feed_image_bytes));
        TRY("feed_image_rgb8", feed_pixels(session));
        TRY("feed_audio_pcm", feed_pcm(session));
        TRY("feed_audio_pcm", feed_pcm(session));
        TRY("feed_audio_end", lyra_feed_audio_end(session));
        TRY("feed_audio_bytes, M4A", feed_bytes(session, "speech.m4a", lyra_feed_audio_bytes));
        break;
    default: break;
    }
    TRY("feed_text", lyra_feed_text(session, text, sizeof text - 1));
    TRY("end_turn", lyra_end_turn(session));
    return 0;
out:
    return -1;
}

/* ---------------------------------------------------------------------------------------------------------- answers */

/* Adds everything that a queue holds to the hash. */
#define READ_ALL(reader, type, length) \
    do { \
        type buffer[length]; \
        size_t count = 0; \
        do { \
            TRY(#reader, lyra_##reader(session, buffer, length, &count)); \
            hash(run, buffer, count * sizeof *buffer); \
        } while (count > 0); \
    } while (0)

static int read_answer(context *run, lyra_session *session) {
    READ_ALL(read_text, char, 256);
    READ_ALL(read_audio, float, 4096);
    READ_ALL(read_tokens, int32_t, 64);
    READ_ALL(read_units, int32_t, 64);
    return 0;
out:
    return -1;
}

/* Steps to the end of the fed turn. → 1 if a step failed, which rolls the turn back; -1 if something was lost */
static int answer(context *run, lyra_session *session) {
    uint32_t events = 0;
    while (!(events & LYRA_EVENT_END)) {
        events = 0;
        lyra_status status = lyra_step(session, &events);
        if (failed(run, "step", status)) {
            lyra_usage usage;
            lyra_usage_init(&usage);
            if (lyra_get_usage(session, &usage) == LYRA_OK && usage.stop != LYRA_STOP_ERROR)
                lost(run, "step", status, "failed, but the turn's stop reason is not ERROR");
            if (events & LYRA_EVENT_END) return 1;
            lost(run, "step", status, "failed without the end event");
            return -1;
        }
        if (read_answer(run, session) < 0) return -1;
    }
    return 0;
}

/* Takes a turn. If a step fails, the turn is fed and stepped again. */
static int take_turn(context *run, lyra_session *session, int turn) {
    uint64_t before = run->outcome->hash;
    for (int attempt = 0; attempt < 2; attempt++) {
        run->outcome->hash = before;
        if (feed_turn(run, session, turn) < 0) return -1;
        int result = answer(run, session);
        if (result <= 0) return result;
    }
    lost(run, "step", run->outcome->status, "the turn failed twice");
    return -1;
}

/* --------------------------------------------------------------------------------------------------------- scenario */

static void describe(context *run, lyra_model *model) {
    lyra_model_info info;
    lyra_model_info_init(&info);
    if (lyra_model_get_info(model, &info) == LYRA_OK) hash(run, &info, sizeof info);
}

static void end(context *run, lyra_model *model, lyra_session *sessions[2]) {
    for (int i = 1; i >= 0; i--) {
        if (!sessions[i]) continue;
        TRY("session_destroy", lyra_session_destroy(sessions[i]));
    }
    if (model) TRY("model_close", lyra_model_close(model));
out:
    return;
}

void run_scenario(const scenario_paths *paths, scenario_outcome *outcome) {
    context context_ = {paths, outcome, "first session"}, *run = &context_;
    lyra_model *model = NULL;
    lyra_session *sessions[2] = {NULL, NULL};
    char state[1024];
    lyra_model_options model_options;
    lyra_session_options options;
    memset(outcome, 0, sizeof *outcome);
    outcome->hash = 0xcbf29ce484222325ull;
    snprintf(state, sizeof state, "%s/conversation.state", paths->work);
    TRY("model_options_init", lyra_model_options_init(&model_options));
    model_options.threads = paths->threads;
    TRY("session_options_init", lyra_session_options_init(&options));
    options.speak = 1;
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = 6;

    TRY("model_open", lyra_model_open(paths->model, &model_options, &model));
    describe(run, model);
    TRY("session_create", lyra_session_create(model, &options, &sessions[0]));
    for (int turn = 0; turn < 3; turn++)
        if (take_turn(run, sessions[0], turn) < 0) goto out;
    TRY("save", lyra_save(sessions[0], state));
    run->name = "restored session";
    TRY("session_create", lyra_session_create(model, &options, &sessions[1]));
    TRY("restore", lyra_restore(sessions[1], state));
    uint64_t before = outcome->hash;
    if (take_turn(run, sessions[1], 3) < 0) goto out;
    uint64_t restored = outcome->hash;
    run->name = "first session";
    outcome->hash = before;
    if (take_turn(run, sessions[0], 3) < 0) goto out;
    if (outcome->hash != restored) lost(run, "step", LYRA_OK, "a restored session answers otherwise");
out:
    end(run, model, sessions);
    outcome->finished = 1;
}
