/* Libraries that are loaded on first use.
 * usage: loading MODEL KIND FILE STATUS WORD: feeds FILE as KIND (pcm, pixels, text, image, audio, video; FILE is "-"
 * for the first three) and answers. The last status must be STATUS, with a message that contains WORD ("-": any). */
#include "check.h"

/* The first call that failed, or LYRA_OK. */
static lyra_status ask(lyra_session *session, const char *kind, const char *file) {
    static float samples[32000];
    static uint8_t pixels[64 * 48 * 3];
    lyra_status status = LYRA_OK;
    uint32_t events = 0;
    if (!strcmp(kind, "pcm")) status = lyra_feed_audio_pcm(session, samples, 32000, 1, 16000);
    if (!strcmp(kind, "pixels")) status = lyra_feed_image_rgb8(session, pixels, 64, 48, 64 * 3);
    if (!strcmp(kind, "image")) status = lyra_feed_image_file(session, file);
    if (!strcmp(kind, "audio")) status = lyra_feed_audio_file(session, file);
    if (!strcmp(kind, "video")) status = lyra_feed_video_file(session, file, NULL);
    if (status == LYRA_OK) status = lyra_feed_text(session, "What is said?", 13);
    if (status == LYRA_OK) status = lyra_end_turn(session);
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    return status;
}

int main(int argc, char **argv) {
    char promise[300];
    lyra_model *model;
    lyra_session *session;
    if (argc != 6) return 64;
    model = open_model(argc, argv);
    session = greedy_session(model);
    snprintf(promise, sizeof promise, "%s: status %s", argv[2], argv[4]);
    check_status(ask(session, argv[2], argv[3]), atoi(argv[4]), promise);
    snprintf(promise, sizeof promise, "%s: the message names %s", argv[2], argv[5]);
    check(!strcmp(argv[5], "-") || strstr(lyra_last_error(), argv[5]) != NULL, promise);
    printf("# %s\n", lyra_last_error());
    /* A library that cannot be loaded affects nothing else. */
    if (atoi(argv[4]) != LYRA_OK) check_status(lyra_reset(session), LYRA_OK, "the session stays usable");
    lyra_session_destroy(session);
    lyra_model_close(model);
    return check_failures ? 1 : 0;
}
