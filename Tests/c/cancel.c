/* How long lyra_cancel takes, in every phase of a turn: the time from the request to the return of the working call.
 * usage: cancel MODEL RECORDING IMAGE STATE [POINTS SECONDS]
 * IMAGE is a large image; STATE is the path of a large state to write. Each phase runs once, for at most SECONDS.
 * Then it is started POINTS times and cancelled at POINTS moments of that time. The smaller of two times counts:
 * elapsed time, which is right on an idle machine, and processor time per thread, which is right on a busy one. */
#define _GNU_SOURCE
#include "ask.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 2, WIDTH = 4000, HEIGHT = 3000, TOKENS = 8000, STATE_BYTES = 128 << 20, MOST_POINTS = 200 };
static const double bar = 250;

static lyra_model *model;
static const char *picture, *state;
static uint8_t *pixels;
static int points = 5;
static double most = 1200;

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

/* ----------------------------------------------------------------------------------------------------------- phases */

/* Steps to the end of the turn, or to an error. */
static lyra_status run(lyra_session *session) {
    uint32_t events = 0;
    lyra_status status = LYRA_OK;
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    return status;
}

static void end_turn(lyra_session *session) { need(lyra_end_turn(session), "the turn ends"); }

static void feed_speech(lyra_session *session) {
    float *samples = noise(30, 5);
    feed_noise(session, samples, 30);
    free(samples);
    end_turn(session);
}

static void feed_pixels(lyra_session *session) {
    need(lyra_feed_image_rgb8(session, pixels, WIDTH, HEIGHT, WIDTH * 3), "an image is fed");
    end_turn(session);
}

static void feed_words(lyra_session *session) {
    static char text[TOKENS];
    for (int i = 0; i < TOKENS; i++) text[i] = (char)('!' + i * 7 % 90);
    need(lyra_feed_text(session, text, sizeof text), "text is fed");
    end_turn(session);
}

static void begin_answer(lyra_session *session) {
    uint32_t events = 0;
    lyra_progress progress;
    need(lyra_progress_init(&progress), "progress");
    need(lyra_feed_text(session, "What?", 5), "text is fed");
    end_turn(session);
    do {
        need(lyra_step(session, &events), "a step");
        need(lyra_get_progress(session, &progress), "progress");
    } while (!(events & LYRA_EVENT_END) && (progress.phase != LYRA_PHASE_ANSWER || progress.done == 0));
}

static void nothing(lyra_session *session) { (void)session; }

static lyra_status feed_file(lyra_session *session) { return lyra_feed_image_file(session, picture); }
static lyra_status restore(lyra_session *session) { return lyra_restore(session, state); }

static const struct phase {
    const char *name;
    void (*prepare)(lyra_session *);
    lyra_status (*work)(lyra_session *);
    int speaks;
    int threads; /* that share the work */
} phases[] = {
    {"a window of speech", feed_speech, run, 0, THREADS},
    {"an image of 4000 x 3000", feed_pixels, run, 0, THREADS},
    {"a prompt of 8,000 tokens", feed_words, run, 0, THREADS},
    {"an answer", begin_answer, run, 0, THREADS},
    {"a spoken answer", begin_answer, run, 1, THREADS},
    {"feeding a large image", nothing, feed_file, 0, 1},
    {"restoring a large state", nothing, restore, 0, 1},
};

/* ---------------------------------------------------------------------------------------------------------- cancels */

typedef struct {
    lyra_session *session;
    double delay, at, processor;
} request;

static void *cancel_later(void *given) {
    request *r = given;
    usleep((useconds_t)(r->delay * 1e3));
    r->processor = now(CLOCK_PROCESS_CPUTIME_ID);
    r->at = now(CLOCK_MONOTONIC);
    lyra_cancel(r->session);
    return NULL;
}

typedef struct {
    double worked, elapsed, processor; /* ms; elapsed and processor are negative if the work ended before the request */
} latency;

static latency cancel_at(const struct phase *phase, double delay) {
    pthread_t thread;
    lyra_session_options options = usual_options();
    options.max_new_tokens = 1 << 20;
    options.speak = phase->speaks;
    request r = {session_with(model, &options), delay, 0, 0};
    phase->prepare(r.session);
    const double start = now(CLOCK_MONOTONIC);
    if (pthread_create(&thread, NULL, cancel_later, &r) != 0) need(LYRA_E_MEMORY, "a thread");
    const lyra_status status = phase->work(r.session);
    const double end = now(CLOCK_MONOTONIC), processor = now(CLOCK_PROCESS_CPUTIME_ID);
    latency found = {end - start, -1, -1};
    if (status != LYRA_OK && status != LYRA_E_STATE) need(status, phase->name);
    pthread_join(thread, NULL);
    if (r.at < end) {
        found.elapsed = end - r.at;
        found.processor = (processor - r.processor) / phase->threads;
    }
    lyra_session_destroy(r.session);
    return found;
}

static int ascending(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : 1; }

