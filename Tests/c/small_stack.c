/* Every call works on a thread with 64 KiB of stack, and on a coroutine's stack of that size. Each case runs in a
 * child, so that a crash is reported. usage: small_stack MODEL FOLDER FILE…: each FILE is fed in one case. */
#define _GNU_SOURCE
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static const char *model_path, *state_path;
static const char *file; /* of the current case; null for text, samples and pixels */
static pthread_t caller;
static int callbacks, strays; /* calls of this program's functions; those on another thread than the caller's */
static const char *failed;
static lyra_status failed_with;

static void note_callback(void) {
    callbacks++;
    if (!pthread_equal(pthread_self(), caller)) strays++;
}

static int32_t progress(void *user, size_t done, size_t total) {
    (void)user, (void)done, (void)total;
    note_callback();
    return 0;
}

static void tell(void *user, lyra_log_level level, const char *message) {
    (void)user, (void)level, (void)message;
    note_callback();
}

static int64_t read_file(void *user, void *buffer, size_t bytes) {
    note_callback();
    return (int64_t)fread(buffer, 1, bytes, user);
}

static int64_t seek_file(void *user, int64_t offset) {
    note_callback();
    return fseek(user, (long)offset, SEEK_SET) == 0 ? offset : -1;
}

static int64_t file_length(void *user) {
    note_callback();
    long here = ftell(user), end;
    fseek(user, 0, SEEK_END);
    end = ftell(user);
    fseek(user, here, SEEK_SET);
    return end;
}

static void close_file(void *user) {
    note_callback();
    fclose(user);
}

static void wants(lyra_status status, const char *what) {
    if (status == LYRA_OK || failed) return;
    failed = what;
    failed_with = status;
}

static void feed(lyra_session *session) {
    static float samples[16000];
    static uint8_t pixels[64 * 48 * 3];
    if (!file) {
        wants(lyra_feed_audio_pcm(session, samples, 16000, 1, 16000), "lyra_feed_audio_pcm");
        wants(lyra_feed_image_rgb8(session, pixels, 64, 48, 64 * 3), "lyra_feed_image_rgb8");
        return;
    }
    lyra_reader reader = {.size = sizeof reader, .read = read_file, .seek = seek_file, .length = file_length,
                          .close = close_file, .user = fopen(file, "rb")};
    if (!reader.user) {
        wants(LYRA_E_IO, file);
    } else if (strstr(file, ".mp4")) {
        wants(lyra_feed_video_file(session, file, NULL), "lyra_feed_video_file");
        wants(lyra_feed_video_reader(session, &reader, NULL), "lyra_feed_video_reader");
    } else if (strstr(file, ".png") || strstr(file, ".jpg") || strstr(file, ".webp")) {
        wants(lyra_feed_image_file(session, file), "lyra_feed_image_file");
        wants(lyra_feed_image_reader(session, &reader), "lyra_feed_image_reader");
    } else {
        wants(lyra_feed_audio_file(session, file), "lyra_feed_audio_file");
        wants(lyra_feed_audio_reader(session, &reader), "lyra_feed_audio_reader");
    }
}

static void answer(lyra_session *session) {
    char text[64];
    float audio[64];
    size_t count;
    uint32_t events = 0;
    wants(lyra_end_turn(session), "lyra_end_turn");
    while (!failed && !(events & LYRA_EVENT_END)) {
        wants(lyra_step(session, &events), "lyra_step");
        while (!failed && lyra_read_text(session, text, sizeof text, &count) == LYRA_OK && count > 0) continue;
        while (!failed && lyra_read_audio(session, audio, 64, &count) == LYRA_OK && count > 0) continue;
    }
}

