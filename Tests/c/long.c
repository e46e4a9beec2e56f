/* Long recordings: work ahead, conversations that are restored from a file, and the extractor.
 *
 *     long MODEL RECORDING OTHER_MODEL FOLDER     the checks; state files are written into FOLDER
 *     long MODEL RECORDING --restore STATE        prints the next answer's tokens: the checks' other process */
#define _POSIX_C_SOURCE 200809L
#include "ask.h"

#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 71, WINDOWS = 3, PATH_BYTES = 4096, PIECE = 4000 };

static const char QUESTION[] = "Summarize.";

static void path_in(const char *folder, const char *name, char path[PATH_BYTES]) {
    if (snprintf(path, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES) need(LYRA_E_ARGUMENT, "a short folder");
}

/* ---------------------------------------------------------------------------------------------------- working ahead */

static reply at_once(lyra_model *model, const float *samples) {
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    feed_noise(session, samples, SECONDS);
    const reply answer = ask(session, QUESTION);
    lyra_session_destroy(session);
    return answer;
}

/* As from a microphone: a piece is fed, then all possible steps are done, and so on. */
static void working_ahead(lyra_model *model, const float *samples, reply whole) {
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    int worked = 0;
    for (int at = 0; at < SECONDS * RATE; at += PIECE) {
        need(lyra_feed_audio_pcm(session, samples + at, PIECE, 1, RATE), "a piece is fed");
        worked += work_ahead(session);
    }
    check(worked > 0, "steps work ahead while a recording is fed");
    check(usage_of(session).cache_bytes > 0, "and its windows are in the caches before the turn ends");
    const reply pieces = ask(session, QUESTION);
    check(same_tokens(pieces, whole), "a recording in pieces, with steps between, has the answer of the whole");
    check(pieces.usage.media_tokens == whole.usage.media_tokens &&
              pieces.usage.prompt_tokens == whole.usage.prompt_tokens,
          "and as many tokens");
    check(pieces.steps * 2 < whole.steps, "and less than half of the work is left when the turn ends");

    need(lyra_reset(session), "reset");
    feed_noise(session, samples, SECONDS);
    work_ahead(session);
    need(lyra_cancel(session), "cancel");
    uint32_t events = 77;
    check_status(lyra_step(session, &events), LYRA_E_STATE, "a step after a cancel of a turn that was computed ahead");
    check(events == 77 && usage_of(session).cache_bytes == 0, "no event, and nothing of the turn remains");
    check_status(lyra_step(session, &events), LYRA_E_STATE, "and then there is no work ahead");
    lyra_session_destroy(session);
}

/* ----------------------------------------------------------------------------------------------------------- saving */

/* A session with a prefilled recording, before the question. */
static lyra_session *prefilled(lyra_model *model, const float *samples) {
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    feed_noise(session, samples, SECONDS);
    need(lyra_feed_audio_end(session), "the recording ends");
    work_ahead(session);
    return session;
}

static void print_answer(lyra_model *model, const char *state) {
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    need(lyra_restore(session, state), "the state is restored");
    const reply answer = ask(session, QUESTION);
    for (size_t i = 0; i < answer.count; i++) printf("%d\n", (int)answer.tokens[i]);
    lyra_session_destroy(session);
}

/* The answer of another process of this program after it restored `state`. */
static reply ask_another_process(char **argv, const char *state) {
    reply answer;
    int ends[2], status = -1, token;
    memset(&answer, 0, sizeof answer);
    if (pipe(ends) != 0) need(LYRA_E_IO, "a pipe");
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl(argv[0], argv[0], argv[1], argv[2], "--restore", state, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    while (out != NULL && answer.count < ANSWER_TOKENS && fscanf(out, "%d", &token) == 1)
        answer.tokens[answer.count++] = token;
    if (out != NULL) fclose(out);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        answer.count = 0;
    return answer;
}

static void saving_a_recording(lyra_model *model, const float *samples, char **argv, reply whole) {
    char state[PATH_BYTES], nowhere[PATH_BYTES];
    path_in(argv[4], "recording.state", state);
    path_in(argv[4], "no/such/folder.state", nowhere);
    lyra_session *session = prefilled(model, samples);
    check_status(lyra_save(session, state), LYRA_OK, "a computed recording is saved before the question");
    check_status(lyra_save(session, nowhere), LYRA_E_IO, "a state in a missing folder");
    check(strstr(lyra_last_error(), nowhere) != NULL, "the message names the file");
    check_status(lyra_save(session, NULL), LYRA_E_ARGUMENT, "a state without a path");
    const reply here = ask(session, QUESTION);
    check(same_tokens(here, whole), "saving changes nothing");

    const lyra_session_options options = usual_options();
    lyra_session *other = session_with(model, &options);
    for (int time = 0; time < 2; time++) {
        need(lyra_restore(other, state), "the state is restored");
        const reply again = ask(other, QUESTION);
        check(same_tokens(again, whole), "restored in another session, the recording has the same answer");
        check(again.steps * 3 < whole.steps, "and is not computed again");
    }
    lyra_session_destroy(other);
    check(same_tokens(ask_another_process(argv, state), whole), "restored in another process, it has the same answer");
    lyra_session_destroy(session);
}

static void saving_at_the_wrong_time(lyra_model *model, const float *samples, const char *folder) {
    char state[PATH_BYTES];
    path_in(folder, "wrong.state", state);
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    feed_noise(session, samples, SECONDS);
    check_status(lyra_save(session, state), LYRA_E_STATE, "a recording that has not ended is not saved");
    need(lyra_feed_audio_end(session), "the recording ends");
    check_status(lyra_save(session, state), LYRA_E_STATE, "a recording that is not computed is not saved");
    work_ahead(session);
    need(lyra_feed_text(session, QUESTION, strlen(QUESTION)), "text is fed");
    check_status(lyra_save(session, state), LYRA_E_STATE, "typed text is not saved before the turn ends");
    need(lyra_end_turn(session), "the turn ends");
    check_status(lyra_save(session, state), LYRA_E_STATE, "nothing is saved during an answer");
    check_status(lyra_restore(session, state), LYRA_E_STATE, "and nothing is restored");
    check(access(state, F_OK) != 0, "refused saves leave no file");
    lyra_session_destroy(session);
}

/* -------------------------------------------------------------------------------------------------- refused states */

/* Copies the first `keep` thousandths of a file, and changes the byte at `flip` thousandths unless negative. */
static void damage(const char *from, const char *to, long keep, long flip) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (in == NULL || out == NULL || fseek(in, 0, SEEK_END) != 0) need(LYRA_E_IO, "a state to damage");
    const long size = ftell(in);
    rewind(in);
    for (long at = 0; at < size * keep / 1000; at++) {
        const int byte = fgetc(in);
        fputc(flip >= 0 && at == size * flip / 1000 ? byte ^ 0x20 : byte, out);
    }
    fclose(in);
    if (fclose(out) != 0) need(LYRA_E_IO, "a damaged state");
}

/* The version follows the magic number of eight bytes. */
static void write_version(const char *path, unsigned char version) {
    FILE *file = fopen(path, "r+b");
    if (file == NULL || fseek(file, 8, SEEK_SET) != 0 || fputc(version, file) == EOF || fclose(file) != 0)
        need(LYRA_E_IO, "a state of another version");
}

static void refused_states(lyra_model *model, char **argv) {
    static const struct {
        long keep, flip;
        const char *promise;
    } defects[] = {{0, -1, "an empty state"},
                   {500, -1, "a truncated state"},
                   {999, -1, "a state that lacks its end"},
                   {1000, 0, "a state with another magic number"},
                   {1000, 10, "a state whose header is damaged"},
                   {1000, 700, "a state with one changed bit in its keys and values"}};
    char state[PATH_BYTES], bad[PATH_BYTES];
    path_in(argv[4], "turn.state", state);
    path_in(argv[4], "bad.state", bad);
    const lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options), *twin = session_with(model, &options);
    ask(session, "Hello!");
    need(lyra_save(session, state), "a conversation is saved");
    need(lyra_restore(twin, state), "and restored");
    const reply next = ask(twin, "And then?");

    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++) {
        damage(state, bad, defects[i].keep, defects[i].flip);
        check_status(lyra_restore(session, bad), LYRA_E_FORMAT, defects[i].promise);
    }
    check(strstr(lyra_last_error(), bad) != NULL, "the message names the state");
    damage(state, bad, 1000, -1);
    write_version(bad, 2); /* with another order of keys and values */
    check_status(lyra_restore(session, bad), LYRA_E_UNSUPPORTED, "a state of an older version");
    write_version(bad, 9);
    check_status(lyra_restore(session, bad), LYRA_E_UNSUPPORTED, "a state of a newer version");
    check_status(lyra_restore(session, argv[2]), LYRA_E_FORMAT, "a recording instead of a state");
    check_status(lyra_restore(session, "/nowhere.state"), LYRA_E_IO, "a missing state");
    check_status(lyra_restore(session, NULL), LYRA_E_ARGUMENT, "a state with a null path");
    lyra_model *other_model = NULL;
    need(lyra_model_open(argv[3], NULL, &other_model), "the other model opens");
    lyra_session *other = session_with(other_model, &options);
    ask(other, "Hello!");
    need(lyra_save(other, bad), "the other model's conversation is saved");
    check_status(lyra_restore(session, bad), LYRA_E_ARGUMENT, "another model's state");
    lyra_session_destroy(other);
    lyra_model_close(other_model);

    const reply answer = ask(session, "And then?");
    check(same_tokens(answer, next), "after all refusals the conversation continues unchanged");
    check(answer.usage.cached_tokens > 0 && answer.usage.cached_tokens == next.usage.cached_tokens,
          "and keeps the earlier turns, as in the restored session");
    lyra_session_destroy(session);
    lyra_session_destroy(twin);
}

