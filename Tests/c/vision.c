/* Images, videos and sound from files, bytes, readers and memory; invalid input; each reader is closed once.
 *
 *     vision MODEL RECORDING IMAGE.png PIXELS.rgb SILENT.mp4 SPOKEN.mp4
 *
 * PIXELS are the image's, WIDTH × HEIGHT, and the frames of a video of that size. */
#include "memory_file.h"

enum { WIDTH = 60, HEIGHT = 44, STRIDE = 3 * WIDTH };

typedef struct {
    int32_t tokens[ANSWER_TOKENS];
    size_t count;
    lyra_usage usage;
} reply;

/* Asks a question about what was fed. → the answer */
static reply ask(lyra_session *session) {
    reply answer;
    uint32_t events = 0;
    memset(&answer, 0, sizeof answer);
    need(lyra_feed_text(session, "What is it?", 11), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    while (!(events & LYRA_EVENT_END)) need(lyra_step(session, &events), "a step");
    need(lyra_read_tokens(session, answer.tokens, ANSWER_TOKENS, &answer.count), "tokens are read");
    need(lyra_usage_init(&answer.usage), "usage");
    need(lyra_get_usage(session, &answer.usage), "usage");
    need(lyra_reset(session), "the session is reset");
    return answer;
}

static void check_same(reply a, reply b, const char *promise) {
    check(a.count == b.count && memcmp(a.tokens, b.tokens, a.count * sizeof *a.tokens) == 0 &&
              a.usage.media_tokens == b.usage.media_tokens && a.count > 0 && a.usage.media_tokens > 0,
          promise);
}

static void check_images(lyra_session *session, const char *path, const memory_file *pixels) {
    memory_file png = load(path);
    need(lyra_feed_image_file(session, path), "an image is fed from a file");
    const reply from_file = ask(session);
    check(from_file.usage.media_tokens == 4, "an image of 60 by 44 pixels is 4 tokens");

    need(lyra_feed_image_bytes(session, png.bytes, png.count), "an image is fed from bytes");
    check_same(ask(session), from_file, "an image in memory has the answer of the file");

    lyra_reader reader = reader_over(&png);
    need(lyra_feed_image_reader(session, &reader), "an image is fed from a reader");
    check(png.closes == 1, "an image's reader is closed when the call returns");
    check_same(ask(session), from_file, "an image from a reader has the answer of the file");

    need(lyra_feed_image_rgb8(session, pixels->bytes, WIDTH, HEIGHT, STRIDE), "pixels are fed");
    check_same(ask(session), from_file, "pixels have the answer of the image");

    enum { GAP = 7 };
    unsigned char *padded = calloc(HEIGHT, STRIDE + GAP);
    for (size_t row = 0; padded != NULL && row < HEIGHT; row++)
        memcpy(padded + row * (STRIDE + GAP), pixels->bytes + row * STRIDE, STRIDE);
    need(lyra_feed_image_rgb8(session, padded, WIDTH, HEIGHT, STRIDE + GAP), "pixels with gaps are fed");
    check_same(ask(session), from_file, "gaps between rows are ignored");
    free(padded);

    reader = reader_over(&png);
    png.fail_after = 0;
    check_status(lyra_feed_image_reader(session, &reader), LYRA_E_IO, "an image's reader that fails");
    check(png.closes == 1, "and it is closed");
    reader = reader_over(&png);
    reader.seek = NULL;
    check_status(lyra_feed_image_reader(session, &reader), LYRA_E_ARGUMENT, "an image's reader without seek");
    check(png.closes == 1, "and it is closed, too");
    check_status(lyra_feed_image_bytes(session, png.bytes, 20), LYRA_E_FORMAT, "a truncated image");
    check_status(lyra_feed_image_bytes(session, png.bytes, 0), LYRA_E_FORMAT, "an image of no bytes");
    free(png.bytes);
}

static void check_pixels(lyra_session *session, const uint8_t *pixels) {
    check_status(lyra_feed_image_rgb8(session, NULL, WIDTH, HEIGHT, STRIDE), LYRA_E_ARGUMENT, "no pixels");
    check_status(lyra_feed_image_rgb8(session, pixels, 0, HEIGHT, STRIDE), LYRA_E_ARGUMENT, "pixels of no width");
    check_status(lyra_feed_image_rgb8(session, pixels, WIDTH, 0, STRIDE), LYRA_E_ARGUMENT, "pixels of no height");
    check_status(lyra_feed_image_rgb8(session, pixels, -WIDTH, HEIGHT, STRIDE), LYRA_E_ARGUMENT, "a negative width");
    check_status(lyra_feed_image_rgb8(session, pixels, WIDTH, INT32_MIN, STRIDE), LYRA_E_ARGUMENT, "a negative height");
    check_status(lyra_feed_image_rgb8(session, pixels, WIDTH, HEIGHT, STRIDE - 1), LYRA_E_ARGUMENT,
                 "a stride that is too short");
    check_status(lyra_feed_image_rgb8(session, pixels, WIDTH, HEIGHT, SIZE_MAX), LYRA_E_ARGUMENT,
                 "a stride that overflows");
    check_status(lyra_feed_image_rgb8(session, pixels, INT32_MAX, 1, SIZE_MAX / 2), LYRA_E_ARGUMENT, "a row too long");
    check_status(lyra_feed_video_frames(session, pixels, 0, WIDTH, HEIGHT, STRIDE), LYRA_E_ARGUMENT, "no frames");
    check_status(lyra_feed_video_frames(session, pixels, SIZE_MAX, WIDTH, HEIGHT, STRIDE), LYRA_E_ARGUMENT,
                 "frames whose size overflows");
    check_status(lyra_feed_video_frames(session, NULL, 2, WIDTH, HEIGHT, STRIDE), LYRA_E_ARGUMENT, "null frames");
}

static void check_videos(lyra_session *session, const char *silent, const char *spoken, const memory_file *pixels) {
    lyra_video_options options;
    memory_file mp4 = load(silent);
    need(lyra_feed_video_file(session, silent, NULL), "a video is fed from a file");
    const reply from_file = ask(session);
    check(from_file.usage.media_tokens == 8, "a video of two seconds is two pairs of frames of 4 tokens");

    need(lyra_feed_video_bytes(session, mp4.bytes, mp4.count, NULL), "a video is fed from bytes");
    check_same(ask(session), from_file, "a video in memory has the answer of the file");

    lyra_reader reader = reader_over(&mp4);
    need(lyra_feed_video_reader(session, &reader, NULL), "a video is fed from a reader");
    check(mp4.closes == 0, "a video's reader stays open until the turn's end");
    check_same(ask(session), from_file, "a video from a reader has the answer of the file");
    check(mp4.closes == 1, "and is closed then");
    reader = reader_over(&mp4);
    need(lyra_feed_video_reader(session, &reader, NULL), "a video is fed from a reader");
    mp4.fail_after = 0;
    need(lyra_end_turn(session), "the turn ends");
    uint32_t events = 0;
    lyra_status status = LYRA_OK;
    while (status == LYRA_OK && !(events & LYRA_EVENT_END)) status = lyra_step(session, &events);
    check_status(status, LYRA_E_IO, "a video's reader that fails later");
    check(mp4.closes == 1, "and it is closed");

    need(lyra_video_options_init(&options), "video options");
    options.max_frames = 2;
    need(lyra_feed_video_file(session, silent, &options), "a video is fed with options");
    check(ask(session).usage.media_tokens == 4, "two frames are one pair");
    options.max_frames = -1;
    check_status(lyra_feed_video_file(session, silent, &options), LYRA_E_ARGUMENT, "a negative number of frames");
    options.max_frames = 0;
    options.frames_per_second = -1;
    check_status(lyra_feed_video_file(session, silent, &options), LYRA_E_ARGUMENT, "negative frames a second");
    options.frames_per_second = 0;
    options.with_audio = 1;
    check_status(lyra_feed_video_file(session, silent, &options), LYRA_E_MISSING, "audio of a video without any");
    check(strstr(lyra_last_error(), "audio") != NULL, "says so");
    check_status(lyra_end_turn(session), LYRA_E_STATE, "nothing was fed");
    need(lyra_feed_video_file(session, spoken, &options), "a video is fed with its audio");
    const reply both = ask(session);
    check(both.usage.media_tokens == 8 + 300 && strcmp(both.usage.adapter, "speech") == 0,
          "frames are followed by a window of the video's speech");
    options.size = 3;
    check_status(lyra_feed_video_file(session, silent, &options), LYRA_E_ARGUMENT, "options without a size");

    need(lyra_feed_video_frames(session, pixels->bytes, 1, WIDTH, HEIGHT, STRIDE), "one frame is fed");
    check(ask(session).usage.media_tokens == 4, "one frame is a pair of equal ones");
    need(lyra_feed_video_frames(session, pixels->bytes, 2, WIDTH, HEIGHT / 2, STRIDE), "two frames are fed");
    check(ask(session).usage.media_tokens == 8, "two frames are a pair; small ones are enlarged to 112 by 56");
    check_status(lyra_feed_video_bytes(session, mp4.bytes, mp4.count / 2, NULL), LYRA_E_FORMAT, "a truncated video");
    free(mp4.bytes);
}

static void check_sounds(lyra_session *session, const char *recording) {
    static const float silence[16000];
    static float noise[48000];
    memory_file wav = load(recording);
    need(lyra_feed_sound_file(session, recording), "sound is fed from a file");
    const reply from_file = ask(session);
    check(from_file.usage.media_tokens == 3 && strcmp(from_file.usage.adapter, "none") == 0,
          "sound is three tokens and switches no adapter on");
    need(lyra_feed_sound_bytes(session, wav.bytes, wav.count), "sound is fed from bytes");
    check_same(ask(session), from_file, "sound in memory has the answer of the file");
    lyra_reader reader = reader_over(&wav);
    need(lyra_feed_sound_reader(session, &reader), "sound is fed from a reader");
    check_same(ask(session), from_file, "sound from a reader has the answer of the file");
    check(wav.closes == 1, "and its reader is closed at the turn's end");
    need(lyra_feed_sound_pcm(session, silence, 16000, 1, 16000), "samples are fed as sound");
    check(ask(session).usage.media_tokens == 3, "they are three tokens");
    for (size_t i = 0; i < 48000; i++) noise[i] = (float)((i * 7919) % 101) / 101 - 0.5f;
    need(lyra_feed_sound_pcm(session, noise, 24000, 2, 44100), "stereo samples are fed as sound");
    check(ask(session).usage.media_tokens == 3, "they are three tokens, too");
    check_status(lyra_feed_sound_pcm(session, NULL, 10, 1, 16000), LYRA_E_ARGUMENT, "no samples");
    check_status(lyra_feed_sound_pcm(session, noise, SIZE_MAX, 2, 16000), LYRA_E_ARGUMENT,
                 "samples whose size overflows");
    check_status(lyra_feed_sound_pcm(session, noise, 10, 0, 16000), LYRA_E_ARGUMENT, "samples of no channels");
    check_status(lyra_feed_sound_pcm(session, noise, 10, 1, 0), LYRA_E_ARGUMENT, "samples at no rate");
    free(wav.bytes);
}

static void check_arguments(lyra_session *session, const char *picture) {
    memory_file file = load(picture);
    lyra_reader reader = reader_over(&file);
    check_status(lyra_feed_image_file(session, NULL), LYRA_E_ARGUMENT, "no path of an image");
    check_status(lyra_feed_video_file(session, NULL, NULL), LYRA_E_ARGUMENT, "no path of a video");
    check_status(lyra_feed_sound_file(session, NULL), LYRA_E_ARGUMENT, "no path of a sound");
    check_status(lyra_feed_image_file(session, "/nowhere.png"), LYRA_E_IO, "a missing image");
    check(strstr(lyra_last_error(), "/nowhere.png") != NULL, "is named");
    check_status(lyra_feed_image_bytes(session, NULL, 10), LYRA_E_ARGUMENT, "no bytes of an image");
    check_status(lyra_feed_video_bytes(session, NULL, 10, NULL), LYRA_E_ARGUMENT, "no bytes of a video");
    check_status(lyra_feed_sound_bytes(session, NULL, 10), LYRA_E_ARGUMENT, "no bytes of a sound");
    check_status(lyra_feed_image_reader(session, NULL), LYRA_E_ARGUMENT, "no reader of an image");
    check_status(lyra_video_options_init(NULL), LYRA_E_ARGUMENT, "no video options");
    check_status(lyra_feed_image_reader(NULL, &reader), LYRA_E_ARGUMENT, "a reader for no session");
    check(file.closes == 1, "is closed");
    check_status(lyra_feed_video_file(session, picture, NULL), LYRA_E_FORMAT, "an image as a video");
    free(file.bytes);

    check_status(lyra_set_speak(session, 0), LYRA_OK, "speaking is switched off");
    need(lyra_feed_text(session, "Hello", 5), "text is fed");
    need(lyra_end_turn(session), "the turn ends");
    check_status(lyra_set_speak(session, 1), LYRA_E_STATE, "speaking is not switched during an answer");
    check_status(lyra_feed_image_file(session, picture), LYRA_E_STATE, "an image during an answer");
    need(lyra_reset(session), "the session is reset");
}

static void check_limits(lyra_model *model, const char *picture) {
    lyra_session_options options;
    lyra_session *session = NULL;
    need(lyra_session_options_init(&options), "session options");
    options.max_image_pixels = 100;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "images shrunk to no pixels");
    options.max_image_pixels = 0;
    options.limit_pixels = -1;
    check_status(lyra_session_create(model, &options, &session), LYRA_E_ARGUMENT, "a negative limit");
    options.limit_pixels = 1000;
    need(lyra_session_create(model, &options, &session), "a session with a limit of pixels begins");
    check_status(lyra_feed_image_file(session, picture), LYRA_E_MEMORY, "an image over the limit of pixels");
    need(lyra_session_destroy(session), "the session ends");
}

int main(int argc, char **argv) {
    lyra_model *model = open_model(argc, argv);
    if (argc < 7) {
        printf("not ok - usage: %s MODEL RECORDING IMAGE PIXELS SILENT SPOKEN\n", argv[0]);
        return 64;
    }
    lyra_model_info info;
    need(lyra_model_info_init(&info), "model info");
    need(lyra_model_get_info(model, &info), "model info");
    check(info.sees == 1 && info.hears_sound == 1 && info.vision_token_pixels == 28, "the info has the model's media");

    lyra_session *session = greedy_session(model);
    memory_file pixels = load(argv[4]);
    check(pixels.count == (size_t)HEIGHT * STRIDE, "the pixels are those of one image");
    check_images(session, argv[3], &pixels);
    check_pixels(session, pixels.bytes);
    check_videos(session, argv[5], argv[6], &pixels);
    check_sounds(session, argv[2]);
    check_arguments(session, argv[3]);
    check_limits(model, argv[3]);
    free(pixels.bytes);
    need(lyra_session_destroy(session), "the session ends");
    need(lyra_model_close(model), "the model closes");
    return check_failures > 0;
}
