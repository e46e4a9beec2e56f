/* Null pointers and invalid values are errors of every function, and change nothing. */
#include "check.h"

#include <math.h>

static void model_functions(lyra_model *model, const char *path) {
    lyra_model_options options;
    lyra_model_info info;
    lyra_model *none = NULL;
    check_status(lyra_model_options_init_size(NULL, sizeof options), LYRA_E_ARGUMENT, "model options init: null");
    check_status(lyra_model_open(NULL, NULL, &none), LYRA_E_ARGUMENT, "model open: null path");
    check_status(lyra_model_open(path, NULL, NULL), LYRA_E_ARGUMENT, "model open: null out");
    need(lyra_model_options_init(&options), "model options");
    options.size = 0;
    check_status(lyra_model_open(path, &options, &none), LYRA_E_ARGUMENT, "model open: options without a size");
    need(lyra_model_options_init(&options), "model options");
    options.threads = -1;
    check_status(lyra_model_open(path, &options, &none), LYRA_E_ARGUMENT, "model open: a negative number of threads");
    need(lyra_model_options_init(&options), "model options");
    options.towers_dir = "/nowhere/towers";
    check_status(lyra_model_open(path, &options, &none), LYRA_E_MISSING, "model open: missing towers");
    check(strstr(lyra_last_error(), "/nowhere/towers") != NULL, "model open: the message names the towers");
    check(none == NULL, "model open: out is unchanged");
    check_status(lyra_model_close(NULL), LYRA_OK, "model close: null does nothing");
    check_status(lyra_model_info_init_size(NULL, sizeof info), LYRA_E_ARGUMENT, "model info init: null");
    need(lyra_model_info_init(&info), "model info");
    check_status(lyra_model_get_info(NULL, &info), LYRA_E_ARGUMENT, "model info: null model");
    check_status(lyra_model_get_info(model, NULL), LYRA_E_ARGUMENT, "model info: null info");
    info.size = 0;
    check_status(lyra_model_get_info(model, &info), LYRA_E_ARGUMENT, "model info: a struct without a size");
}

/* Sizes of structs that no version had, because they end within a field. */
static void sizes(lyra_model *model, const char *path) {
    lyra_model_options options;
    lyra_model_info info;
    lyra_usage usage;
    lyra_model *none = NULL;
    const size_t array = offsetof(lyra_usage, adapter);
    need(lyra_model_options_init(&options), "model options");
    options.size = sizeof(size_t) + sizeof(void *) / 2; /* half of towers_dir */
    check_status(lyra_model_open(path, &options, &none), LYRA_E_ARGUMENT, "model open: half a pointer");
    check(strstr(lyra_last_error(), "12") != NULL || sizeof(void *) != 8, "model open: the message names the size");
    need(lyra_model_info_init(&info), "model info");
    info.size = sizeof info - 1;
    check_status(lyra_model_get_info(model, &info), LYRA_E_ARGUMENT, "model info: less than a field");
    check_status(lyra_model_info_init_size(&info, sizeof info + 1), LYRA_E_ARGUMENT, "model info init: an odd size");
    check_status(lyra_usage_init_size(&usage, array + 8), LYRA_E_ARGUMENT, "usage init: a part of an array");
    check_status(lyra_usage_init_size(&usage, array), LYRA_OK, "usage init: all before an array");
    check_status(lyra_usage_init_size(&usage, array + sizeof usage.adapter), LYRA_OK, "usage init: all of an array");
}

static void missing_model(void) {
    lyra_model *model = NULL;
    const lyra_status status = lyra_model_open("/nowhere/at-all", NULL, &model);
    check(status == LYRA_E_IO || status == LYRA_E_MISSING, "model open: a missing directory");
    check(strstr(lyra_last_error(), "/nowhere/at-all") != NULL, "model open: the message names the directory");
    check(model == NULL, "model open: out is unchanged after an error");
}

static void session_option(lyra_model *model, lyra_session_options options, const char *promise) {
    lyra_session *session = NULL;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, promise);
    if (session != NULL) lyra_session_destroy(session);
}