/* ----------------------------------------------------------------------------------------------- extractor, silence */

static lyra_media medium(lyra_session *session, int32_t index) {
    lyra_media media;
    need(lyra_media_init(&media), "a medium");
    need(lyra_get_media(session, index, &media), "a medium is reported");
    return media;
}

/* Whether a block's tokens are among `before`, ascending. */
static int is_part(const int32_t *kept, size_t count, const int32_t *before, size_t before_count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        while (at < before_count && before[at] != kept[i]) at++;
        if (at == before_count) return 0;
        at++;
    }
    return 1;
}

static void check_kept(lyra_session *session, lyra_media speech, int32_t block, int32_t *before, size_t *before_count) {
    const size_t expected = *before_count / 2;
    size_t count = 0;
    int32_t *kept = calloc(expected + 1, sizeof *kept);
    if (kept == NULL) need(LYRA_E_MEMORY, "memory for tokens");
    need(lyra_get_kept(session, block, NULL, 0, &count), "tokens are counted");
    check(count == expected, "after each block the extractor keeps the requested share");
    kept[0] = kept[expected] = -5;
    need(lyra_get_kept(session, block, kept, expected - 1, &count), "a buffer too small");
    check(count == expected && kept[0] == -5, "a buffer too small for the kept tokens gets only the count");
    need(lyra_get_kept(session, block, kept, expected, &count), "tokens are copied");
    check(kept[expected] == -5 && kept[0] >= speech.first && is_part(kept, expected, before, *before_count),
          "kept tokens are among those of the block before, ascending, and of the recording");
    memcpy(before, kept, expected * sizeof *kept);
    *before_count = expected;
    free(kept);
}

