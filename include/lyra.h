/* lyra: text, speech, images, video and sound in; text and speech out, together and streamed.
 *
 * A complete program (without its error checks; examples/c/speak.c has them):
 *
 *     #include <lyra.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         lyra_model *model = NULL;
 *         lyra_session *session = NULL;
 *         lyra_model_open("Lyra_Mini_3B", NULL, &model);
 *         lyra_session_create(model, NULL, &session);
 *         lyra_feed_audio_file(session, "question.wav");
 *         lyra_feed_text(session, "What is said?", 13);
 *         lyra_end_turn(session);
 *
 *         uint32_t events = 0;
 *         while (!(events & LYRA_EVENT_END) && lyra_step(session, &events) == LYRA_OK) {
 *             char text[256];
 *             size_t bytes;
 *             while (lyra_read_text(session, text, sizeof text, &bytes) == LYRA_OK && bytes > 0)
 *                 fwrite(text, 1, bytes, stdout);
 *             float audio[4096];
 *             size_t samples;
 *             while (lyra_read_audio(session, audio, 4096, &samples) == LYRA_OK && samples > 0)
 *                 play(audio, samples);
 *         }
 *         lyra_session_destroy(session);
 *         lyra_model_close(model);
 *     }
 *
 * Threads. A model is immutable: any number of sessions on any threads share it. A session belongs to one thread at a
 * time; only lyra_stop and lyra_cancel may be called from another while a call is in progress. A call on a session that
 * another thread is inside of is refused with LYRA_E_STATE. A calling thread, or coroutine, needs 64 KiB of stack: where
 * less than 256 KiB are left, a thread of lyra's own does the work while the caller waits, callbacks are called on the
 * caller's all the same, and LYRA_E_MEMORY says that no such thread could be started.
 *
 * Errors. Every call that can fail returns a lyra_status. After one that is not LYRA_OK, lyra_last_error() has a
 * sentence for a person: what was wrong, where, and what to do. Out parameters are then left as they were, and the
 * object is as it was before the call, unless the function's comment says otherwise (lyra_step's does). Nothing here throws, aborts, exits,
 * or prints. A null pointer where one is not allowed is LYRA_E_ARGUMENT; a handle that was closed, or never was one,
 * is LYRA_E_CLOSED.
 *
 * Memory. Mappings, threads, and what grows with the input or with the model's weights and vocabulary, are asked for where
 * the answer may be no: the call returns LYRA_E_MEMORY. Small objects of the library's language, below 64 KiB each, cannot be
 * refused: where the allocator has nothing left for one, the process ends. Configurations, the list of a model's tensors,
 * the metadata of GGUF files, and the list of tokens in a saved conversation are such objects at any size. A host that
 * must live bounds lyra with max_memory_bytes and max_context_tokens, and leaves some room beside them.
 *
 * Structs. Option, info and reader structs begin with their own size, which tells the library what the caller was
 * compiled against: a program built with an older, shorter struct keeps working, and fields it does not know read as 0.
 * Call the init function (which takes the size through a macro), then set what matters; a field of 0 or NULL means its
 * default. An option out of the range that its comment states is LYRA_E_ARGUMENT, and the sentence names it. A size that
 * no version of the struct had is LYRA_E_ARGUMENT, too. Strings that a struct or a call takes are UTF-8, are copied, and
 * need not outlive the call. Paths are bytes, as the system takes them; messages show what is not UTF-8 in them as \xE9.
 */
#ifndef LYRA_H
#define LYRA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ versions, errors */

/* The version of this header. The library's own is lyra_version(). A change that an older program can notice is listed
 * here, the newest first:
 * - lyra_feed_text and the system prompt are plain text. Before, they read the names of special tokens in a text as
 *   those tokens; lyra_feed_text_special still does. */
#define LYRA_VERSION "0.1.0"

typedef int32_t lyra_status;
enum {
    LYRA_OK = 0,
    LYRA_E_ARGUMENT = 1,    /* something that cannot be was passed: a null pointer, a negative size, an unknown name */
    LYRA_E_IO = 2,          /* the system refused: a file cannot be opened, read or written; a reader failed */
    LYRA_E_FORMAT = 3,      /* bytes are not what they should be: damaged, truncated, of a wrong shape or type */
    LYRA_E_MISSING = 4,     /* something needed is not there: a tower, an adapter, a tensor, the vocoder; a library that
                               decodes the file, or OpenBLAS, which are loaded when they are first needed */
    LYRA_E_UNSUPPORTED = 5, /* well-formed, but nothing that lyra runs */
    LYRA_E_MEMORY = 6,      /* memory, or a limit that the caller set, does not suffice */
    LYRA_E_STATE = 7,       /* the call does not fit what the object is doing now */
    LYRA_E_CLOSED = 8       /* the handle was closed, or never was one */
};