static void session_options(lyra_model *model) {
    lyra_session_options good, bad;
    lyra_session *session = NULL;
    check_status(lyra_session_options_init_size(NULL, sizeof good), LYRA_E_ARGUMENT, "session options init: null");
    check_status(lyra_session_create(NULL, NULL, &session), LYRA_E_ARGUMENT, "session create: null model");
    check_status(lyra_session_create(model, NULL, NULL), LYRA_E_ARGUMENT, "session create: null out");
    check_status(lyra_session_create(model, NULL, &session), LYRA_OK, "session create: null options are the defaults");
    check_status(lyra_session_destroy(session), LYRA_OK, "session destroy");
    check_status(lyra_session_destroy(NULL), LYRA_OK, "session destroy: null does nothing");

    need(lyra_session_options_init(&good), "session options");
    bad = good, bad.size = 0, session_option(model, bad, "session create: options without a size");
    bad = good, bad.sampling = 99, session_option(model, bad, "session create: an unknown sampling");
    bad = good, bad.temperature = -1, session_option(model, bad, "session create: a negative temperature");
    bad = good, bad.temperature = (float)NAN, session_option(model, bad, "session create: a temperature that is NaN");
    bad = good, bad.top_k = -1, session_option(model, bad, "session create: a negative top_k");
    check(strstr(lyra_last_error(), "top_k is -1") != NULL, "session create: the message has the option and its value");
    bad = good, bad.top_p = 1.5F, session_option(model, bad, "session create: a top_p over 1");
    bad = good, bad.min_p = 1.5F, session_option(model, bad, "session create: a min_p over 1");
    bad = good, bad.repetition_penalty = -1, session_option(model, bad, "session create: a negative penalty");
    bad = good, bad.max_new_tokens = -1, session_option(model, bad, "session create: a negative number of tokens");
    bad = good, bad.max_context_tokens = -1, session_option(model, bad, "session create: a negative context");
    bad = good, bad.adapter = "no such adapter", session_option(model, bad, "session create: an unknown adapter");
    check(strstr(lyra_last_error(), "no such adapter") != NULL, "session create: the message names the adapter");
}

/* Each session function with `session`, which is null or closed, and otherwise valid arguments. */
static void session_functions_refuse(lyra_session *session, lyra_status expected, const char *path) {
    char text[8];
    float audio[8] = {0};
    int32_t numbers[8];
    size_t count;
    uint32_t events;
    lyra_progress progress;
    lyra_usage usage;
    need(lyra_progress_init(&progress), "progress");
    need(lyra_usage_init(&usage), "usage");
    check_status(lyra_reset(session), expected, "reset refuses the handle");
    check_status(lyra_set_system_prompt(session, "x", 1), expected, "set_system_prompt refuses the handle");
    check_status(lyra_feed_text(session, "x", 1), expected, "feed_text refuses the handle");
    check_status(lyra_feed_text_special(session, "x", 1), expected, "feed_text_special refuses the handle");
    check_status(lyra_feed_audio_file(session, path), expected, "feed_audio_file refuses the handle");
    check_status(lyra_feed_audio_bytes(session, "x", 1), expected, "feed_audio_bytes refuses the handle");
    check_status(lyra_feed_audio_pcm(session, audio, 8, 1, 16000), expected, "feed_audio_pcm refuses the handle");
    check_status(lyra_feed_audio_end(session), expected, "feed_audio_end refuses the handle");
    check_status(lyra_end_turn(session), expected, "end_turn refuses the handle");
    check_status(lyra_step(session, &events), expected, "step refuses the handle");
    check_status(lyra_stop(session), expected, "stop refuses the handle");
    check_status(lyra_cancel(session), expected, "cancel refuses the handle");
    check_status(lyra_read_text(session, text, sizeof text, &count), expected, "read_text refuses the handle");
    check_status(lyra_read_audio(session, audio, 8, &count), expected, "read_audio refuses the handle");
    check_status(lyra_read_tokens(session, numbers, 8, &count), expected, "read_tokens refuses the handle");
    check_status(lyra_read_units(session, numbers, 8, &count), expected, "read_units refuses the handle");
    check_status(lyra_get_progress(session, &progress), expected, "get_progress refuses the handle");
    check_status(lyra_get_usage(session, &usage), expected, "get_usage refuses the handle");
}