static void extracting(lyra_model *model, const float *samples, const lyra_model_info *info) {
    lyra_session_options options = usual_options();
    options.extractor = LYRA_EXTRACTOR_ON;
    options.extractor_gap = info->layers / 4;
    options.extractor_keep = 0.5f;
    lyra_session *session = session_with(model, &options), *whole = NULL;
    feed_noise(session, samples, SECONDS);
    const reply answer = ask(session, QUESTION);
    const lyra_media speech = medium(session, 0);
    size_t count = (size_t)WINDOWS * (size_t)info->speech_window_tokens;
    check(speech.kind == LYRA_MEDIA_SPEECH && speech.tokens == (int64_t)count && speech.start == 0 &&
              speech.seconds == SECONDS && speech.first > 0,
          "the recording's place in the prompt is reported");
    check(answer.usage.media_tokens == (int64_t)count, "all its tokens count as media");
    lyra_media none;
    need(lyra_media_init(&none), "a medium");
    check_status(lyra_get_media(session, 1, &none), LYRA_E_ARGUMENT, "a medium out of range");
    check_status(lyra_get_media(session, -1, &none), LYRA_E_ARGUMENT, "a negative medium");
    const int32_t blocks = (info->layers - 1) / options.extractor_gap;
    check(answer.usage.extractor_blocks == blocks && blocks >= 2, "tokens are pruned after every block but the last");
    int32_t *before = calloc(count, sizeof *before);
    if (before == NULL) need(LYRA_E_MEMORY, "memory for tokens");
    for (size_t i = 0; i < count; i++) before[i] = (int32_t)(speech.first + (int64_t)i);
    for (int32_t block = 0; block < blocks; block++) check_kept(session, speech, block, before, &count);
    free(before);
    check_status(lyra_get_kept(session, -1, NULL, 0, &count), LYRA_E_ARGUMENT, "a negative block");
    check_status(lyra_get_kept(session, blocks, NULL, 0, &count), LYRA_E_ARGUMENT, "a block out of range");

    need(lyra_feed_text(session, QUESTION, strlen(QUESTION)), "text is fed");
    need(lyra_end_turn(session), "the next turn ends");
    check_status(lyra_get_media(session, 0, &none), LYRA_E_ARGUMENT, "the next turn's media are not the last one's");
    check_status(lyra_get_kept(session, 0, NULL, 0, &count), LYRA_E_ARGUMENT, "nor are its blocks");

    options.extractor = LYRA_EXTRACTOR_OFF;
    whole = session_with(model, &options);
    feed_noise(whole, samples, SECONDS);
    const reply all = ask(whole, QUESTION);
    check(all.usage.extractor_blocks == 0, "switched off, the extractor prunes nothing");
    check(answer.usage.cache_bytes < all.usage.cache_bytes, "pruned tokens take no memory");
    lyra_session_destroy(whole);
    lyra_session_destroy(session);
}