/* The library's version, "major.minor.patch". Static; never freed. Any thread. */
const char *lyra_version(void);

/* The name of a status, such as "LYRA_E_IO"; "LYRA_E_UNKNOWN" for any other number. Static. Any thread. */
const char *lyra_status_name(lyra_status status);

/* What went wrong in this thread's most recent call that failed; "" before the first. Belongs to the library and
 * stays valid until the next failing call of the same thread. Never NULL. */
const char *lyra_last_error(void);

/* ------------------------------------------------------------------------------------------------------------ model */

typedef struct lyra_model lyra_model;

typedef int32_t lyra_log_level;
enum { LYRA_LOG_INFO = 1, LYRA_LOG_WARNING = 2 };

/* Gets messages for a person, while a model is opened and from its sessions. LYRA_LOG_WARNING: the answer may be another than
 * expected (a part is missing; a recording has no samples, or none at -60 dB of full scale or above once its channels are
 * averaged, told once with its name and its number in the turn). LYRA_LOG_INFO: nothing changes (a turn was cancelled while
 * it was fed, and is dropped). `message` is valid during the call only. Called on the thread that is inside lyra, so on several
 * at once where sessions are; must not call lyra. */
typedef void (*lyra_log_callback)(void *user, lyra_log_level level, const char *message);

/* Told how far the opening of a model is: `done` of `total` parts, layers mostly. Return 0 to go on, anything else to give up: the
 * open then fails with LYRA_E_STATE. Called on the thread that opens; must not call lyra. */
typedef int32_t (*lyra_open_callback)(void *user, size_t done, size_t total);

typedef int32_t lyra_precision; /* how exactly products with BF16 weights, and attention, are computed */
enum {
    LYRA_PRECISION_DEFAULT = 0, /* exact; fast for a model whose weights are in blocks, which round to 8 bits anyway */
    LYRA_PRECISION_EXACT = 1,   /* in F32: the reference's numbers without its rounding; weights stay in the mapped files */
    LYRA_PRECISION_FAST = 2     /* rounds to BF16, where the reference rounds to FP16; BF16 weights are copied into memory */
};

typedef struct lyra_model_options {
    size_t size;            /* set by lyra_model_options_init */
    const char *towers_dir; /* where towers and vocoder are looked for after the places that the checkpoint names, which are
                               in it or beside it and its parents (of a link: at both its ends), never in the current
                               directory; default: nowhere else */
    const char *vocoder;    /* the vocoder's file or its directory; default: the g_… of the highest step with a config.json, up
                               to four levels below the checkpoint's directory, a model_zoo beside the checkpoint or its
                               parents, or towers_dir */
    int32_t threads;        /* threads that the process computes with, 0 or more; more than 256 are 256; default: the
                               number of processors it may use, and no more than its container's CPU quota.
                               One pool serves all models: the last open decides its size. OpenBLAS is set to one thread
                               per caller, since the pool already splits the work */
    lyra_log_callback log;  /* default: no messages */
    lyra_open_callback progress; /* default: not told */
    void *user;             /* handed to both callbacks; log may be called as long as a session of the model lives */
    const char *sound_projector; /* a file (safetensors, or a torch.save pickle) with mm_audio_projector's tensors, which
                               turn the sound tower's vectors into tokens; the published checkpoints carry none, and do
                               not hear sound other than speech without. Default: the checkpoint's own */
    lyra_precision precision; /* one of the above; default: LYRA_PRECISION_DEFAULT */
} lyra_model_options;

/* Fills `options` with the defaults. `size` is sizeof(lyra_model_options) as the caller knows it. */
lyra_status lyra_model_options_init_size(lyra_model_options *options, size_t size);
#define lyra_model_options_init(options) lyra_model_options_init_size((options), sizeof(lyra_model_options))

