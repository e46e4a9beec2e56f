/* Memory of sessions: the limit is enforced, smaller cache types take less, and destroyed sessions leave none. */
#include "ask.h"

#include <unistd.h>

enum { SECONDS = 31, WARM_UP = 200, CYCLES = 1000 };

/* ---------------------------------------------------------------------------------------------------------- a limit */

/* Steps until the end event or an error. */
static lyra_status run_turn(lyra_session *session, uint32_t *events) {
    lyra_status status = LYRA_OK;
    while (status == LYRA_OK && !(*events & LYRA_EVENT_END)) status = lyra_step(session, events);
    return status;
}

/* The message must have the needed memory and the limit. */
static void check_both_numbers(int64_t limit) {
    const char *message = lyra_last_error();
    const char *taken = strstr(message, "would take "), *over = strstr(message, "limit of ");
    const long long needed = taken == NULL ? 0 : atoll(taken + strlen("would take "));
    check(needed > limit, "the message has the needed memory");
    check(over != NULL && atoll(over + strlen("limit of ")) == limit, "and the limit");
    if (check_failures > 0) printf("# %s\n", message);
}

static void limited(lyra_model *model, const float *samples, const char *state) {
    lyra_session_options options = usual_options();
    lyra_session *roomy = session_with(model, &options);
    const reply hello = ask(roomy, "Hello!");
    options.max_memory_bytes = hello.usage.cache_bytes;
    lyra_session *session = session_with(model, &options);

    uint32_t events = 0;
    feed_noise(session, samples, SECONDS);
    need(lyra_feed_text(session, "Summarize.", 10), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    check_status(run_turn(session, &events), LYRA_E_MEMORY, "a turn over the memory limit is refused");
    check_both_numbers(options.max_memory_bytes);
    check((events & LYRA_EVENT_END) != 0 && usage_of(session).stop == LYRA_STOP_ERROR, "and ends with this error");
    check(usage_of(session).cache_bytes <= options.max_memory_bytes, "its cache is within the limit");
    check(same_tokens(ask(session, "Hello!"), hello), "the next turn has its answer");

    need(lyra_reset(session), "reset");
    feed_noise(session, samples, SECONDS);
    lyra_status status = LYRA_OK;
    for (events = 1; status == LYRA_OK && events != 0;) status = lyra_step(session, &events);
    check_status(status, LYRA_E_MEMORY, "a step that works ahead is refused, too");
    check(same_tokens(ask(session, "Hello!"), hello), "and the next turn has its answer");

    feed_noise(roomy, samples, SECONDS);
    ask(roomy, "Summarize.");
    need(lyra_save(roomy, state), "a large conversation is saved");
    need(lyra_reset(session), "reset");
    check_status(lyra_restore(session, state), LYRA_E_MEMORY, "a state over the limit is refused");
    check_both_numbers(options.max_memory_bytes);
    check(same_tokens(ask(session, "Hello!"), hello), "and the session stays usable");
    lyra_session_destroy(session);
    lyra_session_destroy(roomy);
}

/* ------------------------------------------------------------------------------------------------------ cache types */

static reply ask_with(lyra_model *model, const float *samples, lyra_kv_type type) {
    lyra_session_options options = usual_options();
    options.kv_type = type;
    lyra_session *session = session_with(model, &options);
    for (int i = 0; i < 3; i++) feed_noise(session, samples, SECONDS);
    const reply answer = ask(session, "Summarize.");
    lyra_session_destroy(session);
    return answer;
}

static void cache_types(lyra_model *model, const float *samples) {
    const reply whole = ask_with(model, samples, LYRA_KV_F32), half = ask_with(model, samples, LYRA_KV_F16);
    check(same_tokens(half, whole), "keys and values of 16 bits keep the answer");
    const int64_t saved = whole.usage.cache_bytes - half.usage.cache_bytes;
    check(saved * 6 > whole.usage.cache_bytes, "and take half the memory, except for the newest 512");
    check(ask_with(model, samples, LYRA_KV_BF16).usage.cache_bytes == half.usage.cache_bytes, "so do those of BF16");
    const int64_t more = whole.usage.cache_bytes - ask_with(model, samples, LYRA_KV_Q8).usage.cache_bytes;
    check(more > saved && more * 2 < saved * 3,
          "keys and values of a byte take less than half; with their scales, more than a quarter");
}

/* --------------------------------------------------------------------------------------------- nothing left behind */

/* This process's memory that is in use, in bytes. */
static double resident_bytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1) need(LYRA_E_IO, "/proc/self/statm");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void one_cycle(lyra_model *model) {
    lyra_session_options options = usual_options();
    options.max_new_tokens = 2;
    lyra_session *session = session_with(model, &options);
    ask(session, "Hello!");
    need(lyra_session_destroy(session), "the session is destroyed");
}

static void cycles(lyra_model *model) {
    for (int i = 0; i < WARM_UP; i++) one_cycle(model);
    const double before = resident_bytes();
    for (int i = 0; i < CYCLES; i++) one_cycle(model);
    const double change = (resident_bytes() - before) / before;
    check(change < 0.01 && change > -0.01, "1,000 sessions leave the memory in use where it was, within 1 %");
    printf("# %.1f MiB after %d sessions, %+.3f %% after %d more\n", before / (1 << 20), WARM_UP, 100 * change, CYCLES);
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    if (argc != 4) need(LYRA_E_ARGUMENT, "usage: memory MODEL RECORDING STATE");
    float *samples = noise(SECONDS, 1);
    cycles(model);
    limited(model, samples, argv[3]);
    cache_types(model, samples);
    free(samples);
    lyra_model_close(model);
    return check_failures != 0;
}
