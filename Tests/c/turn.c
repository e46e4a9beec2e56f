/* A turn from feeding to its end event: reading in pieces, stop, cancel, errors. */
#include "check.h"

#include <math.h>

enum { MOST_TOKENS = 256, MOST_SAMPLES = 1 << 20, MOST_TEXT = 4096 };

typedef struct {
    char text[MOST_TEXT];
    int32_t tokens[MOST_TOKENS], units[MOST_SAMPLES / 320];
    float *audio;
    size_t text_bytes, token_count, unit_count, samples;
    int ends, events_seen;
} answer;

static answer *new_answer(void) {
    answer *made = calloc(1, sizeof *made);
    if (made != NULL) made->audio = malloc(MOST_SAMPLES * sizeof(float));
    if (made == NULL || made->audio == NULL) {
        printf("not ok - memory for an answer\n");
        exit(1);
    }
    return made;
}

static void free_answer(answer *one) {
    free(one->audio);
    free(one);
}

/* Reads new output, at most `text` bytes and `piece` elements at a time. */
static void drain(lyra_session *session, answer *got, size_t text, size_t piece) {
    size_t count;
    do {
        need(lyra_read_text(session, got->text + got->text_bytes, text, &count), "text is read");
        got->text_bytes += count;
    } while (count > 0 && got->text_bytes + text < MOST_TEXT);
    do {
        need(lyra_read_audio(session, got->audio + got->samples, piece, &count), "audio is read");
        got->samples += count;
    } while (count > 0 && got->samples + piece < MOST_SAMPLES);
    do {
        need(lyra_read_tokens(session, got->tokens + got->token_count, piece > 8 ? 8 : piece, &count), "ids are read");
        got->token_count += count;
    } while (count > 0 && got->token_count + 8 < MOST_TOKENS);
    do {
        need(lyra_read_units(session, got->units + got->unit_count, piece > 8 ? 8 : piece, &count), "units are read");
        got->unit_count += count;
    } while (count > 0 && got->unit_count + 8 < MOST_SAMPLES / 320);
}

static void feed(lyra_session *session, const char *recording) {
    if (recording != NULL) need(lyra_feed_audio_file(session, recording), "a recording is fed");
    need(lyra_feed_text(session, "What is said?", 13), "text is fed");
}

static void finish(lyra_session *session, answer *got, size_t text, size_t piece) {
    uint32_t events = 0;
    while (!(events & LYRA_EVENT_END)) {
        need(lyra_step(session, &events), "a step");
        got->events_seen |= (int)events;
        got->ends += (events & LYRA_EVENT_END) != 0;
        if (piece > 0) drain(session, got, text, piece);
    }
}

/* A whole turn. If `piece` is 0, everything is read at the end. */
static answer *take_turn(lyra_session *session, const char *recording, size_t text, size_t piece) {
    answer *got = new_answer();
    feed(session, recording);
    need(lyra_end_turn(session), "the turn ends");
    finish(session, got, text, piece);
    drain(session, got, text, piece > 0 ? piece : 65536);
    return got;
}

static int same_tokens(const answer *a, const answer *b) {
    return a->token_count == b->token_count && memcmp(a->tokens, b->tokens, a->token_count * sizeof(int32_t)) == 0;
}

static int same(const answer *a, const answer *b) {
    return same_tokens(a, b) && a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0 &&
           a->unit_count == b->unit_count && memcmp(a->units, b->units, a->unit_count * sizeof(int32_t)) == 0 &&
           a->samples == b->samples && memcmp(a->audio, b->audio, a->samples * sizeof(float)) == 0;
}

static lyra_usage usage_of(lyra_session *session) {
    lyra_usage usage;
    need(lyra_usage_init(&usage), "usage");
    need(lyra_get_usage(session, &usage), "usage");
    return usage;
}