/* Opens the checkpoint directory `path` (config.json, safetensors, vocabulary, adapters) and its towers; or a GGUF file
 * that `lyra convert` made of it, or one of llama.cpp's ("qwen2vl", "qwen2"; any part of a split one), which knows text
 * only. Weights are mapped: the files may be replaced or removed while the model is open, but not be shortened in place;
 * blocks (Q8_0, ...) and 8-bit floats are copied. `options` may be NULL. The caller owns *out and closes it with
 * lyra_model_close.
 * What config.json and its like ask for and lyra does not compute is LYRA_E_UNSUPPORTED, by name; keys that lyra does not
 * know are logged. A tower or vocoder that is not found is no error until something needs it; a file that cannot be looked
 * at is LYRA_E_IO. Other errors: LYRA_E_MISSING, LYRA_E_FORMAT, LYRA_E_MEMORY; LYRA_E_STATE if the progress callback gave
 * up. Any thread. */
lyra_status lyra_model_open(const char *path, const lyra_model_options *options, lyra_model **out);

/* Closes a model. Sessions that still use it go on working, and its memory is given back with the last of them.
 * NULL is allowed and does nothing. Any thread. */
lyra_status lyra_model_close(lyra_model *model);

typedef struct lyra_model_info {
    size_t size;               /* set by lyra_model_info_init */
    int64_t parameters;        /* of all parts that were opened */
    int64_t weight_bytes;      /* as stored */
    int32_t layers;            /* of the language model */
    int32_t hidden_size;
    int32_t vocabulary_size;
    int32_t context_length;    /* positions that it was trained for */
    int32_t hears_speech;      /* 1 if speech can be fed, else 0 */
    int32_t speaks;            /* 1 if spoken answers can be made, else 0 */
    int32_t speech_sample_rate;     /* Hz that recordings are resampled to before they are encoded */
    int32_t speech_window_samples;  /* samples in one encoded window, at that rate */
    int32_t speech_window_tokens;   /* tokens that one window takes in the prompt */
    int32_t audio_sample_rate;      /* Hz of what lyra_read_audio gives; 0 if the model does not speak */
    int32_t audio_lookahead_samples; /* a sample is final once the vocoder has seen this many samples' worth of units after
                                       it; what bounds how early audio can come */
    int32_t sees;              /* 1 if images and videos can be fed, else 0 */
    int32_t hears_sound;       /* 1 if sound other than speech can be fed, else 0 */
    int32_t vision_token_pixels; /* side of the square of a prepared picture that becomes one token; 0 if it does not see */
} lyra_model_info;

lyra_status lyra_model_info_init_size(lyra_model_info *info, size_t size);
#define lyra_model_info_init(info) lyra_model_info_init_size((info), sizeof(lyra_model_info))

/* Fills `info`, whose size must have been set. Any thread. */
lyra_status lyra_model_get_info(lyra_model *model, lyra_model_info *info);

/* ---------------------------------------------------------------------------------------------------------- session */

typedef struct lyra_session lyra_session;

typedef int32_t lyra_sampling;
enum {
    LYRA_SAMPLING_DEFAULT = 0, /* greedy or random as the checkpoint's generation_config.json says; where random, with
                                  the fields below, and with the checkpoint's numbers for those left 0 */
    LYRA_SAMPLING_GREEDY = 1,  /* the most likely token, always; reproducible */
    LYRA_SAMPLING_RANDOM = 2   /* drawn, with the fields below */
};

enum { LYRA_EXTRACTOR_DEFAULT = 0, LYRA_EXTRACTOR_OFF = 1, LYRA_EXTRACTOR_ON = 2 };

typedef int32_t lyra_kv_type; /* of all tokens but, in each layer, the newest 512 or more, which stay F32 */
enum {
    LYRA_KV_F32 = 0,
    LYRA_KV_F16 = 1,  /* half the memory, 11 bits of precision; the answers stay */
    LYRA_KV_BF16 = 2, /* half the memory, 8 bits of precision; what F16 cannot hold, beyond 65,504, fits */
    LYRA_KV_Q8 = 3    /* a byte each with one scale for each head and token: about a quarter of the memory */
};