static void measure(const struct phase *phase) {
    double elapsed[MOST_POINTS], processor[MOST_POINTS], longest = 0;
    int count = 0;
    const double whole = cancel_at(phase, most).worked;
    for (int i = 0; i < points; i++) {
        const latency found = cancel_at(phase, (i + 0.5) / points * (whole < most ? whole : most));
        if (found.elapsed < 0) continue;
        elapsed[count] = found.elapsed;
        processor[count++] = found.processor;
        const double counts = found.elapsed < found.processor ? found.elapsed : found.processor;
        if (counts > longest) longest = counts;
    }
    char promise[200];
    snprintf(promise, sizeof promise, "%s is cancelled within %.0f ms", phase->name, bar);
    check(count > 0 && longest <= bar, promise);
    if (count == 0) return;
    qsort(elapsed, (size_t)count, sizeof *elapsed, ascending);
    qsort(processor, (size_t)count, sizeof *processor, ascending);
    printf("# %s, %.0f ms of it: %d cancels took %.1f ms (median), %.1f (most); ", phase->name, whole, count,
           elapsed[count / 2], elapsed[count - 1]);
    printf("processor time of each thread %.1f, %.1f\n", processor[count / 2], processor[count - 1]);
}

/* ---------------------------------------------------------------------------------------------------- a large state */

static uint32_t crc(uint32_t sum, const unsigned char *data, size_t count) {
    static uint32_t table[256];
    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            table[i] = i;
            for (int bit = 0; bit < 8; bit++) table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xEDB88320u : table[i] >> 1;
        }
    for (size_t i = 0; i < count; i++) sum = sum >> 8 ^ table[(sum ^ data[i]) & 0xFF];
    return sum;
}

/* Enlarges a small state to the rows that STATE_BYTES hold, all zeros. */
static void write_state(void) {
    enum { FIXED = 20, ROOM = 1 << 20 };
    static unsigned char small[ROOM], zeros[ROOM];
    static char head[ROOM];
    lyra_session *session = session_with(model, NULL);
    begin_answer(session);
    lyra_cancel(session);
    need(run(session), "the turn is cancelled");
    need(lyra_save(session, state), "a state is saved");
    lyra_session_destroy(session);
    FILE *file = fopen(state, "rb");
    size_t got = file == NULL ? 0 : fread(small, 1, ROOM - 1, file), size = 0;
    if (got < FIXED || fclose(file) != 0) need(LYRA_E_IO, state);
    for (int i = 7; i >= 0; i--) size = size << 8 | small[12 + i];
    const char *json = (char *)small + FIXED, *list = strstr(json, "\"lengths\":["), *end;
    if (list == NULL || (end = strchr(list, ']')) == NULL) need(LYRA_E_FORMAT, state);
    lyra_model_info info;
    need(lyra_model_info_init(&info), "info");
    need(lyra_model_get_info(model, &info), "info");
    /* The small state has no rows. The error message about a missing row states the bytes of a row. */
    size_t row_bytes = 0, rows = 1;
    for (int pass = 0; pass < 2; pass++) {
        size_t used = (size_t)(list - json) + strlen("\"lengths\":[");
        memcpy(head, json, used);
        for (int layer = 0; layer < info.layers; layer++)
            used += (size_t)sprintf(head + used, layer == 0 ? "%zu" : ",%zu", rows);
        memcpy(head + used, end, size - (size_t)(end - json));
        used += size - (size_t)(end - json);
        for (int i = 0; i < 8; i++) small[12 + i] = (unsigned char)(used >> (8 * i));
        file = fopen(state, "wb");
        if (file == NULL) need(LYRA_E_IO, state);
        uint32_t sum = crc(crc(0xFFFFFFFFu, small, FIXED), (unsigned char *)head, used);
        fwrite(small, 1, FIXED, file);
        fwrite(head, 1, used, file);
        for (size_t left = rows * row_bytes, part; left > 0; left -= part) {
            part = left < ROOM ? left : ROOM;
            sum = crc(sum, zeros, part);
            fwrite(zeros, 1, part, file);
        }
        sum = ~sum;
        fwrite(&sum, 1, 4, file);
        if (fclose(file) != 0) need(LYRA_E_IO, state);
        if (pass == 1) break;
        session = session_with(model, NULL);
        lyra_status status = lyra_restore(session, state);
        const char *means = status == LYRA_E_FORMAT ? strstr(lyra_last_error(), "header implies ") : NULL;
        if (means == NULL) need(LYRA_E_FORMAT, "the bytes of a row");
        row_bytes = (size_t)atoll(means + strlen("header implies "));
        rows = STATE_BYTES / row_bytes;
        lyra_session_destroy(session);
    }
    session = session_with(model, NULL);
    need(lyra_restore(session, state), "a large state is restored");
    lyra_session_destroy(session);
}

int main(int argc, char **argv) {
    lyra_model_options options;
    if (argc < 5) return 64;
    if (argc > 6) {
        points = atoi(argv[5]);
        most = atof(argv[6]) * 1e3;
        if (points < 1 || points > MOST_POINTS) return 64;
    }
    picture = argv[3];
    state = argv[4];
    need(lyra_model_options_init(&options), "options");
    options.threads = THREADS;
    need(lyra_model_open(argv[1], &options, &model), "the model opens");
    pixels = malloc((size_t)WIDTH * HEIGHT * 3);
    if (pixels == NULL) return 1;
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT * 3; i++) pixels[i] = (uint8_t)(i * i / 7 + i);

    lyra_session_options usual = usual_options();
    lyra_session *before = session_with(model, &usual), *after = session_with(model, &usual);
    const reply wanted = ask(before, "Hello!");
    write_state();
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) measure(&phases[i]);
    check(same_tokens(ask(after, "Hello!"), wanted), "answers are the same after all cancels");
    lyra_session_destroy(before);
    lyra_session_destroy(after);
    lyra_model_close(model);
    free(pixels);
    unlink(state);
    return check_failures != 0;
}