static void check_refused_options(lyra_model *model, lyra_session_options options, const char *promise) {
    lyra_session *session = NULL;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, promise);
    lyra_session_destroy(session);
}

static void refused_options(lyra_model *model) {
    lyra_session_options options = usual_options();
    options.extractor = 3;
    check_refused_options(model, options, "an unknown extractor setting");
    options.extractor = LYRA_EXTRACTOR_ON;
    options.extractor_keep = 0.7f;
    check_refused_options(model, options, "an extractor without blocks");
    options.extractor_blocks = options.extractor_gap = 2;
    check_refused_options(model, options, "an extractor of both blocks and a gap");
    options.extractor_gap = 0;
    options.extractor_keep = 1.5f;
    check_refused_options(model, options, "an extractor that keeps more than all");
    options = usual_options();
    options.kv_type = 4;
    check_refused_options(model, options, "an unknown cache type");
    options = usual_options();
    options.max_memory_bytes = -1;
    check_refused_options(model, options, "a negative limit of memory");
}

static void silence(lyra_model *model, float *samples, const lyra_model_info *info) {
    lyra_session_options options = usual_options();
    options.skip_silence = 1;
    lyra_session *session = session_with(model, &options);
    memset(samples + info->speech_window_samples, 0, (size_t)info->speech_window_samples * sizeof *samples);
    feed_noise(session, samples, SECONDS);
    const reply answer = ask(session, QUESTION);
    const double window = (double)info->speech_window_samples / info->speech_sample_rate;
    const lyra_media first = medium(session, 0), second = medium(session, 1);
    check(answer.usage.media_tokens == 2 * info->speech_window_tokens, "a silent window is skipped on request");
    check(first.start == 0 && first.seconds == window && second.start == 2 * window &&
              second.seconds == SECONDS - 2 * window,
          "and the spans around it are reported with their times");
    lyra_session_destroy(session);
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    if (argc != 5) need(LYRA_E_ARGUMENT, "usage: long MODEL RECORDING OTHER_MODEL FOLDER");
    if (strcmp(argv[3], "--restore") == 0) {
        print_answer(model, argv[4]);
        return 0;
    }
    lyra_model_info info;
    need(lyra_model_info_init(&info), "info");
    need(lyra_model_get_info(model, &info), "info");
    float *samples = noise(SECONDS, 1), *others = noise(SECONDS, 2);
    const reply whole = at_once(model, samples);
    check(!same_tokens(at_once(model, others), whole), "another recording has another answer");
    check(whole.usage.media_tokens == WINDOWS * info.speech_window_tokens, "a recording of 71 s has three windows");
    working_ahead(model, samples, whole);
    saving_a_recording(model, samples, argv, whole);
    saving_at_the_wrong_time(model, samples, argv[4]);
    refused_states(model, argv);
    extracting(model, samples, &info);
    refused_options(model);
    silence(model, samples, &info);
    free(samples);
    free(others);
    lyra_model_close(model);
    return check_failures != 0;
}