static void errors(lyra_session *session) {
    lyra_model *none = NULL;
    if (lyra_feed_image_file(session, "/nowhere.png") != LYRA_E_IO || !strstr(lyra_last_error(), "/nowhere.png"))
        wants(LYRA_E_STATE, "an error's message on the caller's thread");
    if (lyra_model_open("/nowhere", NULL, &none) == LYRA_OK || !strstr(lyra_last_error(), "/nowhere"))
        wants(LYRA_E_STATE, "the message about a missing model");
}

static void work(void) {
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    lyra_model_options options;
    lyra_model_info info;
    lyra_usage usage;
    caller = pthread_self();
    wants(lyra_model_options_init(&options), "lyra_model_options_init");
    options.progress = progress;
    options.log = tell;
    wants(lyra_model_open(model_path, &options, &model), "lyra_model_open");
    if (failed) return;
    wants(lyra_model_info_init(&info), "lyra_model_info_init");
    wants(lyra_model_get_info(model, &info), "lyra_model_get_info");
    session = greedy_session(model);
    wants(lyra_set_system_prompt(session, "Be brief.", 9), "lyra_set_system_prompt");
    feed(session);
    wants(lyra_feed_text(session, "What is said?", 13), "lyra_feed_text");
    answer(session);
    wants(lyra_usage_init(&usage), "lyra_usage_init");
    wants(lyra_get_usage(session, &usage), "lyra_get_usage");
    if (!file) {
        wants(lyra_save(session, state_path), "lyra_save");
        wants(lyra_restore(session, state_path), "lyra_restore");
        errors(session);
    }
    wants(lyra_cancel(session), "lyra_cancel");
    wants(lyra_reset(session), "lyra_reset");
    wants(lyra_session_destroy(session), "lyra_session_destroy");
    wants(lyra_model_close(model), "lyra_model_close");
}

static void *thread_main(void *argument) {
    work();
    return argument;
}

static void on_thread(size_t bytes) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, bytes) != 0 ||
        pthread_create(&thread, &attributes, thread_main, NULL) != 0)
        wants(LYRA_E_MEMORY, "a thread with so little stack");
    else pthread_join(thread, NULL);
}

/* The memory below the stack is not accessible. */
static void on_coroutine(size_t bytes) {
    static ucontext_t here, there;
    char *memory = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + bytes, bytes, PROT_READ | PROT_WRITE) != 0 ||
        getcontext(&there) != 0) {
        wants(LYRA_E_MEMORY, "a coroutine's stack");
        return;
    }
    there.uc_stack.ss_sp = memory + bytes;
    there.uc_stack.ss_size = bytes;
    there.uc_link = &here;
    makecontext(&there, work, 0);
    swapcontext(&here, &there);
}

static void try_case(const char *kind, void (*run)(size_t), size_t kibibytes) {
    char promise[200];
    const char *name = file && strrchr(file, '/') ? strrchr(file, '/') + 1 : "samples and pixels";
    int status;
    snprintf(promise, sizeof promise, "%zu KiB of stack on a %s suffice: %s", kibibytes, kind, name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run(kibibytes << 10);
        if (failed) printf("# %s: %s: %s\n", failed, lyra_status_name(failed_with), lyra_last_error());
        else if (callbacks == 0 || strays > 0) printf("# %d callbacks, %d on another thread\n", callbacks, strays);
        fflush(stdout);
        _exit(failed || callbacks == 0 || strays > 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) status = -1;
    if (WIFSIGNALED(status)) printf("# signal %d\n", WTERMSIG(status));
    check(status == 0, promise);
}

int main(int argc, char **argv) {
    if (argc < 4) return 64;
    model_path = argv[1];
    char state[4096];
    snprintf(state, sizeof state, "%s/small_stack.state", argv[2]);
    state_path = state;
    for (int i = 2; i < argc; i++) {
        file = i == 2 ? NULL : argv[i];
        try_case("thread", on_thread, 64);
        try_case("coroutine", on_coroutine, 64);
        /* About the size from which lyra works on the caller's own thread. */
        try_case("thread", on_thread, 280);
    }
    return check_failures ? 1 : 0;
}