typedef struct lyra_session_options {
    size_t size;               /* set by lyra_session_options_init */
    lyra_sampling sampling;
    float temperature;         /* above 0, finite; default: the checkpoint's, else 1 */
    int32_t top_k;             /* keep the k most likely, 1 or more; default: the checkpoint's, else all */
    float top_p;               /* keep the most likely that together reach p, at most 1; default: the checkpoint's, else 1 */
    float min_p;               /* drop those less likely than p times the most likely, at most 1; default: none */
    float repetition_penalty;  /* above 0, finite; logits of tokens already in the conversation are divided by it when positive and
                                  multiplied when negative; default: the checkpoint's, else 1 */
    uint64_t seed;             /* the same seed and inputs give the same answer; default: from the system's entropy */
    int32_t max_new_tokens;    /* of one answer, 1 or more; default: 1024 */
    int32_t max_context_tokens; /* of the whole conversation, 1 or more; over it is LYRA_E_MEMORY; default: no limit */
    int32_t speak;             /* 0 or 1; 1: answers are spoken as well; default: text only */
    const char *adapter;       /* "auto" (default): none until speech is heard, then "speech" while each recording fits one
                                  window, then "long_speech", never back; "none"; or an adapter's name, kept throughout */
    const char *system_prompt; /* plain text, as lyra_feed_text takes it, at most 64 MiB; default: "You are a helpful
                                  assistant." */
    int64_t max_image_pixels;  /* a larger picture is shrunk to this many pixels before it is encoded: fewer tokens, less
                                  time; 3136 to 2^32; default: the checkpoint's, 12,845,056 as published */
    int64_t limit_pixels;      /* a picture or video with more pixels than this (a frame of it) is refused before it is
                                  decoded; 1 to 2^32; default: 134,217,728, of a video's frame 33,554,432 */
    double limit_seconds;      /* a video or a sound longer than this is refused, sound over 24 hours in any case; above 0, at
                                  most 1e9; default: 24 hours of video, 10 minutes of sound. Speech has no limit */
    int32_t extractor;         /* which media tokens the language model lets go on the way; LYRA_EXTRACTOR_DEFAULT: as the
                                  checkpoint's compress_gap and keep_rate say (as published: off) */
    int32_t extractor_blocks;  /* with LYRA_EXTRACTOR_ON: blocks of layers, 1 to 1024 (the paper's n: 4), after each of which
                                  but the last some go; or else set extractor_gap, the layers between, 1 to 1024 */
    int32_t extractor_gap;
    float extractor_keep;      /* the share that stays after each (the paper's: 0.8 or 0.7), above 0 and at most 1 */
    lyra_kv_type kv_type;      /* one of the above: how keys and values are kept; default: LYRA_KV_F32 */
    int32_t skip_silence;      /* 0 or 1; 1: windows of speech below -60 dB of full scale are left out; the model was not trained so */
    int64_t max_memory_bytes;  /* of keys, values and waiting prompt rows; 1 to 2^50; more is refused with LYRA_E_MEMORY
                                  before it is allocated, and an answer ends (LYRA_STOP_LENGTH) where it is reached;
                                  default: no limit */
} lyra_session_options;

lyra_status lyra_session_options_init_size(lyra_session_options *options, size_t size);
#define lyra_session_options_init(options) lyra_session_options_init_size((options), sizeof(lyra_session_options))

/* Begins a conversation. `options` may be NULL. The caller owns *out. Errors: LYRA_E_ARGUMENT for an option out of its
 * range or an unknown adapter, LYRA_E_MISSING if `speak` is set and the model cannot. Any thread. */
lyra_status lyra_session_create(lyra_model *model, const lyra_session_options *options, lyra_session **out);

/* Ends a conversation and frees all it holds. NULL is allowed and does nothing. A session that another thread is inside
 * of is not destroyed: LYRA_E_STATE. */
lyra_status lyra_session_destroy(lyra_session *session);

/* Forgets the whole conversation, whatever the session is doing; options and system prompt stay, and the seed starts
 * over. After an error that ended a turn the session is usable without this. */
lyra_status lyra_reset(lyra_session *session);

/* Writes the conversation to a file, which appears under its name when it is complete. What was fed of a turn is kept too
 * if lyra_step has computed all of it: a long recording is then prefilled once and asked many times. LYRA_E_STATE while an
 * answer is being made or something fed is not computed yet (typed text and, unless the adapter is fixed, recordings of one
 * window are not before lyra_end_turn; under an extractor no media are); LYRA_E_IO. */
lyra_status lyra_save(lyra_session *session, const char *path);

