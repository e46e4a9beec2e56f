/* States that are damaged, truncated, of another model, or with impossible counts are refused with the name of the file
 * and in little memory, and leave the session unchanged.
 * usage: states MODEL RECORDING OTHER-MODEL DIRECTORY */
#define _GNU_SOURCE
#include "ask.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    unsigned char *data;
    size_t count;
} bytes;

enum { FIXED = 20, SUM = 4, CUTS = 50, FLIPS = 200, ROUNDS = 60, CANCELS = 500, HUGE_BYTES = 16 << 20 };

static char path[4000];
static lyra_model *model;

/* ------------------------------------------------------------------------------------------------------------ files */

static bytes new_bytes(size_t count) {
    bytes made = {malloc(count + 1), count};
    if (made.data == NULL) need(LYRA_E_MEMORY, "memory for a file");
    return made;
}

static bytes read_file(void) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) need(LYRA_E_IO, path);
    bytes all = new_bytes((size_t)ftell(file));
    rewind(file);
    if (fread(all.data, 1, all.count, file) != all.count) need(LYRA_E_IO, path);
    fclose(file);
    return all;
}

static void write_file(const unsigned char *data, size_t count) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, count, file) != count || fclose(file) != 0) need(LYRA_E_IO, path);
}

static uint32_t crc32_of(const unsigned char *data, size_t count) {
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t sum = i;
        for (int bit = 0; bit < 8; bit++) sum = sum & 1 ? sum >> 1 ^ 0xEDB88320u : sum >> 1;
        table[i] = sum;
    }
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) sum = sum >> 8 ^ table[(sum ^ data[i]) & 0xFF];
    return ~sum;
}

static void put(unsigned char *at, uint64_t number, int count) {
    for (int i = 0; i < count; i++) at[i] = (unsigned char)(number >> (8 * i));
}

/* Makes the checksum fit. */
static void seal(bytes file) { put(file.data + file.count - SUM, crc32_of(file.data, file.count - SUM), SUM); }

static size_t header_bytes(bytes file) {
    size_t count = 0;
    for (int i = 7; i >= 0; i--) count = count << 8 | file.data[12 + i];
    return count;
}

/* A copy of the file with another value for a key of its header: the first list or number after "key":. */
static bytes with_value(bytes file, const char *key, const char *value, size_t value_bytes) {
    char name[100];
    snprintf(name, sizeof name, "\"%s\":", key);
    const size_t head = header_bytes(file);
    const unsigned char *end = file.data + FIXED + head;
    unsigned char *at = memmem(file.data + FIXED, head, name, strlen(name)), *after;
    if (at == NULL) need(LYRA_E_FORMAT, key);
    at += strlen(name);
    after = memchr(at, *at == '[' ? ']' : *at == '"' ? '"' : ',', (size_t)(end - at));
    if (*at == '"') after = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (after == NULL) after = file.data + FIXED + head - 1;
    else if (*at == '[' || *at == '"') after++;
    const size_t before = (size_t)(at - file.data), rest = file.count - (size_t)(after - file.data);
    bytes made = new_bytes(before + value_bytes + rest);
    memcpy(made.data, file.data, before);
    memcpy(made.data + before, value, value_bytes);
    memcpy(made.data + before + value_bytes, after, rest);
    put(made.data + 12, head + made.count - file.count, 8);
    seal(made);
    return made;
}

static bytes with_text(bytes file, const char *key, const char *value) {
    return with_value(file, key, value, strlen(value));
}

/* ----------------------------------------------------------------------------------------------------------- checks */

static lyra_session *begin(lyra_kv_type type) {
    lyra_session_options options = usual_options();
    options.kv_type = type;
    return session_with(model, &options);
}

/* Whether `status` is `expected` and the last error names the file. */
static int refused(lyra_status status, lyra_status expected) {
    const int holds = status == expected && strstr(lyra_last_error(), path) != NULL;
    if (!holds) printf("# %s: %s\n", lyra_status_name(status), lyra_last_error());
    return holds;
}

static void check_format(lyra_session *session, bytes file, const char *promise) {
    write_file(file.data, file.count);
    check(refused(lyra_restore(session, path), LYRA_E_FORMAT), promise);
    free(file.data);
}

