/* Shared by the C tests: checks that print "ok" or "not ok" lines, and the model to test. */
#ifndef CHECK_H
#define CHECK_H

#include <lyra.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures = 0;

/* Prints whether a promise holds. */
static inline void check(int holds, const char *promise) {
    printf("%s - %s\n", holds ? "ok" : "not ok", promise);
    fflush(stdout);
    if (!holds) check_failures++;
}

/* A call's status must be `expected`, and an error must have a message. */
static inline void check_status(lyra_status status, lyra_status expected, const char *promise) {
    const int has_message = status == LYRA_OK || lyra_last_error()[0] != '\0';
    check(status == expected && has_message, promise);
    if (status != expected) {
        printf("# %s instead of %s: %s\n", lyra_status_name(status), lyra_status_name(expected), lyra_last_error());
    } else if (!has_message) {
        printf("# no sentence\n");
    }
}

/* A call without whose success the test cannot continue. */
static inline void need(lyra_status status, const char *what) {
    if (status == LYRA_OK) return;
    printf("not ok - %s\n# %s: %s\n", what, lyra_status_name(status), lyra_last_error());
    exit(1);
}

/* The model that Tests/c/run.sh names: argv[1] is the checkpoint. */
static inline lyra_model *open_model(int argc, char **argv) {
    lyra_model *model = NULL;
    if (argc < 3) {
        printf("not ok - usage: %s MODEL RECORDING\n", argv[0]);
        exit(64);
    }
    need(lyra_model_open(argv[1], NULL, &model), "the model opens");
    return model;
}

enum { ANSWER_TOKENS = 8 };

/* A session whose answers are spoken, short and reproducible. */
static inline lyra_session *greedy_session(lyra_model *model) {
    lyra_session *session = NULL;
    lyra_session_options options;
    need(lyra_session_options_init(&options), "session options");
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = ANSWER_TOKENS;
    options.speak = 1;
    need(lyra_session_create(model, &options, &session), "a session begins");
    return session;
}

#endif