/* Goes on with a conversation that lyra_save wrote, in place of this session's, which is left as it was after an error.
 * Options stay, but for the system prompt and kv_type, which are the file's. LYRA_E_FORMAT for a damaged file,
 * LYRA_E_UNSUPPORTED for another version's, LYRA_E_ARGUMENT for another model's, LYRA_E_MEMORY over a limit of this
 * session, LYRA_E_IO, LYRA_E_STATE while an answer is being made, or if lyra_cancel or lyra_stop interrupts it. Messages name
 * the file. A file that another process shortens meanwhile is LYRA_E_FORMAT. */
lyra_status lyra_restore(lyra_session *session, const char *path);

/* Replaces the system prompt, which is plain text. LYRA_E_STATE once a turn has ended, or steps have begun to compute it: reset first. */
lyra_status lyra_set_system_prompt(lyra_session *session, const char *utf8, size_t bytes);

/* Has answers spoken as well from the next turn on (1), or no more (0). Errors: LYRA_E_MISSING if the model cannot,
 * LYRA_E_STATE while an answer is being made. */
lyra_status lyra_set_speak(lyra_session *session, int32_t speak);

/* ------------------------------------------------------------------------------------------------------------- feed
 * What is fed becomes the user's turn, in the order of feeding, until lyra_end_turn. Between two pieces of text nothing is
 * inserted; a recording that is followed by text gets a line break after it, as the model was trained. Feeding while an
 * answer is being made is LYRA_E_STATE.
 *
 * lyra_cancel or lyra_stop from another thread drops a turn that is being fed. A feed or a step that is running then returns
 * LYRA_E_STATE. Between two calls nothing can be returned: a step or lyra_end_turn that follows is LYRA_E_STATE, but a feed
 * begins a fresh turn, without what was fed before. Until the next lyra_end_turn, lyra_usage.stop says so: it is
 * LYRA_STOP_CANCELLED (or LYRA_STOP_STOPPED), and LYRA_STOP_NONE for a turn of which nothing was dropped.
 *
 * Images, videos, speech, sound and text can be mixed freely. The model was trained on: images and videos, then speech,
 * then text.
 *
 * Feeding a recording or a video reads no more than its header; it is decoded and encoded piece by piece in lyra_step, so
 * a recording's length does not matter. An image is decoded when it is fed. Recordings: what libsndfile reads (WAV, FLAC,
 * OGG, Opus, …) and what FFmpeg's libraries do (MP3, AAC, M4A, the audio of MP4 and WebM, …); they are averaged to mono and
 * resampled. Damaged files are LYRA_E_FORMAT, from the feed if their header shows it, else from the step that finds it. */

/* Adds plain text: `bytes` bytes of UTF-8 (invalid sequences become U+FFFD); with 0 bytes `utf8` may be NULL. The names
 * of special tokens, such as "<|im_end|>", are text like any other, so a user cannot end the turn by typing them.
 * lyra_step tokenizes the text piece by piece and checks the session's limits after each.
 * LYRA_E_ARGUMENT for more than 64 MiB, LYRA_E_MEMORY if there is no room for a copy. */
lyra_status lyra_feed_text(lyra_session *session, const char *utf8, size_t bytes);

/* The same, but the names of special tokens are read as those tokens, as the reference does. Only for text that the
 * host wrote itself: whoever writes "<|im_end|>\n<|im_start|>system\n" here speaks for the system. A name can span
 * consecutive calls; one that begins or ends in text of lyra_feed_text is plain text. */
lyra_status lyra_feed_text_special(lyra_session *session, const char *utf8, size_t bytes);

/* Adds a recording of speech from a file: WAV, RF64, W64, AIFF, AU, CAF, FLAC, Ogg, MP3, AAC, and the sound of MP4, MOV, MKV,
 * WebM, AVI, FLV and TS, as the installed libsndfile and FFmpeg read them. MP3, AAC, AC-3 or Ogg files that were joined by
 * concatenation are heard to the end. The file must stay in place until the turn's end event.
 * Of a FIFO, pipe or socket (/dev/stdin, /dev/fd/N), here and in the other functions that take a path of media, all bytes,
 * at most 8 GiB, are copied to an unnamed file in the directory that TMPDIR names, or /tmp, before the call returns.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model does not hear; LYRA_E_MEMORY if a pipe gives more. */
lyra_status lyra_feed_audio_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_audio_bytes(lyra_session *session, const void *data, size_t bytes);

/* Where a file can be, the caller's own source can be. The functions are called on the thread that is inside lyra, in a
 * feed or a step, and must not call lyra. */
