/* Two sessions of one model in two threads, and a third thread that cancels and stops them. ThreadSanitizer also checks
 * this program (Tests/c/run.sh --sanitize thread). */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { TURNS = 12, SESSIONS = 2 };

typedef struct {
    lyra_session *session;
    const char *recording;
    int ends, refused;
    lyra_status status;
    int32_t ids[64];
    size_t count;
} conversation;

static int one_turn(conversation *talk) {
    uint32_t events = 0;
    float audio[512];
    size_t samples;
    lyra_status status = lyra_feed_audio_file(talk->session, talk->recording);
    if (status == LYRA_OK) status = lyra_feed_text(talk->session, "What is said?", 13);
    if (status == LYRA_OK) status = lyra_end_turn(talk->session);
    if (status == LYRA_E_STATE) {
        talk->refused++; /* a cancel between two feeds discarded them, so there is no turn to answer */
        return 1;
    }
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) {
        status = lyra_step(talk->session, &events);
        if (status == LYRA_OK) status = lyra_read_audio(talk->session, audio, 512, &samples);
    }
    talk->ends += (events & LYRA_EVENT_END) != 0;
    talk->status = status;
    return status == LYRA_OK;
}

static void *converse(void *argument) {
    conversation *talk = argument;
    for (int turn = 0; turn < TURNS; turn++) {
        if (!one_turn(talk)) return NULL;
    }
    return NULL;
}

typedef struct {
    conversation *talks;
    pthread_mutex_t lock;
    int done;
} interruption;

static int is_done(interruption *plan) {
    pthread_mutex_lock(&plan->lock);
    const int done = plan->done;
    pthread_mutex_unlock(&plan->lock);
    return done;
}

static void *interrupt(void *argument) {
    interruption *plan = argument;
    for (long i = 0; !is_done(plan); i++) {
        const struct timespec pause = {0, 1000000 + i * 137 % 7000000};
        nanosleep(&pause, NULL);
        conversation *talk = &plan->talks[i % SESSIONS];
        const lyra_status status = i % 3 == 0 ? lyra_stop(talk->session) : lyra_cancel(talk->session);
        if (status != LYRA_OK) {
            printf("not ok - an interruption: %s\n", lyra_last_error());
            check_failures++;
        }
    }
    return NULL;
}

/* Uninterrupted turns in two threads at once: each must be as in a single thread. */
static void undisturbed(conversation *talks) {
    pthread_t threads[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) need(lyra_reset(talks[i].session), "reset");
    for (int i = 0; i < SESSIONS; i++) talks[i].ends = 0;
    for (int i = 0; i < SESSIONS; i++) pthread_create(&threads[i], NULL, converse, &talks[i]);
    for (int i = 0; i < SESSIONS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < SESSIONS; i++) {
        need(lyra_read_tokens(talks[i].session, talks[i].ids, 64, &talks[i].count), "ids are read");
        check_status(talks[i].status, LYRA_OK, "a session beside another answers");
        check(talks[i].ends == TURNS, "a session beside another has one end event for each turn");
    }
    check(talks[0].count > 0 && talks[0].count == talks[1].count &&
              memcmp(talks[0].ids, talks[1].ids, talks[0].count * sizeof(int32_t)) == 0,
          "two sessions side by side give the same answers to the same questions");
}

static void interrupted(conversation *talks) {
    pthread_t threads[SESSIONS], interrupter;
    interruption plan = {talks, PTHREAD_MUTEX_INITIALIZER, 0};
    for (int i = 0; i < SESSIONS; i++) {
        need(lyra_reset(talks[i].session), "reset");
        talks[i].ends = talks[i].refused = 0;
    }
    for (int i = 0; i < SESSIONS; i++) pthread_create(&threads[i], NULL, converse, &talks[i]);
    pthread_create(&interrupter, NULL, interrupt, &plan);
    for (int i = 0; i < SESSIONS; i++) pthread_join(threads[i], NULL);
    pthread_mutex_lock(&plan.lock);
    plan.done = 1;
    pthread_mutex_unlock(&plan.lock);
    pthread_join(interrupter, NULL);
    pthread_mutex_destroy(&plan.lock);
    for (int i = 0; i < SESSIONS; i++) {
        check_status(talks[i].status, LYRA_OK, "an interrupted session has no error");
        check(talks[i].ends + talks[i].refused == TURNS, "an interrupted session has one end event for each turn");
    }
}

/* During a call on a session, calls from other threads are refused; between steps they succeed. */
static void intruding(conversation *talk) {
    pthread_t thread;
    int strange = 0;
    need(lyra_reset(talk->session), "reset");
    pthread_create(&thread, NULL, converse, talk);
    for (int i = 0; i < 200; i++) {
        lyra_usage usage;
        lyra_status status = lyra_usage_init(&usage);
        if (status == LYRA_OK) status = lyra_get_usage(talk->session, &usage);
        strange += status != LYRA_OK && status != LYRA_E_STATE;
    }
    pthread_join(thread, NULL);
    check(strange == 0, "a call from a second thread is LYRA_E_STATE or succeeds");
}

static void *first_words(void *argument) {
    *(int *)argument = lyra_last_error()[0] == '\0';
    return NULL;
}

static void separate_errors(void) {
    pthread_t thread;
    int none = 0;
    check_status(lyra_end_turn(NULL), LYRA_E_ARGUMENT, "an error in one thread");
    pthread_create(&thread, NULL, first_words, &none);
    pthread_join(thread, NULL);
    check(none, "is not seen by another");
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    conversation talks[SESSIONS];
    memset(talks, 0, sizeof talks);
    for (int i = 0; i < SESSIONS; i++) {
        talks[i].session = greedy_session(model);
        talks[i].recording = argv[2];
    }
    undisturbed(talks);
    interrupted(talks);
    intruding(&talks[0]);
    separate_errors();
    for (int i = 0; i < SESSIONS; i++) need(lyra_session_destroy(talks[i].session), "a session is destroyed");
    need(lyra_model_close(model), "the model is closed");
    return check_failures != 0;
}
