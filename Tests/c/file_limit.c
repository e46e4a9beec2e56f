/* Under RLIMIT_NOFILE and RLIMIT_FSIZE every call comes back with a status, and no answer is another: a file that cannot
 * be opened is not taken for one that is absent, and one that cannot be written leaves the older one as it was.
 * usage: file_limit MODEL STATE FILE…: STATE is a path to write; each FILE is a recording, a picture or a video. */
#include "check.h"
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* SECONDS is far more than a child needs: one that waits for ever is ended then. */
enum { SECONDS = 60, FEW_FILES = 3, MOST_FILES = 40, ENOUGH = 2, TOKENS = 8 };

/* What a child tells of its answer. */
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
    answer said;
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    lyra_session_options options;
    uint32_t events = 0;
    memset(&said, 0, sizeof said);
    said.status = lyra_model_open(path, NULL, &model);
    if (said.status != LYRA_OK) return said;
    lyra_session_options_init(&options);
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = TOKENS;
    said.status = lyra_session_create(model, &options, &session);
    if (said.status == LYRA_OK) said.status = feed(session, file);
    if (said.status == LYRA_OK) said.status = lyra_feed_text(session, "hello", 5);
    if (said.status == LYRA_OK) said.status = lyra_end_turn(session);
    while (said.status == LYRA_OK && !(events & LYRA_EVENT_END)) said.status = lyra_step(session, &events);
    if (said.status == LYRA_OK) said.status = lyra_read_tokens(session, said.tokens, TOKENS, &said.count);
    if (said.status == LYRA_OK && state) said.status = lyra_save(session, state);
    lyra_session_destroy(session);
    lyra_model_close(model);
    return said;
}

/* The answer of a child under a limit; → 0 if it was ended by a signal. */
static int ask_limited(int resource, rlim_t limit, const char *path, const char *file, const char *state, answer *said) {
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
        *said = ask(path, file, state);
        setrlimit(resource, &usual); /* for what is printed here, which may go to a file */
        if (write(ends[1], said, sizeof *said) != (ssize_t)sizeof *said) _exit(9);
        if (said->status != LYRA_OK) printf("# %lu: %s\n", (unsigned long)limit, lyra_last_error());
        fflush(stdout);
        _exit(lyra_last_error()[0] == '\0' && said->status != LYRA_OK);
    }
    close(ends[1]);
    ssize_t got = child < 0 ? 0 : read(ends[0], said, sizeof *said);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child) exit(9);
    if (WIFSIGNALED(status)) printf("# %lu: ended by signal %d\n", (unsigned long)limit, WTERMSIG(status));
    return got == (ssize_t)sizeof *said && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_open_files(const char *path, const char *file) {
    const char *name = strrchr(file, '/') + 1;
    char promise[200];
    answer usual, said;
    int ended = 0, refused = 0, same = 0, others = 0;
    ask_limited(RLIMIT_NOFILE, 1024, path, file, NULL, &usual);
    for (rlim_t files = FEW_FILES; files <= MOST_FILES && same < ENOUGH; files++) {
        if (!ask_limited(RLIMIT_NOFILE, files, path, file, NULL, &said)) ended++;
        else if (said.status == LYRA_E_IO) refused++;
        else if (said.count == usual.count && memcmp(said.tokens, usual.tokens, sizeof usual.tokens) == 0) same++;
        else {
            others++;
            printf("# %lu files: status %s\n", (unsigned long)files, lyra_status_name(said.status));
        }
    }
    snprintf(promise, sizeof promise, "%s: with few open files it is refused as input and output", name);
    check(usual.status == LYRA_OK && ended == 0 && refused > 0, promise);
    snprintf(promise, sizeof promise, "%s: with few open files there is no other answer or error", name);
    check(others == 0 && same > 0, promise);
}

static off_t size_of(const char *file) {
    struct stat is;
    return stat(file, &is) == 0 ? is.st_size : -1;
}

static void check_file_sizes(const char *path, const char *file, const char *state) {
    answer said;
    int ended = 0, refused = 0, kept = 0, tries = 0;
    check(ask_limited(RLIMIT_FSIZE, RLIM_INFINITY, path, file, state, &said) && said.status == LYRA_OK,
          "a state is written");
    const off_t whole = size_of(state);
    for (off_t room = 0; room < whole; room += whole / 12 + 1, tries++) {
        if (!ask_limited(RLIMIT_FSIZE, (rlim_t)room, path, file, state, &said)) ended++;
        refused += said.status == LYRA_E_IO;
        kept += size_of(state) == whole;
    }
    check(ended == 0 && tries > 10 && refused == tries, "a state beyond the largest file is refused as input and output");
    check(kept == tries, "and leaves the older state as it was");
    /* The times in a state are of more or fewer digits. */
    check(ask_limited(RLIMIT_FSIZE, (rlim_t)whole + 1024, path, file, state, &said) && said.status == LYRA_OK,
          "a state no larger than the largest file is written");
}

/* What comes through a pipe is kept in a temporary file, which may be too large, too. */
static void check_pipe(const char *path, const char *file) {
    answer said;
    char command[4200];
    snprintf(command, sizeof command, "cat '%s'", file);
    for (int fits = 0; fits < 2; fits++) {
        FILE *stream = popen(command, "r");
        if (!stream || dup2(fileno(stream), STDIN_FILENO) < 0) exit(9);
        const rlim_t room = fits ? RLIM_INFINITY : 4096;
        const int came = ask_limited(RLIMIT_FSIZE, room, path, piped, NULL, &said);
        check(came && said.status == (fits ? LYRA_OK : LYRA_E_IO),
              fits ? "a recording through a pipe is answered" : "one beyond the largest file is refused");
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