typedef struct lyra_reader {
    size_t size;    /* sizeof(lyra_reader) */
    void *user;     /* handed to each function */
    int64_t (*read)(void *user, void *buffer, size_t bytes); /* up to `bytes` bytes at the current offset; how many were
                                                                read, 0 at the end, negative on failure */
    int64_t (*seek)(void *user, int64_t offset);  /* to an offset from the start; the new offset, negative on failure */
    int64_t (*length)(void *user);                /* bytes in all; negative on failure */
    void (*close)(void *user); /* called once, when lyra needs the reader no more: at the end of the turn, or at once when
                                  the feed fails, whatever its error; may be NULL */
} lyra_reader;

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_audio_reader(lyra_session *session, const lyra_reader *reader);

/* Adds samples of speech: `frames` frames of `channels` interleaved floats in -1…1 at `sample_rate` Hz; copied.
 * Consecutive calls with the same rate and channels continue one recording; any other feed, lyra_feed_audio_end, or the
 * end of the turn finishes it. LYRA_E_ARGUMENT if the rate or channels change within one, are out of range (1 to
 * 1,000,000 Hz, 1 to 1,024 channels), or a sample is NaN or infinite. 0 frames are allowed. */
lyra_status lyra_feed_audio_pcm(lyra_session *session, const float *samples, size_t frames, int32_t channels,
                                int32_t sample_rate);

/* Finishes the recording that lyra_feed_audio_pcm began, so that the next call begins another. Nothing to finish is
 * no error. */
lyra_status lyra_feed_audio_end(lyra_session *session);

/* Adds an image from a file: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF. It is turned upright by its EXIF
 * or XMP orientation, alpha is laid on white, 16 bits are cut to 8; float and 32-bit samples are refused.
 * It takes about (width / 28) · (height / 28) tokens.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model does not see, LYRA_E_MEMORY over limit_pixels. */
lyra_status lyra_feed_image_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are not needed after the call. */
lyra_status lyra_feed_image_bytes(lyra_session *session, const void *data, size_t bytes);

/* The same from a reader, which is closed before the call returns. */
lyra_status lyra_feed_image_reader(lyra_session *session, const lyra_reader *reader);

/* Adds an image of `height` rows of `width` pixels of 3 bytes (red, green, blue), rows `stride` bytes apart, the topmost
 * first; copied. LYRA_E_ARGUMENT if a side is not 1 … 65,535 or stride is below 3 · width. */
lyra_status lyra_feed_image_rgb8(lyra_session *session, const uint8_t *pixels, int32_t width, int32_t height,
                                 size_t stride);

typedef struct lyra_video_options {
    size_t size;               /* set by lyra_video_options_init */
    float frames_per_second;   /* frames that are looked at, above 0, at most 1000; default: 2 */
    int32_t max_frames;        /* at most so many, evenly over the whole video, 1 to 65,536; default: 16 */
    int32_t with_audio;        /* 0 or 1; 1: the video's own audio follows its frames as speech; LYRA_E_MISSING if it has none */
} lyra_video_options;

lyra_status lyra_video_options_init_size(lyra_video_options *options, size_t size);
#define lyra_video_options_init(options) lyra_video_options_init_size((options), sizeof(lyra_video_options))

/* Adds a video from a file: MP4, MOV, WebM, MKV, AVI with H.264, HEVC, VP9, AV1, as the installed FFmpeg reads them; turned
 * upright. An even number of frames, 4 at least, is chosen; two share the tokens of one. The file must stay in place until
 * the turn's end event. `options` may be NULL.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model does not see, LYRA_E_MEMORY over a limit. */
lyra_status lyra_feed_video_file(lyra_session *session, const char *path, const lyra_video_options *options);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_video_bytes(lyra_session *session, const void *data, size_t bytes,
                                  const lyra_video_options *options);

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_video_reader(lyra_session *session, const lyra_reader *reader, const lyra_video_options *options);

/* Adds a video of frames in memory, all of which are looked at (an odd last one twice): `frames` pictures as
 * lyra_feed_image_rgb8 takes them, each beginning stride · height bytes after the one before; copied. */
lyra_status lyra_feed_video_frames(lyra_session *session, const uint8_t *pixels, size_t frames, int32_t width,
                                   int32_t height, size_t stride);

/* Adds sound that is not speech, as lyra_feed_audio_file does speech: three clips of 2 s, evenly placed, become one token
 * each. Alone it switches no adapter on. LYRA_E_MISSING if the model does not hear sound (see
 * lyra_model_options.sound_projector); LYRA_E_MEMORY over limit_seconds. */