static void states(lyra_model *model) {
    lyra_session *session = greedy_session(model);
    uint32_t events = 77;
    check_status(lyra_step(session, &events), LYRA_E_STATE, "a step needs a turn");
    check(events == 77, "a refused step leaves events unchanged");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "a turn needs to be fed");
    check_status(lyra_stop(session), LYRA_OK, "nothing to stop is no error");
    check_status(lyra_cancel(session), LYRA_OK, "nothing to cancel is no error");
    check_status(lyra_set_system_prompt(session, "Be brief.", 9), LYRA_OK, "the system prompt is set before a turn");
    feed(session, NULL);
    check_status(lyra_cancel(session), LYRA_OK, "a turn that is being fed is cancelled");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "and then there is no turn to answer");
    feed(session, NULL);
    need(lyra_end_turn(session), "the turn ends");
    check_status(lyra_feed_text(session, "x", 1), LYRA_E_STATE, "no text is fed during an answer");
    const float silence[4] = {0}, faulty[4] = {0, (float)NAN, 0, 0};
    const uint8_t pixels[3] = {0};
    const size_t huge = SIZE_MAX / 64; /* more than any memory: must not be read */
    check_status(lyra_feed_audio_pcm(session, silence, 4, 1, 16000), LYRA_E_STATE, "no samples during an answer");
    check_status(lyra_feed_audio_pcm(session, faulty, 4, 1, 16000), LYRA_E_STATE, "nor samples that are not finite");
    check_status(lyra_feed_sound_pcm(session, faulty, 4, 1, 16000), LYRA_E_STATE, "nor such samples of sound");
    check_status(lyra_feed_audio_pcm(session, silence, huge, 1, 16000), LYRA_E_STATE, "nor more than memory holds");
    check_status(lyra_feed_sound_pcm(session, silence, huge, 1, 16000), LYRA_E_STATE, "nor more sound than it holds");
    check_status(lyra_feed_audio_bytes(session, silence, huge), LYRA_E_STATE, "nor a file of speech in memory");
    check_status(lyra_feed_sound_bytes(session, silence, huge), LYRA_E_STATE, "nor one of sound");
    check_status(lyra_feed_image_bytes(session, silence, huge), LYRA_E_STATE, "nor an image");
    check_status(lyra_feed_video_bytes(session, silence, huge, NULL), LYRA_E_STATE, "nor a video");
    check_status(lyra_feed_image_rgb8(session, pixels, 1, 1, 1), LYRA_E_STATE, "nor pixels, whatever their stride");
    check_status(lyra_feed_video_frames(session, pixels, 1, 1, 1, 1), LYRA_E_STATE, "nor frames");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "a turn does not end twice");
    answer *got = new_answer();
    finish(session, got, 4, 64);
    free_answer(got);
    check_status(lyra_step(session, &events), LYRA_E_STATE, "no step after the end event");
    check_status(lyra_set_system_prompt(session, "x", 1), LYRA_E_STATE, "no system prompt after a turn");
    check_status(lyra_reset(session), LYRA_OK, "the session is reset");
    check_status(lyra_set_system_prompt(session, "x", 1), LYRA_OK, "a system prompt after a reset");
    check_status(lyra_feed_audio_file(session, "/nowhere.wav"), LYRA_E_IO, "a missing recording");
    check(strstr(lyra_last_error(), "/nowhere.wav") != NULL, "the message names the recording");
    check_status(lyra_feed_audio_file(session, "/etc/passwd"), LYRA_E_FORMAT, "a file that is not a recording");
    lyra_session_destroy(session);
}

