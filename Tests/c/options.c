/* Every field of the option structs with the extreme values of its type: a value in the range that lyra.h states works,
 * or limits what can be fed; any other is LYRA_E_ARGUMENT with the option's name, its value and its range. */
#include "check.h"

#include <math.h>

typedef enum { I32, I64, F32, F64 } kind;

/* A field, with its least and greatest value besides 0, the default. */
typedef struct {
    const char *name;
    size_t offset;
    kind type;
    double least, most;
} field;

#define TOP 4294967296.0 /* 2^32 */
#define IN(type) offsetof(lyra_session_options, type)
#define TINY32 1e-45 /* the least above 0 */
#define HUGE32 3.4028234663852886e38
#define TINY64 5e-324

static const field session_fields[] = {
    {"sampling", IN(sampling), I32, 0, 2},
    {"temperature", IN(temperature), F32, TINY32, HUGE32},
    {"top_k", IN(top_k), I32, 1, INT32_MAX},
    {"top_p", IN(top_p), F32, TINY32, 1},
    {"min_p", IN(min_p), F32, TINY32, 1},
    {"repetition_penalty", IN(repetition_penalty), F32, TINY32, HUGE32},
    {"max_new_tokens", IN(max_new_tokens), I32, 1, INT32_MAX},
    {"max_context_tokens", IN(max_context_tokens), I32, 1, INT32_MAX},
    {"speak", IN(speak), I32, 0, 1},
    {"max_image_pixels", IN(max_image_pixels), I64, 3136, TOP},
    {"limit_pixels", IN(limit_pixels), I64, 1, TOP},
    {"limit_seconds", IN(limit_seconds), F64, TINY64, 1e9},
    {"extractor", IN(extractor), I32, 0, 1}, /* 2 needs its other fields as well */
    {"extractor_blocks", IN(extractor_blocks), I32, 1, 1024},
    {"extractor_gap", IN(extractor_gap), I32, 1, 1024},
    {"extractor_keep", IN(extractor_keep), F32, TINY32, 1},
    {"kv_type", IN(kv_type), I32, 0, 3},
    {"skip_silence", IN(skip_silence), I32, 0, 1},
    {"max_memory_bytes", IN(max_memory_bytes), I64, 1, 1125899906842624.0},
};

static const field video_fields[] = {
    {"frames_per_second", offsetof(lyra_video_options, frames_per_second), F32, TINY32, 1000},
    {"max_frames", offsetof(lyra_video_options, max_frames), I32, 1, 65536},
    {"with_audio", offsetof(lyra_video_options, with_audio), I32, 0, 1},
};

static const field model_fields[] = {
    {"threads", offsetof(lyra_model_options, threads), I32, 1, INT32_MAX},
    {"precision", offsetof(lyra_model_options, precision), I32, 0, 2},
};

static const int32_t whole32[] = {INT32_MIN, -1, 1, 2, 3, 4, 99, 1024, 1025, 65536, 65537, INT32_MAX - 1, INT32_MAX};
static const int64_t whole64[] = {INT64_MIN, -1, 1, 3135, 3136, INT32_MAX, 4294967295, 4294967296, 4294967297,
                                  1125899906842624, 1125899906842625, INT64_MAX - 16777216, INT64_MAX};
static const double reals[] = {-INFINITY, -HUGE32, -1, -1.17549435e-38, -TINY32, TINY32, 1.17549435e-38, 0.25, 1,
                               1.0000001192092896, 1000, 1000.00006103515625, HUGE32, INFINITY, NAN};
static const double doubles[] = {-INFINITY, -1e308, -1, -TINY64, TINY64, 2.2250738585072014e-308, 1e-9, 1, 86400, 86401,
                                 1e9, 1000000000.0000001, 9.3e18, 1e308, INFINITY, NAN};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static size_t value_count(kind type) {
    return type == I32 ? COUNT(whole32) : type == I64 ? COUNT(whole64) : type == F32 ? COUNT(reals) : COUNT(doubles);
}

/* Sets the field to value number `index` of its type. → whether the value is in the field's range */
static int put(const field *one, size_t index, void *options) {
    char *place = (char *)options + one->offset;
    double value;
    if (one->type == I32) {
        memcpy(place, &whole32[index], sizeof *whole32);
        value = whole32[index];
    } else if (one->type == I64) {
        memcpy(place, &whole64[index], sizeof *whole64);
        if (whole64[index] > 9007199254740992) return 0; /* a double would round it */
        value = (double)whole64[index];
    } else if (one->type == F32) {
        const float narrow = (float)reals[index];
        memcpy(place, &narrow, sizeof narrow);
        value = narrow;
        return narrow >= (float)one->least && value <= one->most;
    } else {
        memcpy(place, &doubles[index], sizeof *doubles);
        value = doubles[index];
    }
    return value >= one->least && value <= one->most;
}

static void tell(const field *one, size_t index, const char *what) {
    printf("# %s, value %zu of its type: %s (%s)\n", one->name, index, what, lyra_last_error());
}

/* Whether the last error names the option and its range. */
static int named(const field *one) {
    return strstr(lyra_last_error(), one->name) != NULL && strstr(lyra_last_error(), "can be") != NULL;
}

