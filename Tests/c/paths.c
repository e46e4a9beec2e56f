/* Paths are bytes: names that are not UTF-8 are opened, written and distinguished, and messages show them escaped. */
#define _XOPEN_SOURCE 700

#include "check.h"

#include <unistd.h>

/* Gives `file` a second name in `folder`. */
static void link_to(const char *file, const char *folder, const char *name, char *made, size_t room) {
    snprintf(made, room, "%s/%s", folder, name);
    unlink(made);
    check(symlink(file, made) == 0, "a link is made");
}

static void feeds(lyra_model *model, char **argv, const char *folder) {
    lyra_session *session = greedy_session(model);
    char audio[4096], image[4096], video[4096];
    link_to(argv[2], folder, "r\xe9" "cording", audio, sizeof audio);
    link_to(argv[3], folder, "p\xff" "cture", image, sizeof image);
    link_to(argv[5], folder, "v\xc3", video, sizeof video);
    check_status(lyra_feed_audio_file(session, audio), LYRA_OK, "speech under a name that is not UTF-8");
    check_status(lyra_feed_image_file(session, image), LYRA_OK, "an image under such a name");
    check_status(lyra_feed_video_file(session, video, NULL), LYRA_OK, "a video under such a name");
    need(lyra_cancel(session), "cancel");
    snprintf(audio, sizeof audio, "%s/no\xe9", folder);
    check_status(lyra_feed_audio_file(session, audio), LYRA_E_IO, "missing speech");
    check(strstr(lyra_last_error(), "no\\xE9: ") != NULL, "the message shows the bytes");
    check_status(lyra_feed_sound_file(session, audio), LYRA_E_IO, "missing sound");
    need(lyra_session_destroy(session), "the session ends");
}

static void model_and_parts(char **argv, const char *folder) {
    lyra_model *model = NULL;
    lyra_model_options options;
    char path[4096], towers[4096];
    link_to(argv[1], folder, "mod\xe8le", path, sizeof path);
    link_to(argv[1], folder, "t\xf6wers", towers, sizeof towers);
    need(lyra_model_options_init(&options), "model options");
    options.towers_dir = towers;
    check_status(lyra_model_open(path, &options, &model), LYRA_OK, "a model and its parts under such names");
    need(lyra_model_close(model), "the model closes");
    options.vocoder = towers; /* a directory without one */
    check_status(lyra_model_open(path, &options, &model), LYRA_E_MISSING, "a directory that holds no vocoder");
    check(strstr(lyra_last_error(), "t\\xF6wers: ") != NULL, "the message shows the bytes of the vocoder's name");
    options.vocoder = NULL;
    snprintf(towers, sizeof towers, "%s/t\xf7wers", folder);
    check_status(lyra_model_open(path, &options, &model), LYRA_E_MISSING, "missing towers");
    check(strstr(lyra_last_error(), "t\\xF7wers") != NULL, "the message shows the bytes of the towers' name");
}

static void states(lyra_model *model, char **argv, const char *folder) {
    lyra_session *session = greedy_session(model);
    uint32_t events = 0;
    char first[4096], second[4096];
    snprintf(first, sizeof first, "%s/state\xe9", folder);
    snprintf(second, sizeof second, "%s/state\xea", folder);
    check_status(lyra_save(session, first), LYRA_OK, "a conversation is saved under such a name");
    need(lyra_feed_audio_file(session, argv[2]), "speech");
    need(lyra_end_turn(session), "the turn ends");
    while (!(events & LYRA_EVENT_END)) need(lyra_step(session, &events), "a step");
    check_status(lyra_save(session, second), LYRA_OK, "another is saved under another");
    check(access(first, F_OK) == 0 && access(second, F_OK) == 0, "there are two files");
    check_status(lyra_restore(session, first), LYRA_OK, "the first is restored");
    check_status(lyra_restore(session, second), LYRA_OK, "the second is restored");
    need(lyra_session_destroy(session), "the session ends");
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    char folder[] = "/tmp/lyra-paths-XXXXXX", command[64];
    if (argc < 6 || mkdtemp(folder) == NULL) return 64;
    feeds(model, argv, folder);
    model_and_parts(argv, folder);
    states(model, argv, folder);
    need(lyra_model_close(model), "the model closes");
    snprintf(command, sizeof command, "rm -r %s", folder);
    check(system(command) == 0, "no other file is left");
    return check_failures != 0;
}