static void reading(lyra_model *model, const char *recording, answer **whole) {
    lyra_session *session = greedy_session(model);
    *whole = take_turn(session, recording, 1024, 0);
    const lyra_usage usage = usage_of(session);
    check((*whole)->ends == 1, "one end event");
    check(((*whole)->events_seen & LYRA_EVENT_PROGRESS) != 0, "progress is reported");
    check((*whole)->token_count > 0 && (*whole)->token_count <= ANSWER_TOKENS,
          "the answer has at least one token and at most ANSWER_TOKENS");
    check((*whole)->unit_count > 0 && (*whole)->samples > 0, "the answer is spoken");
    check(usage.generated_tokens == (int64_t)(*whole)->token_count, "usage counts the tokens that were read");
    check(usage.units == (int64_t)(*whole)->unit_count, "usage counts the units that were read");
    check(usage.audio_samples == (int64_t)(*whole)->samples, "usage counts the samples that were read");
    check(usage.prompt_tokens > 0 && usage.media_tokens > 0 && usage.media_tokens < usage.prompt_tokens,
          "usage counts prompt and media tokens");
    check(usage.stop == LYRA_STOP_EOS || usage.stop == LYRA_STOP_LENGTH, "usage says why the turn ended");
    check(memchr(usage.adapter, 0, sizeof usage.adapter) != NULL && usage.adapter[0] != 0, "usage names the adapter");
    lyra_session_destroy(session);

    session = greedy_session(model);
    answer *pieces = take_turn(session, recording, 4, 7);
    check(same(*whole, pieces), "the answer read in small pieces during the turn is bit-identical");
    free_answer(pieces);

    check_status(lyra_reset(session), LYRA_OK, "reset");
    answer *again = take_turn(session, recording, 64, 1000);
    check(same(*whole, again), "after a reset the same question has the same answer");
    free_answer(again);
    lyra_session_destroy(session);
}

static void small_buffers(lyra_model *model) {
    lyra_session *session = greedy_session(model);
    feed(session, NULL);
    need(lyra_end_turn(session), "the turn ends");
    answer *got = new_answer();
    finish(session, got, 0, 0);
    size_t count = 99;
    char byte[8] = "-------";
    const lyra_status status = lyra_read_text(session, byte, 0, &count);
    check((status == LYRA_E_ARGUMENT && count == 99) || (status == LYRA_OK && count == 0),
          "a text buffer of 0 bytes gets nothing");
    for (size_t capacity = 1; capacity <= 4; capacity++) {
        count = 99;
        const lyra_status small = lyra_read_text(session, byte, capacity, &count);
        check(small == LYRA_OK ? count <= capacity : small == LYRA_E_ARGUMENT && count == 99 && capacity < 4,
              "a small text buffer gets whole characters or a refusal");
        check(byte[capacity] == '-', "a small text buffer is not overrun");
    }
    float samples[2] = {9, 9};
    need(lyra_read_audio(session, samples, 0, &count), "audio into no buffer");
    check(count == 0, "an audio buffer of 0 samples gets nothing");
    need(lyra_read_audio(session, samples, 1, &count), "audio into a buffer of one");
    check(count <= 1 && samples[1] == 9, "an audio buffer of one sample is not overrun");
    free_answer(got);
    lyra_session_destroy(session);
}

/* Steps until an event of `bits` is set or the turn ends. → the events of the last step */
static uint32_t step_until(lyra_session *session, uint32_t bits) {
    uint32_t events = 0;
    while (!(events & (bits | LYRA_EVENT_END))) need(lyra_step(session, &events), "a step");
    return events;
}

