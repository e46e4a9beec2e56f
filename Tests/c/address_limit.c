/* Under RLIMIT_AS every call returns a status, also if a library, a mapping or a thread is refused late.
 * usage: address_limit MODEL FILE…: no file, then each FILE, is fed in children with growing address space. */
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* After SECONDS, far more than a child needs, a child that hangs is ended. Below LEAST MiB, small allocations of the
 * Swift runtime, which cannot report a failure, may end the process. The space that an answer needs
 * depends on the processor, so it grows until ENOUGH children have answered. */
enum { SECONDS = 60, LEAST = 16, MOST = 2064, STEP = 64, ENOUGH = 3 };

static int ask(const char *path, const char *file) {
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    lyra_session_options options;
    lyra_model_options how;
    uint32_t events = 0;
    lyra_model_options_init(&how);
    how.threads = 3;
    lyra_status status = lyra_model_open(path, &how, &model);
    if (status != LYRA_OK) return status;
    lyra_session_options_init(&options);
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = 4;
    options.speak = 1;
    status = lyra_session_create(model, &options, &session);
    if (status == LYRA_OK && file)
        status = strstr(file, ".wav") ? lyra_feed_audio_file(session, file) : lyra_feed_image_file(session, file);
    if (status == LYRA_OK) status = lyra_feed_text(session, "hello", 5);
    if (status == LYRA_OK) status = lyra_end_turn(session);
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    lyra_session_destroy(session);
    lyra_model_close(model);
    return status;
}

static void limit(long mebibytes) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld", &pages) != 1) exit(9);
    fclose(file);
    rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)mebibytes << 20);
    struct rlimit room = {bytes, bytes};
    setrlimit(RLIMIT_AS, &room);
}

int main(int argc, char **argv) {
    if (argc < 2) return 64;
    for (int i = 1; i < argc; i++) {
        const char *file = i == 1 ? NULL : argv[i], *name = file ? strrchr(file, '/') + 1 : "text";
        char promise[200];
        int answered = 0, refused = 0, others = 0;
        for (long room = LEAST; room <= MOST && answered < ENOUGH; room += STEP) {
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                limit(room);
                alarm(SECONDS);
                int status = ask(argv[1], file);
                if (status != LYRA_OK) printf("# %ld MiB: %s: %s\n", room, lyra_status_name(status), lyra_last_error());
                fflush(stdout);
                _exit(status);
            }
            int status = 0;
            if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
                others++;
                printf("# %ld MiB: ended by signal %d\n", room, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
            } else if (WEXITSTATUS(status) == LYRA_OK) answered++;
            else if (WEXITSTATUS(status) == LYRA_E_MEMORY) refused++;
            else others++;
        }
        snprintf(promise, sizeof promise, "%s: with little address space the answer comes, or LYRA_E_MEMORY", name);
        check(others == 0, promise);
        snprintf(promise, sizeof promise, "%s: both happen", name);
        check(answered > 0 && refused > 0, promise);
    }
    return check_failures ? 1 : 0;
}