static void session_arguments(lyra_session *session) {
    char text[8];
    float audio[8] = {0};
    int32_t numbers[8];
    size_t count;
    lyra_progress progress;
    lyra_usage usage;
    lyra_reader reader;
    memset(&reader, 0, sizeof reader);
    reader.size = sizeof reader;
    check_status(lyra_set_system_prompt(session, NULL, 1), LYRA_E_ARGUMENT, "set_system_prompt: null");
    check_status(lyra_feed_text(session, NULL, 1), LYRA_E_ARGUMENT, "feed_text: null");
    check_status(lyra_feed_text(session, "x", ((size_t)64 << 20) + 1), LYRA_E_ARGUMENT, "feed_text: over 64 MiB");
    check(strstr(lyra_last_error(), "limit of 64 MiB") != NULL, "feed_text: the message names the limit");
    check_status(lyra_feed_text(session, "x", SIZE_MAX), LYRA_E_ARGUMENT, "feed_text: SIZE_MAX bytes");
    check(strstr(lyra_last_error(), "length cannot be -1") != NULL, "feed_text: a negative length is told as one");
    check_status(lyra_feed_text_special(session, NULL, 1), LYRA_E_ARGUMENT, "feed_text_special: null");
    check_status(lyra_feed_text_special(session, "x", SIZE_MAX), LYRA_E_ARGUMENT, "feed_text_special: SIZE_MAX bytes");
    check_status(lyra_feed_audio_file(session, NULL), LYRA_E_ARGUMENT, "feed_audio_file: null");
    check_status(lyra_feed_audio_bytes(session, NULL, 1), LYRA_E_ARGUMENT, "feed_audio_bytes: null");
    check_status(lyra_feed_audio_reader(session, NULL), LYRA_E_ARGUMENT, "feed_audio_reader: null");
    check_status(lyra_feed_audio_reader(session, &reader), LYRA_E_ARGUMENT, "feed_audio_reader: null functions");
    check_status(lyra_feed_audio_pcm(session, NULL, 1, 1, 16000), LYRA_E_ARGUMENT, "feed_audio_pcm: null");
    check_status(lyra_feed_audio_pcm(session, audio, 8, 0, 16000), LYRA_E_ARGUMENT, "feed_audio_pcm: 0 channels");
    check_status(lyra_feed_audio_pcm(session, audio, 0, 1025, 16000), LYRA_E_ARGUMENT, "feed_audio_pcm: 1025 channels");
    check_status(lyra_feed_audio_pcm(session, audio, 8, 1, 0), LYRA_E_ARGUMENT, "feed_audio_pcm: 0 Hz");
    check_status(lyra_feed_audio_pcm(session, audio, 8, 1, 1000001), LYRA_E_ARGUMENT, "feed_audio_pcm: 1,000,001 Hz");
    check_status(lyra_feed_audio_pcm(session, audio, SIZE_MAX / 2, 4, 16000), LYRA_E_ARGUMENT,
                 "feed_audio_pcm: more samples than memory has addresses");
    audio[3] = (float)NAN;
    check_status(lyra_feed_audio_pcm(session, audio, 8, 1, 16000), LYRA_E_ARGUMENT, "feed_audio_pcm: NaN");
    audio[3] = (float)-INFINITY;
    check_status(lyra_feed_audio_pcm(session, audio, 8, 1, 16000), LYRA_E_ARGUMENT, "feed_audio_pcm: infinite");
    check_status(lyra_step(session, NULL), LYRA_E_ARGUMENT, "step: null events");
    check_status(lyra_read_text(session, NULL, 8, &count), LYRA_E_ARGUMENT, "read_text: null buffer");
    check_status(lyra_read_text(session, text, 8, NULL), LYRA_E_ARGUMENT, "read_text: null count");
    check_status(lyra_read_audio(session, NULL, 8, &count), LYRA_E_ARGUMENT, "read_audio: null buffer");
    check_status(lyra_read_audio(session, audio, 8, NULL), LYRA_E_ARGUMENT, "read_audio: null count");
    check_status(lyra_read_tokens(session, NULL, 8, &count), LYRA_E_ARGUMENT, "read_tokens: null buffer");
    check_status(lyra_read_tokens(session, numbers, 8, NULL), LYRA_E_ARGUMENT, "read_tokens: null count");
    check_status(lyra_read_units(session, NULL, 8, &count), LYRA_E_ARGUMENT, "read_units: null buffer");
    check_status(lyra_read_units(session, numbers, 8, NULL), LYRA_E_ARGUMENT, "read_units: null count");
    check_status(lyra_progress_init_size(NULL, sizeof progress), LYRA_E_ARGUMENT, "progress init: null");
    check_status(lyra_get_progress(session, NULL), LYRA_E_ARGUMENT, "get_progress: null");
    check_status(lyra_usage_init_size(NULL, sizeof usage), LYRA_E_ARGUMENT, "usage init: null");
    check_status(lyra_get_usage(session, NULL), LYRA_E_ARGUMENT, "get_usage: null");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "refused feeds are not in the turn");
}