static void damage(bytes whole, lyra_session *session) {
    int held = 1;
    for (size_t i = 0; i < CUTS; i++) {
        write_file(whole.data, whole.count * i / CUTS);
        held &= refused(lyra_restore(session, path), LYRA_E_FORMAT);
    }
    check(held, "a state truncated at any of fifty places is LYRA_E_FORMAT with the file's name");
    bytes copy = new_bytes(whole.count);
    srand(7);
    held = 1;
    for (int i = 0; i < FLIPS; i++) {
        const size_t at = (size_t)rand() % (i % 2 == 0 ? whole.count : header_bytes(whole) + FIXED);
        memcpy(copy.data, whole.data, whole.count);
        copy.data[at] ^= (unsigned char)(1 << rand() % 8);
        write_file(copy.data, copy.count);
        const lyra_status status = lyra_restore(session, path);
        held &= refused(status, at >= 8 && at < 12 ? LYRA_E_UNSUPPORTED : LYRA_E_FORMAT);
    }
    check(held, "so is a state with any bit changed");
    held = 1;
    for (int i = 0; i < FLIPS; i++) {
        const size_t at = 12 + (size_t)rand() % (i % 4 == 0 ? whole.count - 12 - SUM : header_bytes(whole) + 8);
        memcpy(copy.data, whole.data, whole.count);
        copy.data[at] ^= (unsigned char)(1 << rand() % 8);
        seal(copy);
        write_file(copy.data, copy.count);
        lyra_session *other = begin(LYRA_KV_F32);
        const lyra_status status = lyra_restore(other, path);
        if (status == LYRA_OK) ask(other, "And?");
        else if (status != LYRA_E_ARGUMENT) held &= refused(status, LYRA_E_FORMAT);
        lyra_session_destroy(other);
    }
    check(held, "with a right checksum, such a state is refused or can be continued");
    free(copy.data);
}

static void numbers(bytes whole, lyra_session *session) {
    check_format(session, with_text(whole, "narrowPages", "[999,999,999,999]"), "more pages than there are");
    check_format(session, with_text(whole, "narrowPages", "[-1,0,0,0]"), "a negative number of pages");
    check_format(session, with_text(whole, "lengths", "[1073741822,1073741822,1073741822,1073741822]"),
                 "more rows than the file has");
    check_format(session, with_text(whole, "lengths", "[9223372036854775807,1,1,1]"), "rows that overflow");
    check_format(session, with_text(whole, "lengths", "[]"), "no layers");
    check_format(session, with_text(whole, "nextPosition", "2147483647"), "an impossible position");
    check_format(session, with_text(whole, "random", "18446744073709551616"), "a number over 64 bits");
    check_format(session, with_text(whole, "keyValueType", "\"q3\""), "an unknown cache type");
    check_format(session, with_text(whole, "promptTokens", "1,\"promptTokens\":1"), "a repeated key");
    bytes copy = new_bytes(whole.count);
    memcpy(copy.data, whole.data, whole.count);
    put(copy.data + 12, UINT64_MAX, 8);
    seal(copy);
    check_format(session, copy, "a header longer than any file");
}

/* The peak memory of a child that restores the file, in bytes, and its status. */
static double peak(lyra_status *status) {
    struct rusage usage;
    int code = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        lyra_session *session = begin(LYRA_KV_F32);
        const lyra_status result = lyra_restore(session, path);
        _exit(result != LYRA_OK && strstr(lyra_last_error(), path) == NULL ? 99 : result);
    }
    if (child < 0 || wait4(child, &code, 0, &usage) != child || !WIFEXITED(code)) need(LYRA_E_STATE, "a child");
    *status = WEXITSTATUS(code);
    return (double)usage.ru_maxrss * 1024;
}

/* `piece`, `count` times, between `open` and `close`. */
static bytes repeated(const char *open, const char *piece, const char *close, size_t count) {
    const size_t each = strlen(piece), first = strlen(open), last = strlen(close);
    bytes made = new_bytes(first + each * count + last);
    memcpy(made.data, open, first);
    for (size_t i = 0; i < count; i++) memcpy(made.data + first + i * each, piece, each);
    memcpy(made.data + first + each * count, close, last);
    return made;
}

static void counts(bytes whole) {
    static const struct { const char *key, *open, *piece, *close; lyra_status status; } cases[] = {
        {"tokens", "[1", ",1", "]", LYRA_E_FORMAT},
        {"uncomputed", "[1", ",1", "]", LYRA_E_FORMAT},
        {"media", "[{}", ",{}", "]", LYRA_E_FORMAT},
        {"lengths", "[1", ",1", "]", LYRA_E_FORMAT},
        {"narrowPages", "[0", ",0", "]", LYRA_E_FORMAT},
        {"fingerprint", "\"", "a", "\"", LYRA_E_FORMAT},
        {"systemPrompt", "\"", "a", "\"", LYRA_OK},
        {"promptTokens", "1,\"unknown\":[1", ",[],{}", "]", LYRA_OK},
    };
    lyra_status status;
    write_file(whole.data, whole.count);
    const double usual = peak(&status);
    check(status == LYRA_OK, "the whole state is restored");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char promise[200];
        bytes list = repeated(cases[i].open, cases[i].piece, cases[i].close, HUGE_BYTES / strlen(cases[i].piece));
        bytes file = with_value(whole, cases[i].key, (const char *)list.data, list.count);
        const double size = (double)file.count;
        write_file(file.data, file.count);
        free(list.data); /* a child's peak includes the memory of its parent */
        free(file.data);
        const double taken = (peak(&status) - usual) / size;
        snprintf(promise, sizeof promise, "%s of %d MiB: status %d, in less than four times the file's bytes",
                 cases[i].key, HUGE_BYTES >> 20, cases[i].status);
        check(status == cases[i].status && taken < 4, promise);
        printf("# status %d, %.2f times the file's bytes\n", status, taken);
    }
}

