/* Under RLIMIT_NOFILE and RLIMIT_FSIZE every call returns a status, and no answer changes: a file that cannot be opened
 * is not treated as absent, and a failed write leaves the older file unchanged.
 * usage: file_limit MODEL STATE FILE…: STATE is a path to write; each FILE is a recording, an image or a video. */
#include "check.h"
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* After SECONDS, far more than a child needs, a child that hangs is ended. */
enum { SECONDS = 60, FEW_FILES = 3, MOST_FILES = 40, ENOUGH = 2, TOKENS = 8 };

/* What a child reports of its answer. */
typedef struct answer {
    lyra_status status;
    int32_t tokens[TOKENS];
    size_t count;
} answer;

static const char *const piped = "/dev/stdin";

static lyra_status feed(lyra_session *session, const char *file) {
    if (file == piped) return lyra_feed_audio_file(session, file);
    if (strstr(file, ".wav") || strstr(file, ".mp3")) return lyra_feed_audio_file(session, file);
    return strstr(file, ".mp4") ? lyra_feed_video_file(session, file, NULL) : lyra_feed_image_file(session, file);
}

static answer ask(const char *path, const char *file, const char *state) {
    answer received;
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    lyra_session_options options;
    uint32_t events = 0;
    memset(&received, 0, sizeof received);
    received.status = lyra_model_open(path, NULL, &model);
    if (received.status != LYRA_OK) return received;
    lyra_session_options_init(&options);
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = TOKENS;
    received.status = lyra_session_create(model, &options, &session);
    if (received.status == LYRA_OK) received.status = feed(session, file);
    if (received.status == LYRA_OK) received.status = lyra_feed_text(session, "hello", 5);
    if (received.status == LYRA_OK) received.status = lyra_end_turn(session);
    while (received.status == LYRA_OK && !(events & LYRA_EVENT_END)) received.status = lyra_step(session, &events);
    if (received.status == LYRA_OK)
        received.status = lyra_read_tokens(session, received.tokens, TOKENS, &received.count);
    if (received.status == LYRA_OK && state) received.status = lyra_save(session, state);
    lyra_session_destroy(session);
    lyra_model_close(model);
    return received;
}

/* Has a child answer under a limit. → 0 if a signal ended it */
static int ask_limited(int resource, rlim_t limit, const char *path, const char *file, const char *state,
                       answer *received) {
    int ends[2], status = 0;
    if (pipe(ends) != 0) exit(9);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit usual, room;
        getrlimit(resource, &usual);
        room = usual;
        room.rlim_cur = limit;
        alarm(SECONDS);
        setrlimit(resource, &room);
        *received = ask(path, file, state);
        setrlimit(resource, &usual); /* stdout may be a file */
        if (write(ends[1], received, sizeof *received) != (ssize_t)sizeof *received) _exit(9);
        if (received->status != LYRA_OK) printf("# %lu: %s\n", (unsigned long)limit, lyra_last_error());
        fflush(stdout);
        _exit(lyra_last_error()[0] == '\0' && received->status != LYRA_OK);
    }
    close(ends[1]);
    ssize_t got = child < 0 ? 0 : read(ends[0], received, sizeof *received);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child) exit(9);
    if (WIFSIGNALED(status)) printf("# %lu: ended by signal %d\n", (unsigned long)limit, WTERMSIG(status));
    return got == (ssize_t)sizeof *received && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_open_files(const char *path, const char *file) {
    const char *name = strrchr(file, '/') + 1;
    char promise[200];
    answer usual, received;
    int ended = 0, refused = 0, same = 0, others = 0;
    ask_limited(RLIMIT_NOFILE, 1024, path, file, NULL, &usual);
    for (rlim_t files = FEW_FILES; files <= MOST_FILES && same < ENOUGH; files++) {
        if (!ask_limited(RLIMIT_NOFILE, files, path, file, NULL, &received)) ended++;
        else if (received.status == LYRA_E_IO) refused++;
        else if (received.count == usual.count &&
                 memcmp(received.tokens, usual.tokens, sizeof usual.tokens) == 0) same++;
        else {
            others++;
            printf("# %lu files: status %s\n", (unsigned long)files, lyra_status_name(received.status));
        }
    }
    snprintf(promise, sizeof promise, "%s: with few open files it is refused with LYRA_E_IO", name);
    check(usual.status == LYRA_OK && ended == 0 && refused > 0, promise);
    snprintf(promise, sizeof promise, "%s: with few open files no other answer or error comes", name);
    check(others == 0 && same > 0, promise);
}

static off_t size_of(const char *file) {
    struct stat is;
    return stat(file, &is) == 0 ? is.st_size : -1;
}

static void check_file_sizes(const char *path, const char *file, const char *state) {
    answer received;
    int ended = 0, refused = 0, kept = 0, tries = 0;
    check(ask_limited(RLIMIT_FSIZE, RLIM_INFINITY, path, file, state, &received) && received.status == LYRA_OK,
          "a state is written");
    const off_t whole = size_of(state);
    for (off_t room = 0; room < whole; room += whole / 12 + 1, tries++) {
        if (!ask_limited(RLIMIT_FSIZE, (rlim_t)room, path, file, state, &received)) ended++;
        refused += received.status == LYRA_E_IO;
        kept += size_of(state) == whole;
    }
    check(ended == 0 && tries > 10 && refused == tries, "a state beyond the largest file is LYRA_E_IO");
    check(kept == tries, "and leaves the older state unchanged");
    /* The number of digits of the times in a state varies. */
    check(ask_limited(RLIMIT_FSIZE, (rlim_t)whole + 1024, path, file, state, &received) && received.status == LYRA_OK,
          "a state no larger than the largest file is written");
}

/* A pipe is copied to a temporary file, which can be too large, too. */
static void check_pipe(const char *path, const char *file) {
    answer received;
    char command[4200];
    snprintf(command, sizeof command, "cat '%s'", file);
    for (int fits = 0; fits < 2; fits++) {
        FILE *stream = popen(command, "r");
        if (!stream || dup2(fileno(stream), STDIN_FILENO) < 0) exit(9);
        const rlim_t room = fits ? RLIM_INFINITY : 4096;
        const int came = ask_limited(RLIMIT_FSIZE, room, path, piped, NULL, &received);
        check(came && received.status == (fits ? LYRA_OK : LYRA_E_IO),
              fits ? "a recording through a pipe is answered"
                   : "a recording through a pipe that is too large is refused");
        close(STDIN_FILENO);
        pclose(stream);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) return 64;
    check_pipe(argv[1], argv[3]);
    for (int i = 3; i < argc; i++) check_open_files(argv[1], argv[i]);
    check_file_sizes(argv[1], argv[3], argv[2]);
    return check_failures ? 1 : 0;
}