lyra_status lyra_feed_sound_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_sound_bytes(lyra_session *session, const void *data, size_t bytes);

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_sound_reader(lyra_session *session, const lyra_reader *reader);

/* The same from samples: one call is one sound; otherwise as lyra_feed_audio_pcm. */
lyra_status lyra_feed_sound_pcm(lyra_session *session, const float *samples, size_t frames, int32_t channels,
                                int32_t sample_rate);

/* -------------------------------------------------------------------------------------------------------------- run */

/* Ends the user's turn: the answer is made by the lyra_step calls that follow. LYRA_E_STATE if nothing was fed or an
 * answer is being made already. */
lyra_status lyra_end_turn(lyra_session *session);

/* Bits of *events. A step can set several. */
enum {
    LYRA_EVENT_PROGRESS = 1, /* something was encoded or prefilled: see lyra_get_progress */
    LYRA_EVENT_TEXT = 2,     /* lyra_read_text has something new */
    LYRA_EVENT_AUDIO = 4,    /* lyra_read_audio has something new */
    LYRA_EVENT_END = 8       /* the turn is over; set exactly once for each turn */
};

/* Does one short piece of work: a piece of typed text, a layer of a tower or a part of one, one chunk of prefill, one token, or one piece of
 * waveform. Before lyra_end_turn it works ahead on what was fed: whole windows of a recording are encoded and, without an
 * extractor and once the adapter is settled, prefilled, so that little is left when the turn ends; *events is 0 when there
 * is nothing to do before more is fed.
 * LYRA_E_STATE if nothing was fed, or if the turn was cancelled or stopped while it was fed. Any other error (a file that turned out damaged, memory, a limit) takes the
 * whole turn back: the conversation is as it was before the turn's first feed, LYRA_EVENT_END is set (if the turn
 * had ended), and the session can be used further. An answer that is cancelled or stopped is no error. */
lyra_status lyra_step(lyra_session *session, uint32_t *events);

/* Asks the turn in progress to end, keeping what was said: no further word follows, and the words so far are part of the
 * conversation. Text and audio not yet read stay readable. Where answers are spoken, the steps that follow complete the
 * speech of the words so far (little: that of the last word, and the end of the waveform) and then set LYRA_EVENT_END;
 * otherwise the next step does. Called a second time, the next step sets LYRA_EVENT_END without that. A host that wants silence
 * at once stops reading audio, or cancels. Before the first word it works like lyra_cancel. From any thread, also while a
 * step runs. Nothing in progress is no error. */
lyra_status lyra_stop(lyra_session *session);

/* Asks for the turn in progress to be taken back: the next step drops text and audio not yet read and sets
 * LYRA_EVENT_END; the conversation is as if the turn had never been. A turn that is still being fed is dropped without an
 * event. From any thread, also while a step runs: that step ends early, in the midst of its products if need be. Nothing in
 * progress is no error. */
lyra_status lyra_cancel(lyra_session *session);

/* ------------------------------------------------------------------------------------------------------------- read
 * Everything read once is gone from the queue; what is left stays readable until the next lyra_end_turn or reset. */

/* Copies up to `capacity` bytes of the answer's text into `buffer` and sets *bytes. Whole UTF-8 characters only; not
 * terminated. LYRA_E_ARGUMENT if the next character does not fit (a capacity of 4 always suffices). */
lyra_status lyra_read_text(lyra_session *session, char *buffer, size_t capacity, size_t *bytes);

/* Copies up to `capacity` samples (mono floats in -1…1 at lyra_model_info.audio_sample_rate) and sets *samples. Read in
 * any pieces it is the same waveform, sample for sample. */
lyra_status lyra_read_audio(lyra_session *session, float *buffer, size_t capacity, size_t *samples);

/* Copies up to `capacity` ids of the answer's tokens, the stop token included, and sets *count. */
lyra_status lyra_read_tokens(lyra_session *session, int32_t *buffer, size_t capacity, size_t *count);

/* Copies up to `capacity` speech units of the answer and sets *count. */
lyra_status lyra_read_units(lyra_session *session, int32_t *buffer, size_t capacity, size_t *count);

typedef int32_t lyra_phase;
enum { LYRA_PHASE_IDLE = 0, LYRA_PHASE_ENCODE = 1, LYRA_PHASE_PREFILL = 2, LYRA_PHASE_ANSWER = 3 };

