/* Questions about long recordings, and their answers. */
#ifndef ASK_H
#define ASK_H

#include "check.h"

enum { RATE = 16000 };

typedef struct {
    int32_t tokens[ANSWER_TOKENS];
    size_t count;
    int steps; /* after the turn's end, that encoded or prefilled */
    lyra_usage usage;
} reply;

/* Options for short, reproducible answers, sampled so that they depend on everything that was fed. */
static inline lyra_session_options usual_options(void) {
    lyra_session_options options;
    need(lyra_session_options_init(&options), "session options");
    options.sampling = LYRA_SAMPLING_RANDOM;
    options.seed = 7;
    options.max_new_tokens = ANSWER_TOKENS;
    return options;
}

static inline lyra_session *session_with(lyra_model *model, const lyra_session_options *options) {
    lyra_session *session = NULL;
    need(lyra_session_create(model, options, &session), "a session begins");
    return session;
}

static inline lyra_usage usage_of(lyra_session *session) {
    lyra_usage usage;
    need(lyra_usage_init(&usage), "usage");
    need(lyra_get_usage(session, &usage), "usage");
    return usage;
}

/* Asks `question` after what was fed. → the answer */
static inline reply ask(lyra_session *session, const char *question) {
    reply answer;
    uint32_t events = 0;
    memset(&answer, 0, sizeof answer);
    need(lyra_feed_text(session, question, strlen(question)), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    while (!(events & LYRA_EVENT_END)) {
        need(lyra_step(session, &events), "a step");
        answer.steps += (events & LYRA_EVENT_PROGRESS) != 0;
    }
    need(lyra_read_tokens(session, answer.tokens, ANSWER_TOKENS, &answer.count), "tokens are read");
    answer.usage = usage_of(session);
    return answer;
}

static inline int same_tokens(reply a, reply b) {
    return a.count > 0 && a.count == b.count && memcmp(a.tokens, b.tokens, a.count * sizeof *a.tokens) == 0;
}

/* Works ahead until nothing is left. → the number of steps that did work */
static inline int work_ahead(lyra_session *session) {
    int worked = -1;
    uint32_t events = LYRA_EVENT_PROGRESS;
    for (; events != 0; worked++) need(lyra_step(session, &events), "a step ahead");
    return worked;
}

/* `seconds` of noise that swells and fades; the caller frees it. */
static inline float *noise(int seconds, uint32_t seed) {
    float *samples = malloc((size_t)seconds * RATE * sizeof *samples);
    if (samples == NULL) need(LYRA_E_MEMORY, "memory for noise");
    for (int i = 0; i < seconds * RATE; i++) {
        seed = seed * 1664525u + 1013904223u;
        const float swell = (float)(i % 5000) / 5000.0f;
        samples[i] = swell * ((float)(seed >> 8) / 8388608.0f - 1.0f) * 0.5f;
    }
    return samples;
}

static inline void feed_noise(lyra_session *session, const float *samples, int seconds) {
    need(lyra_feed_audio_pcm(session, samples, (size_t)seconds * RATE, 1, RATE), "samples are fed");
}

#endif