/* Feeds a little of everything and computes it. Only a limit may refuse it. */
static void use(lyra_session *session, char **argv) {
    static const float sound[16000] = {0.5F, -0.5F};
    uint32_t events = 0;
    lyra_feed_image_file(session, argv[3]);
    lyra_feed_video_file(session, argv[5], NULL);
    lyra_feed_sound_pcm(session, sound, 16000, 1, 16000);
    lyra_feed_audio_pcm(session, sound, 16000, 1, 16000);
    lyra_feed_text(session, "What?", 5);
    if (lyra_end_turn(session) != LYRA_OK) return;
    for (int i = 0; i < 40 && !(events & LYRA_EVENT_END); i++) {
        if (lyra_step(session, &events) != LYRA_OK) return;
    }
    lyra_cancel(session);
    if (!(events & LYRA_EVENT_END)) lyra_step(session, &events);
}

static void check_session_fields(lyra_model *model, char **argv) {
    for (size_t i = 0; i < COUNT(session_fields); i++) {
        const field *one = &session_fields[i];
        int wrong = 0;
        for (size_t index = 0; index < value_count(one->type); index++) {
            lyra_session_options options;
            lyra_session *session = NULL;
            need(lyra_session_options_init(&options), "session options");
            const int fits = put(one, index, &options);
            if (one->offset == IN(extractor) && options.extractor == LYRA_EXTRACTOR_ON) {
                options.extractor_blocks = 2;
                options.extractor_keep = 0.5F;
            }
            const lyra_status status = lyra_session_create(model, &options, &session);
            const int is_pair = one->offset == IN(extractor) && options.extractor == LYRA_EXTRACTOR_ON;
            const int right = fits || is_pair ? status == LYRA_OK : status == LYRA_E_ARGUMENT && named(one);
            if (!right) tell(one, index, lyra_status_name(status));
            wrong += !right;
            if (session == NULL) continue;
            use(session, argv);
            need(lyra_session_destroy(session), "the session is destroyed");
        }
        check(wrong == 0, one->name);
    }
}

static void check_video_fields(lyra_model *model, char **argv) {
    for (size_t i = 0; i < COUNT(video_fields); i++) {
        const field *one = &video_fields[i];
        int wrong = 0;
        for (size_t index = 0; index < value_count(one->type); index++) {
            lyra_session *session = greedy_session(model);
            lyra_video_options options;
            uint32_t events = 0;
            need(lyra_video_options_init(&options), "video options");
            const int fits = put(one, index, &options);
            const lyra_status status = lyra_feed_video_file(session, argv[6], &options);
            const int right = fits ? status == LYRA_OK : status == LYRA_E_ARGUMENT && named(one);
            if (!right) tell(one, index, lyra_status_name(status));
            wrong += !right;
            for (int step = 0; fits && step < 8; step++) need(lyra_step(session, &events), "a step");
            need(lyra_session_destroy(session), "the session is destroyed");
        }
        check(wrong == 0, one->name);
    }
}

static void check_model_fields(const char *path) {
    for (size_t i = 0; i < COUNT(model_fields); i++) {
        const field *one = &model_fields[i];
        int wrong = 0;
        for (size_t index = 0; index < value_count(one->type); index++) {
            lyra_model_options options;
            lyra_model *model = NULL;
            need(lyra_model_options_init(&options), "model options");
            const int fits = put(one, index, &options);
            const lyra_status status = lyra_model_open(path, &options, &model);
            const int right = fits ? status == LYRA_OK : status == LYRA_E_ARGUMENT && named(one);
            if (!right) tell(one, index, lyra_status_name(status));
            wrong += !right;
            need(lyra_model_close(model), "the model is closed");
        }
        check(wrong == 0, one->name);
    }
}

/* Rules beyond ranges: an extractor's fields depend on each other, and texts must be UTF-8. */
static void check_others(lyra_model *model) {
    lyra_session_options options;
    lyra_session *session = NULL;
    need(lyra_session_options_init(&options), "session options");
    options.extractor = LYRA_EXTRACTOR_ON;
    options.extractor_keep = 0.5F;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "an extractor without its blocks");
    options.extractor_blocks = options.extractor_gap = 1;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "an extractor of blocks and a gap");
    options.extractor_gap = 0;
    options.extractor_keep = 0;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "an extractor that keeps nothing");
    check(strstr(lyra_last_error(), "extractor_keep is 0") != NULL, "is named");
    need(lyra_session_options_init(&options), "session options");
    options.adapter = "\xff";
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "an adapter that is not UTF-8");
    options.adapter = NULL;
    options.system_prompt = "\xc3";
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "a system prompt that is not UTF-8");
    check(session == NULL, "no session was created");
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    if (argc < 7) {
        printf("not ok - usage: %s MODEL RECORDING IMAGE PIXELS SILENT SPOKEN\n", argv[0]);
        return 64;
    }
    check_session_fields(model, argv);
    check_video_fields(model, argv);
    check_others(model);
    need(lyra_model_close(model), "the model is closed");
    check_model_fields(argv[1]);
    return check_failures != 0;
}
