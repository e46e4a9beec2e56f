/* Asks a model about an image; the answer streams to standard output.
 *
 *     describe [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] IMAGE PROMPT
 *
 * The model is lyra:nano, if lyra was built with it, unless another is named.
 *
 * Exit status: 0, 1 after an error, 64 for wrong usage. Messages of lyra go to standard error. */
#include <lyra.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what, lyra_status status) {
    fprintf(stderr, "describe: %s: %s (%s)\n", what, lyra_last_error(), lyra_status_name(status));
    return -1;
}

/* Writes all unread text to standard output. */
static int drain_text(lyra_session *session) {
    char text[256];
    size_t bytes = 1;
    while (bytes > 0) {
        const lyra_status status = lyra_read_text(session, text, sizeof text, &bytes);
        if (status != LYRA_OK) return failed("reading text", status);
        if (fwrite(text, 1, bytes, stdout) != bytes) return -1;
    }
    return fflush(stdout);
}

static int answer(lyra_session *session, const char *image, const char *prompt) {
    lyra_status status = lyra_feed_image_file(session, image);
    if (status != LYRA_OK) return failed("feeding the image", status);
    status = lyra_feed_text(session, prompt, strlen(prompt));
    if (status != LYRA_OK) return failed("feeding the prompt", status);
    status = lyra_end_turn(session);
    if (status != LYRA_OK) return failed("ending the turn", status);

    uint32_t events = 0;
    while (!(events & LYRA_EVENT_END)) {
        status = lyra_step(session, &events);
        if (status != LYRA_OK) return failed("answering", status);
        if (drain_text(session) != 0) return -1;
    }
    printf("\n");
    return 0;
}

typedef struct {
    const char *model, *towers, *image, *prompt;
    lyra_session_options session;
} arguments;

/* 0, or -1 for wrong usage. */
static int parse(int argc, char **argv, arguments *out) {
    const char **positional[] = {&out->image, &out->prompt};
    size_t given = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--greedy") == 0) {
            out->session.sampling = LYRA_SAMPLING_GREEDY;
        } else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            out->model = argv[++i];
        } else if (strcmp(argv[i], "--towers") == 0 && i + 1 < argc) {
            out->towers = argv[++i];
        } else if (strcmp(argv[i], "--max-tokens") == 0 && i + 1 < argc) {
            out->session.max_new_tokens = (int32_t)strtol(argv[++i], NULL, 10);
        } else if (argv[i][0] != '-' && given < 2) {
            *positional[given++] = argv[i];
        } else {
            return -1;
        }
    }
    return given == 2 ? 0 : -1;
}

int main(int argc, char **argv) {
    arguments given;
    lyra_model_options options;
    lyra_model *model = NULL;
    lyra_session *session = NULL;
    memset(&given, 0, sizeof given);
    given.model = "lyra:nano";
    if (lyra_session_options_init(&given.session) != LYRA_OK || lyra_model_options_init(&options) != LYRA_OK) return 1;
    if (parse(argc, argv, &given) != 0) {
        fprintf(stderr, "usage: describe [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] IMAGE PROMPT\n");
        return 64;
    }
    options.towers_dir = given.towers;
    int result = -1;
    lyra_status status = lyra_model_open(given.model, &options, &model);
    if (status != LYRA_OK) {
        failed("opening the model", status);
    } else if ((status = lyra_session_create(model, &given.session, &session)) != LYRA_OK) {
        failed("beginning a session", status);
    } else {
        result = answer(session, given.image, given.prompt);
    }
    lyra_session_destroy(session);
    lyra_model_close(model);
    return result == 0 ? 0 : 1;
}
