/* lyra:nano, the model inside the library: with its file as argument if the library has the model, else without. */
#include "ask.h"

static reply answer(lyra_model *model) {
    lyra_session_options options = usual_options();
    lyra_session *session = session_with(model, &options);
    const reply got = ask(session, "What is two plus two?");
    need(lyra_session_destroy(session), "the session ends");
    return got;
}

static void answers(const char *file) {
    lyra_model *inside = NULL, *again = NULL, *outside = NULL;
    lyra_model_info info;
    reply wanted;
    check_status(lyra_model_open("lyra:nano", NULL, &inside), LYRA_OK, "the model inside the library opens");
    check_status(lyra_model_open("lyra:nano", NULL, &again), LYRA_OK, "it opens twice");
    need(lyra_model_open(file, NULL, &outside), "its file opens");
    need(lyra_model_info_init(&info), "info");
    need(lyra_model_get_info(inside, &info), "info");
    check(info.hears_speech && info.speaks && info.sees, "it has all parts");
    wanted = answer(outside);
    check(same_tokens(wanted, answer(inside)), "it answers like its file");
    need(lyra_model_close(inside), "the model closes");
    check(same_tokens(wanted, answer(again)), "closing it leaves the other open");
    need(lyra_model_close(again), "the model closes");
    need(lyra_model_close(outside), "the model closes");
}

static void is_absent(void) {
    lyra_model *model = NULL;
    check_status(lyra_model_open("lyra:nano", NULL, &model), LYRA_E_MISSING, "a library without the model refuses it");
    check(model == NULL && strstr(lyra_last_error(), "package trait Nano") != NULL, "the message says how to get it");
}

int main(int argc, char **argv) {
    lyra_model *model = NULL;
    if (argc > 1) {
        answers(argv[1]);
    } else {
        is_absent();
    }
    check_status(lyra_model_open("lyra:mini", NULL, &model), LYRA_E_ARGUMENT, "no other model is inside the library");
    check(strstr(lyra_last_error(), "lyra:mini") != NULL, "the message names it");
    return check_failures != 0;
}