typedef struct lyra_progress {
    size_t size;        /* set by lyra_progress_init */
    lyra_phase phase;
    int64_t done;       /* ENCODE: windows of speech, images, videos and sounds encoded; PREFILL: token-layers computed; ANSWER: tokens said */
    int64_t total;      /* of the same; 0 if not known yet */
} lyra_progress;

lyra_status lyra_progress_init_size(lyra_progress *progress, size_t size);
#define lyra_progress_init(progress) lyra_progress_init_size((progress), sizeof(lyra_progress))

/* How far the turn is. */
lyra_status lyra_get_progress(lyra_session *session, lyra_progress *progress);

typedef int32_t lyra_stop_reason;
enum {
    LYRA_STOP_NONE = 0,      /* the turn is not over, or there was none */
    LYRA_STOP_EOS = 1,       /* the model ended its answer */
    LYRA_STOP_LENGTH = 2,    /* a limit of tokens or bytes was reached; what was said is spoken to its end */
    LYRA_STOP_STOPPED = 3,   /* lyra_stop */
    LYRA_STOP_CANCELLED = 4, /* lyra_cancel */
    LYRA_STOP_ERROR = 5      /* a step failed */
};

typedef struct lyra_usage {
    size_t size;               /* set by lyra_usage_init */
    lyra_stop_reason stop;     /* why the last turn ended, or why the one being fed was dropped */
    int64_t prompt_tokens;     /* this turn's tokens that were prefilled, media among them */
    int64_t media_tokens;      /* of those, tokens that stand for media */
    int64_t cached_tokens;     /* tokens of earlier turns that were kept and not computed again */
    int64_t generated_tokens;  /* of the answer, the stop token included */
    int64_t units;             /* speech units of the answer */
    int64_t audio_samples;     /* of the answer's waveform made so far */
    double encode_ms;          /* time inside lyra_step for each kind of work */
    double prefill_ms;
    double decode_ms;
    double speech_ms;          /* speech generator and vocoder */
    double first_token_ms;     /* from lyra_end_turn to the first token; 0 if there was none */
    double first_audio_ms;     /* from lyra_end_turn to the first samples; 0 if there were none */
    double total_ms;           /* from lyra_end_turn to the end event, or to now */
    char adapter[64];          /* the adapter in use, or "none"; terminated */
    int32_t extractor_blocks;  /* times that the extractor let tokens of this turn go: see lyra_get_kept */
    int64_t cache_bytes;       /* of the conversation's keys and values, now */
} lyra_usage;

lyra_status lyra_usage_init_size(lyra_usage *usage, size_t size);
#define lyra_usage_init(usage) lyra_usage_init_size((usage), sizeof(lyra_usage))

/* What the turn cost so far, or the last turn in all. */
lyra_status lyra_get_usage(lyra_session *session, lyra_usage *usage);

typedef int32_t lyra_media_kind;
enum { LYRA_MEDIA_SPEECH = 1, LYRA_MEDIA_SOUND = 2, LYRA_MEDIA_IMAGE = 3, LYRA_MEDIA_VIDEO = 4 };

typedef struct lyra_media {
    size_t size;                /* set by lyra_media_init */
    lyra_media_kind kind;
    int64_t first;              /* the place of its first token among the turn's prompt tokens */
    int64_t tokens;
    int32_t time, height, width; /* of an image or a video: pairs of frames, rows and columns of tokens */
    double start, seconds;      /* of speech: the part of the recording that it is; silence that was left out parts it */
} lyra_media;

lyra_status lyra_media_init_size(lyra_media *media, size_t size);
#define lyra_media_init(media) lyra_media_init_size((media), sizeof(lyra_media))

/* Fills `media` with number `index` of the media in the turn's prompt, as far as they are encoded. LYRA_E_ARGUMENT if there
 * are not so many. */
lyra_status lyra_get_media(lyra_session *session, int32_t index, lyra_media *media);

/* The turn's media tokens that were left after block `block` (from 0, below lyra_usage.extractor_blocks), by their places
 * among its prompt tokens: sets *count to how many there are, and copies them if `capacity` suffices (else none).
 * `tokens` may be NULL with a capacity of 0. LYRA_E_ARGUMENT for a block that was not. */
lyra_status lyra_get_kept(lyra_session *session, int32_t block, int32_t *tokens, size_t capacity, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