/* ------------------------------------------------------------------------------------------ others at the same time */

/* Another process truncates the file while it is read. */
static void shortened(bytes whole, lyra_session *session) {
    int held = 1, cut = 0;
    for (int i = 0; i < ROUNDS; i++) {
        write_file(whole.data, whole.count);
        const int wait = rand() % 3000, left = rand() % 2 == 0 ? 0 : (int)(whole.count / 3);
        const pid_t child = fork();
        if (child == 0) {
            usleep((useconds_t)wait);
            _exit(truncate(path, left) != 0);
        }
        const lyra_status status = lyra_restore(session, path);
        if (status != LYRA_OK) held &= refused(status, LYRA_E_FORMAT), cut++;
        waitpid(child, NULL, 0);
    }
    check(held, "a state that is truncated during the restore is restored, or LYRA_E_FORMAT");
    printf("# %d of %d were cut in time\n", cut, ROUNDS);
}

static int stop_cancelling;

static void *keep_cancelling(void *session) {
    while (!__atomic_load_n(&stop_cancelling, __ATOMIC_ACQUIRE)) {
        if (lyra_cancel(session) != LYRA_OK) return session;
        sched_yield();
    }
    return NULL;
}

static void cancelled(bytes whole, reply wanted) {
    pthread_t thread;
    void *failed = NULL;
    int held = 1, interrupted = 0;
    lyra_session *session = begin(LYRA_KV_F32);
    ask(session, "Hello!");
    write_file(whole.data, whole.count);
    if (pthread_create(&thread, NULL, keep_cancelling, session) != 0) need(LYRA_E_MEMORY, "a thread");
    for (int i = 0; i < CANCELS && (i < 20 || interrupted == 0); i++) {
        const lyra_status status = lyra_restore(session, path);
        if (status != LYRA_OK) held &= refused(status, LYRA_E_STATE), interrupted++;
    }
    __atomic_store_n(&stop_cancelling, 1, __ATOMIC_RELEASE);
    pthread_join(thread, &failed);
    check(held && interrupted > 0 && failed == NULL, "lyra_cancel interrupts lyra_restore with LYRA_E_STATE");
    need(lyra_restore(session, path), "and can be called again");
    check(same_tokens(ask(session, "And?"), wanted), "the saved conversation continues");
    lyra_session_destroy(session);
}

int main(int argc, char **argv) {
    model = open_model(argc, argv);
    if (argc != 5) need(LYRA_E_ARGUMENT, "usage: states MODEL RECORDING OTHER-MODEL DIRECTORY");
    snprintf(path, sizeof path, "%s/tried.state", argv[4]);

    lyra_session *session = begin(LYRA_KV_F32);
    float *samples = noise(61, 3);
    for (int i = 0; i < 4; i++) feed_noise(session, samples, 61);
    ask(session, "What is said?");
    need(lyra_save(session, path), "a state is saved");
    const bytes large = read_file();
    const reply wanted = ask(session, "And?");
    free(samples);

    lyra_session *narrow = begin(LYRA_KV_Q8);
    ask(narrow, "Hello!");
    need(lyra_save(narrow, path), "a state is saved");
    const bytes small = read_file();
    lyra_session *victim = begin(LYRA_KV_F32);
    const reply hello = ask(victim, "Hello!");
    numbers(small, victim);
    damage(small, victim);
    shortened(large, victim);
    lyra_reset(victim);
    check(same_tokens(ask(victim, "Hello!"), hello), "after all refusals the session answers as before");
    counts(large);
    cancelled(large, wanted);

    lyra_session_options options = usual_options();
    options.max_context_tokens = 300;
    lyra_session *limited = session_with(model, &options);
    write_file(large.data, large.count);
    check(refused(lyra_restore(limited, path), LYRA_E_MEMORY), "a state over the limit of tokens is LYRA_E_MEMORY");
    lyra_session_destroy(limited);
    lyra_model *other = NULL;
    need(lyra_model_open(argv[3], NULL, &other), "another model opens");
    lyra_session *foreign = session_with(other, NULL);
    check(refused(lyra_restore(foreign, path), LYRA_E_ARGUMENT), "another model's state is LYRA_E_ARGUMENT");
    lyra_session_destroy(foreign);
    lyra_model_close(other);

    lyra_session_destroy(victim);
    lyra_session_destroy(narrow);
    lyra_session_destroy(session);
    lyra_model_close(model);
    free(large.data);
    free(small.data);
    unlink(path);
    return check_failures != 0;
}
