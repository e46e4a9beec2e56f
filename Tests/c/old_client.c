/* A program still works that was compiled against an older header, in which structs with a size lack their last field.
 * Tests/c/run.sh makes that header. */
#include "check.h"

enum { GUARD_BYTES = 256 };

/* A struct of the old header, followed by bytes that the library must not write. */
#define GUARDED(type)                                                                                                  \
    struct {                                                                                                           \
        type value;                                                                                                    \
        unsigned char guard[GUARD_BYTES];                                                                              \
    }

static int untouched(const unsigned char *guard) {
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (guard[i] != 0xA5) return 0;
    }
    return 1;
}

static GUARDED(lyra_model_options) model_options;
static GUARDED(lyra_model_info) info;
static GUARDED(lyra_session_options) session_options;
static GUARDED(lyra_progress) progress;
static GUARDED(lyra_usage) usage;
static GUARDED(lyra_media) media;

int main(int argc, char **argv) {
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    if (argc < 3) return 64;
    memset(&model_options, 0xA5, sizeof model_options);
    memset(&info, 0xA5, sizeof info);
    memset(&session_options, 0xA5, sizeof session_options);
    memset(&progress, 0xA5, sizeof progress);
    memset(&usage, 0xA5, sizeof usage);
    memset(&media, 0xA5, sizeof media);

    need(lyra_model_options_init(&model_options.value), "model options");
    check(untouched(model_options.guard), "short model options are not overrun");
    need(lyra_model_open(argv[1], &model_options.value, &model), "the model opens with short options");
    need(lyra_model_info_init(&info.value), "model info");
    need(lyra_model_get_info(model, &info.value), "a short info is filled");
    check(untouched(info.guard), "a short info is not overrun");
    check(info.value.audio_sample_rate > 0, "a short info has the fields that it knows");

    need(lyra_session_options_init(&session_options.value), "session options");
    check(untouched(session_options.guard), "short session options are not overrun");
    session_options.value.sampling = LYRA_SAMPLING_GREEDY;
    session_options.value.max_new_tokens = 3;
    need(lyra_session_create(model, &session_options.value, &session), "a session begins with short options");
    need(lyra_feed_audio_file(session, argv[2]), "a recording is fed");
    need(lyra_feed_text(session, "hello", 5), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    need(lyra_progress_init(&progress.value), "progress");
    uint32_t events = 0;
    while (!(events & LYRA_EVENT_END)) {
        need(lyra_step(session, &events), "a step");
        need(lyra_get_progress(session, &progress.value), "a short progress is filled");
    }
    check(untouched(progress.guard), "a short progress is not overrun");
    need(lyra_usage_init(&usage.value), "usage");
    need(lyra_get_usage(session, &usage.value), "a short usage is filled");
    check(untouched(usage.guard), "a short usage is not overrun");
    check(usage.value.generated_tokens > 0 && usage.value.generated_tokens <= 3, "short options are used");
    need(lyra_media_init(&media.value), "a medium");
    need(lyra_get_media(session, 0, &media.value), "a short medium is filled");
    check(untouched(media.guard), "a short medium is not overrun");
    check(media.value.tokens == usage.value.media_tokens, "a short medium has the fields that it knows");
    need(lyra_session_destroy(session), "the session is destroyed");
    need(lyra_model_close(model), "the model is closed");
    return check_failures != 0;
}
