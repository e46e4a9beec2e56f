/* Sixteen sessions of one model that are stepped together: one is cancelled from another thread, one fails, one joins
 * late; the others answer as they do alone. ThreadSanitizer also checks this program. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { SESSIONS = 16, CANCELLED = 3, FAILING = 5, LATE = 9, LATE_STEPS = 12 };

typedef struct {
    lyra_session *session;
    int ends;
    lyra_status status;
    int32_t tokens[ANSWER_TOKENS], units[4096];
    size_t token_count, unit_count, samples;
} talk;

static void begin(talk *t, lyra_model *model, int index, const char *recording) {
    static const char *const questions[] = {"What is said?", "Hello!", "Who is it, and where?"};
    memset(t, 0, sizeof *t);
    if (index == FAILING) {
        lyra_session_options options;
        need(lyra_session_options_init(&options), "session options");
        options.max_memory_bytes = 1000;
        need(lyra_session_create(model, &options, &t->session), "a session begins");
    } else
        t->session = greedy_session(model);
    if (index % 2 == 0) need(lyra_feed_audio_file(t->session, recording), "a recording is fed");
    const char *question = questions[index % 3];
    need(lyra_feed_text(t->session, question, strlen(question)), "text is fed");
    need(lyra_end_turn(t->session), "the turn ends");
}

static void read_results(talk *t) {
    float audio[4096];
    size_t count;
    need(lyra_read_tokens(t->session, t->tokens + t->token_count, ANSWER_TOKENS - t->token_count, &count), "tokens");
    t->token_count += count;
    need(lyra_read_units(t->session, t->units + t->unit_count, 4096 - t->unit_count, &count), "units");
    t->unit_count += count;
    for (count = 1; count > 0; t->samples += count)
        need(lyra_read_audio(t->session, audio, 4096, &count), "audio is read");
}

static int same(const talk *a, const talk *b) {
    return a->token_count > 0 && a->token_count == b->token_count && a->unit_count == b->unit_count &&
           a->samples == b->samples && memcmp(a->tokens, b->tokens, a->token_count * sizeof *a->tokens) == 0 &&
           memcmp(a->units, b->units, a->unit_count * sizeof *a->units) == 0;
}

static void *cancel_later(void *session) {
    const struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    return lyra_cancel(session) == LYRA_OK ? NULL : session;
}

/* Steps all together until each has ended once. */
static void finish(talk *talks) {
    for (int step = 0;; step++) {
        lyra_session *due[SESSIONS];
        int which[SESSIONS], count = 0;
        uint32_t events[SESSIONS];
        lyra_status statuses[SESSIONS];
        for (int i = 0; i < SESSIONS; i++)
            if (talks[i].ends == 0 && (i != LATE || step >= LATE_STEPS)) {
                which[count] = i;
                due[count++] = talks[i].session;
            }
        if (count == 0 && step >= LATE_STEPS) return;
        const lyra_status first = lyra_step_many(due, (size_t)count, events, statuses);
        int failed = 0;
        for (int i = 0; i < count; i++) {
            talk *t = &talks[which[i]];
            if (statuses[i] != LYRA_OK) t->status = statuses[i], failed++;
            t->ends += (events[i] & LYRA_EVENT_END) != 0;
            read_results(t);
        }
        if ((first != LYRA_OK) != (failed > 0)) {
            check(0, "the status is that of the first session with an error");
            printf("# %s\n", lyra_last_error());
            return;
        }
        if (failed > 0) check(strstr(lyra_last_error(), "session 5: ") != NULL, "the message names the session");
    }
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv), *other = NULL;
    talk talks[SESSIONS], alone;
    pthread_t thread;
    void *failed = NULL;
    for (int i = 0; i < SESSIONS; i++) begin(&talks[i], model, i, argv[2]);

    uint32_t events[2] = {7, 7};
    lyra_status statuses[2] = {7, 7};
    lyra_session *twice[2] = {talks[0].session, talks[0].session};
    check_status(lyra_step_many(twice, 2, events, statuses), LYRA_E_ARGUMENT, "the same session twice is refused");
    check(events[0] == 0 && statuses[1] == LYRA_OK, "a refused call leaves no events and no errors of sessions");
    events[1] = 7, statuses[0] = 7;
    check_status(lyra_step_many(NULL, 2, events, statuses), LYRA_E_ARGUMENT, "no sessions are refused");
    check(events[1] == 0 && statuses[0] == LYRA_OK, "then, too");
    check_status(lyra_step_many(twice, 2, NULL, statuses), LYRA_E_ARGUMENT, "no place for events is refused");
    check_status(lyra_step_many(NULL, 0, NULL, NULL), LYRA_OK, "no session is nothing to do");
    need(lyra_model_open(argv[1], NULL, &other), "the model opens again");
    lyra_session *different[2] = {talks[0].session, greedy_session(other)};
    check_status(lyra_step_many(different, 2, events, NULL), LYRA_E_ARGUMENT, "sessions of two models are refused");
    need(lyra_session_destroy(different[1]), "a session ends");
    check_status(lyra_step_many(different, 2, events, NULL), LYRA_E_CLOSED, "a closed session is refused");
    need(lyra_model_close(other), "the model closes");

    if (pthread_create(&thread, NULL, cancel_later, talks[CANCELLED].session) != 0) return 1;
    finish(talks);
    pthread_join(thread, &failed);
    check(failed == NULL, "the cancel is accepted");
    check(talks[FAILING].status == LYRA_E_MEMORY && talks[FAILING].ends == 1, "the one over its limit fails alone");
    int ends = 0, equal = 1;
    for (int i = 0; i < SESSIONS; i++) {
        ends += talks[i].ends;
        if (i == FAILING) continue;
        begin(&alone, model, i, argv[2]);
        for (uint32_t made = 0; !(made & LYRA_EVENT_END);) need(lyra_step(alone.session, &made), "a step");
        read_results(&alone);
        /* The cancelled one may have ended before the cancel came. */
        if (i != CANCELLED || talks[i].token_count > 0) equal = equal && same(&talks[i], &alone);
        need(lyra_session_destroy(alone.session), "a session ends");
    }
    check(ends == SESSIONS, "every turn ends once");
    check(equal, "every answer is that of the session alone");
    for (int i = 0; i < SESSIONS; i++) need(lyra_session_destroy(talks[i].session), "a session ends");
    need(lyra_model_close(model), "the model closes");
    return check_failures != 0;
}
