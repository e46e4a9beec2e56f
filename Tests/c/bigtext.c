/* Texts of 64 MiB, the limit of a call. A session with a limit refuses them before they are tokenized; in a process
 * with little address space they are LYRA_E_MEMORY. usage: bigtext MODEL RECORDING */
#define _GNU_SOURCE
#include "ask.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 64 << 20, SECONDS = 60, MOST_MS = 3000 };

static lyra_model *model;
static char *text;

static double processor_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static void fill(const char *piece) {
    const size_t count = strlen(piece);
    for (size_t i = 0; i < BYTES; i++) text[i] = piece[i % count];
    text[BYTES] = '\0';
}

static lyra_status run(lyra_session *session) {
    uint32_t events = 0;
    lyra_status status = lyra_end_turn(session);
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    return status;
}

/* Takes a turn with the text as typed text, or as the system prompt. */
static lyra_status give(lyra_session *session, int as_prompt) {
    lyra_status status =
        as_prompt ? lyra_set_system_prompt(session, text, BYTES) : lyra_feed_text(session, text, BYTES);
    if (status == LYRA_OK && as_prompt) status = lyra_feed_text(session, "Hello!", 6);
    return status == LYRA_OK ? run(session) : status;
}

static void limited(const lyra_session_options *options, const char *limit, const char *kind) {
    for (int as_prompt = 0; as_prompt < 2; as_prompt++) {
        char promise[200];
        lyra_session *session = session_with(model, options);
        const double start = processor_ms();
        const lyra_status status = give(session, as_prompt);
        const double taken = processor_ms() - start;
        snprintf(promise, sizeof promise, "64 MiB of %s as %s, over the limit of %s: LYRA_E_MEMORY", kind,
                 as_prompt ? "a system prompt" : "text", limit);
        check_status(status, LYRA_E_MEMORY, promise);
        snprintf(promise, sizeof promise, "and within %d s of processor time", MOST_MS / 1000);
        check(taken < MOST_MS, promise);
        printf("# %.0f ms\n", taken);
        need(lyra_set_system_prompt(session, "Be brief.", 9), "the system prompt can change");
        check(ask(session, "Hello!").count > 0, "the session stays usable");
        lyra_session_destroy(session);
    }
}

/* Runs a case in a child that can map `mebibytes` more. → its exit status, or -1 */
static int with_room(long mebibytes, int kind) {
    int code = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        long pages = 0;
        FILE *file = fopen("/proc/self/statm", "r");
        if (file == NULL || fscanf(file, "%ld", &pages) != 1) _exit(90);
        fclose(file);
        const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)mebibytes << 20);
        const struct rlimit room = {most, most};
        lyra_session *session = NULL;
        lyra_session_options options = usual_options();
        options.max_memory_bytes = 1 << 20;
        if (kind == 2) options.system_prompt = text;
        setrlimit(RLIMIT_AS, &room);
        alarm(SECONDS);
        lyra_status status = lyra_session_create(model, &options, &session);
        if (status == LYRA_OK && kind == 2) status = lyra_feed_text(session, "Hello!", 6);
        if (status == LYRA_OK) status = kind == 2 ? run(session) : give(session, kind);
        _exit(status);
    }
    if (child < 0 || waitpid(child, &code, 0) != child) return -1;
    if (WIFSIGNALED(code)) printf("# %ld MiB: signal %d\n", mebibytes, WTERMSIG(code));
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"text", "a system prompt", "the option system_prompt"};
    model = open_model(argc, argv);
    text = malloc((size_t)BYTES + 1);
    if (text == NULL) return 1;
    lyra_session_options bytes = usual_options(), tokens = usual_options();
    bytes.max_memory_bytes = 1 << 20;
    tokens.max_context_tokens = 1000;
    fill("a");
    limited(&bytes, "bytes", "one letter");
    fill("Hello world, this is it. ");
    limited(&tokens, "tokens", "words");
    fill("e\xCC\x81");
    limited(&tokens, "tokens", "letters with accents");
    fill("Hello world, this is it. ");
    for (int kind = 0; kind < 3; kind++) {
        char promise[200];
        int held = 1;
        for (long room = 16; room <= 336; room += 40) held &= with_room(room, kind) == LYRA_E_MEMORY;
        snprintf(promise, sizeof promise, "with little address space, 64 MiB as %s are LYRA_E_MEMORY", kinds[kind]);
        check(held, promise);
    }
    lyra_model_close(model);
    free(text);
    return check_failures != 0;
}