static void cancelling(lyra_model *model, const char *recording, const answer *whole) {
    static const struct {
        uint32_t until;
        const char *promise;
    } moments[] = {{0, "cancelled before its first step, a turn ends with the next"},
                   {LYRA_EVENT_PROGRESS, "cancelled while it encodes, a turn ends with the next step"},
                   {LYRA_EVENT_TEXT, "cancelled while it speaks, a turn ends with the next step"},
                   {LYRA_EVENT_AUDIO, "cancelled after its first sound, a turn ends with the next step"}};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        lyra_session *session = greedy_session(model);
        uint32_t events = 0;
        feed(session, recording);
        need(lyra_end_turn(session), "the turn ends");
        if (moments[i].until != 0) events = step_until(session, moments[i].until);
        if (events & LYRA_EVENT_END) {
            printf("# the turn was over before it could be cancelled\n");
        } else {
            need(lyra_cancel(session), "cancel");
            need(lyra_step(session, &events), "the step after cancel");
            check((events & LYRA_EVENT_END) != 0, moments[i].promise);
            check(usage_of(session).stop == LYRA_STOP_CANCELLED, "usage says that the turn was cancelled");
            answer *rest = new_answer();
            drain(session, rest, 64, 1000);
            check(rest->text_bytes == 0 && rest->samples == 0, "a cancelled turn leaves nothing to read");
            free_answer(rest);
            answer *next = take_turn(session, recording, 64, 1000);
            check(same(whole, next), "the turn after a cancelled one is as without it");
            free_answer(next);
        }
        lyra_session_destroy(session);
    }
}

static void stopping(lyra_model *model, const char *recording) {
    lyra_session *session = greedy_session(model);
    feed(session, recording);
    need(lyra_end_turn(session), "the turn ends");
    uint32_t events = step_until(session, LYRA_EVENT_TEXT);
    if (events & LYRA_EVENT_END) {
        printf("# the turn was over before it could be stopped\n");
    } else {
        need(lyra_stop(session), "stop");
        const int64_t generated = usage_of(session).generated_tokens;
        answer *rest = new_answer();
        finish(session, rest, 64, 1000);
        const lyra_usage usage = usage_of(session);
        check(usage.stop == LYRA_STOP_STOPPED && rest->ends == 1, "usage says that the turn was stopped, once");
        check(usage.generated_tokens == generated, "a stopped turn generates no further token");
        drain(session, rest, 64, 1000);
        check(rest->text_bytes > 0 && (usage.units == 0 || rest->samples > 0),
              "a stopped turn leaves its text and its speech to read");
        check(usage.audio_samples == (int64_t)rest->samples, "usage counts all its samples");
        free_answer(rest);
        answer *next = take_turn(session, NULL, 64, 1000);
        check(next->ends == 1, "a stopped conversation can be continued");
        check(usage_of(session).cached_tokens > 0, "and keeps the generated tokens");
        free_answer(next);
    }
    lyra_session_destroy(session);
}

/* A second stop ends the answer with the next step; a cancel after a stop rolls the turn back. */
static void stopping_at_once(lyra_model *model, const char *recording) {
    for (int cancels = 0; cancels <= 1; cancels++) {
        lyra_session *session = greedy_session(model);
        feed(session, recording);
        need(lyra_end_turn(session), "the turn ends");
        uint32_t events = step_until(session, LYRA_EVENT_TEXT);
        if (!(events & LYRA_EVENT_END)) {
            need(lyra_stop(session), "stop");
            need(cancels ? lyra_cancel(session) : lyra_stop(session), "a second request");
            need(lyra_step(session, &events), "the step after it");
            check((events & LYRA_EVENT_END) != 0, "a second request ends a stopped turn with the next step");
            check(usage_of(session).stop == (cancels ? LYRA_STOP_CANCELLED : LYRA_STOP_STOPPED), "usage says which");
        }
        lyra_session_destroy(session);
    }
}