static void closed_handles(lyra_model *model, const char *recording) {
    lyra_session *session = greedy_session(model);
    lyra_session *other = NULL;
    lyra_model_info info;
    int never[64] = {0};
    check_status(lyra_session_destroy(session), LYRA_OK, "a session is destroyed");
    check_status(lyra_session_destroy(session), LYRA_E_CLOSED, "a session is not destroyed twice");
    session_functions_refuse(session, LYRA_E_CLOSED, recording);
    session_functions_refuse((lyra_session *)(void *)never, LYRA_E_CLOSED, recording);
    session_functions_refuse((lyra_session *)(void *)model, LYRA_E_CLOSED, recording);

    session = greedy_session(model);
    check_status(lyra_model_close(model), LYRA_OK, "a model is closed");
    check_status(lyra_model_close(model), LYRA_E_CLOSED, "a model is not closed twice");
    check_status(lyra_session_create(model, NULL, &other), LYRA_E_CLOSED, "a closed model creates no session");
    need(lyra_model_info_init(&info), "model info");
    check_status(lyra_model_get_info(model, &info), LYRA_E_CLOSED, "a closed model has no info");
    check_status(lyra_feed_text(session, "hello", 5), LYRA_OK, "a session outlives its model: it is fed");
    check_status(lyra_end_turn(session), LYRA_OK, "a session outlives its model: its turn ends");
    uint32_t events = 0;
    lyra_status status = LYRA_OK;
    while (!(events & LYRA_EVENT_END) && status == LYRA_OK) status = lyra_step(session, &events);
    check_status(status, LYRA_OK, "a session outlives its model: it answers");
    check_status(lyra_session_destroy(session), LYRA_OK, "a session outlives its model: it is destroyed");
}

static void versions(void) {
    check(strcmp(lyra_version(), LYRA_VERSION) == 0, "the library's version is the header's");
    check(strcmp(lyra_status_name(LYRA_OK), "LYRA_OK") == 0, "a status has its name");
    check(strcmp(lyra_status_name(LYRA_E_CLOSED), "LYRA_E_CLOSED") == 0, "the last status has its name");
    check(strcmp(lyra_status_name(12345), "LYRA_E_UNKNOWN") == 0, "an unknown status has a name");
    check(strcmp(lyra_status_name(-1), "LYRA_E_UNKNOWN") == 0, "a negative status has a name");
    check(lyra_last_error() != NULL && lyra_last_error()[0] == '\0', "there is no error before the first");
}

int main(int argc, char **argv) {
    versions();
    lyra_model *model = open_model(argc, argv);
    model_functions(model, argv[1]);
    sizes(model, argv[1]);
    missing_model();
    session_options(model);
    session_functions_refuse(NULL, LYRA_E_ARGUMENT, argv[2]);
    lyra_session *session = greedy_session(model);
    session_arguments(session);
    check_status(lyra_session_destroy(session), LYRA_OK, "afterwards the session is destroyed");
    closed_handles(model, argv[2]);
    return check_failures != 0;
}