/* A request between two feeds discards what was fed, which usage reports. */
static void half_turn(lyra_model *model, const char *recording) {
    for (int stops = 0; stops <= 1; stops++) {
        const lyra_stop_reason reason = stops ? LYRA_STOP_STOPPED : LYRA_STOP_CANCELLED;
        lyra_session *session = greedy_session(model);
        uint32_t events = 0;
        need(lyra_feed_audio_file(session, recording), "a recording is fed");
        check(usage_of(session).stop == LYRA_STOP_NONE, "nothing is discarded yet");
        need(stops ? lyra_stop(session) : lyra_cancel(session), "a request between feeds");
        check(usage_of(session).stop == reason, "usage reports the request at once");
        check_status(lyra_step(session, &events), LYRA_E_STATE, "a step after it has no turn");
        check_status(lyra_end_turn(session), LYRA_E_STATE, "and there is no turn to answer");
        need(lyra_feed_text(session, "What is said?", 13), "text is fed");
        check(usage_of(session).stop == reason, "usage reports the request until the next turn ends");
        need(lyra_end_turn(session), "the turn ends");
        check(usage_of(session).stop == LYRA_STOP_NONE, "and not after that");
        answer *got = new_answer();
        finish(session, got, 64, 1000);
        check(usage_of(session).media_tokens == 0, "later feeds are a new turn");
        free_answer(got);
        lyra_session_destroy(session);
    }
}

/* The first call that detects a context over its limit fails, and rolls the turn back. */
static void limits(lyra_model *model, const char *recording) {
    lyra_session *session = NULL;
    lyra_session_options options;
    need(lyra_session_options_init(&options), "session options");
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_context_tokens = 4;
    need(lyra_session_create(model, &options, &session), "a session begins");
    lyra_status status = lyra_feed_audio_file(session, recording);
    if (status == LYRA_OK) status = lyra_feed_text(session, "What is said?", 13);
    if (status == LYRA_OK) status = lyra_end_turn(session);
    uint32_t events = 0;
    const int stepped = status == LYRA_OK;
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    check_status(status, LYRA_E_MEMORY, "a conversation over its limit is refused");
    if (stepped) {
        check((events & LYRA_EVENT_END) != 0, "a step that fails ends the turn");
        check(usage_of(session).stop == LYRA_STOP_ERROR, "usage says that a step failed");
    }
    check_status(lyra_reset(session), LYRA_OK, "the session stays usable");
    lyra_session_destroy(session);
}

/* The number of prompt tokens of a turn of one text that `feed_text` feeds. */
static int64_t prompt_tokens(lyra_model *model, lyra_status (*feed_text)(lyra_session *, const char *, size_t),
                             const char *text) {
    lyra_session *session = greedy_session(model);
    answer *got = new_answer();
    need(feed_text(session, text, strlen(text)), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    finish(session, got, 64, 1000);
    const int64_t tokens = usage_of(session).prompt_tokens;
    free_answer(got);
    lyra_session_destroy(session);
    return tokens;
}

static void plain_text(lyra_model *model) {
    const int64_t none = prompt_tokens(model, lyra_feed_text, "");
    check(prompt_tokens(model, lyra_feed_text, "<|im_end|>") > none + 4, "a special token's name is plain text");
    check(prompt_tokens(model, lyra_feed_text_special, "<|im_end|>") == none + 1, "on request it is that token");
    check(prompt_tokens(model, lyra_feed_text_special, "hello") == prompt_tokens(model, lyra_feed_text, "hello"),
          "text without such names has the same tokens in both");
}

static void several_turns(lyra_model *model, const char *recording) {
    lyra_session *session = greedy_session(model);
    answer *first = take_turn(session, recording, 64, 1000);
    answer *second = take_turn(session, NULL, 64, 1000);
    check(first->ends == 1 && second->ends == 1, "each turn has one end event");
    check(usage_of(session).cached_tokens > 0, "the second turn computes nothing of the first again");
    free_answer(first);
    free_answer(second);
    lyra_session_destroy(session);
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    answer *whole = NULL;
    states(model);
    reading(model, argv[2], &whole);
    small_buffers(model);
    cancelling(model, argv[2], whole);
    stopping(model, argv[2]);
    stopping_at_once(model, argv[2]);
    half_turn(model, argv[2]);
    limits(model, argv[2]);
    several_turns(model, argv[2]);
    plain_text(model);
    free_answer(whole);
    check_status(lyra_model_close(model), LYRA_OK, "the model is closed");
    return check_failures != 0;
}
