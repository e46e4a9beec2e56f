/* lyra: text, speech, images, video and sound in; text and speech out, together and streamed.
 *
 * A complete program, without error checks (examples/c/speak.c has them). play() stands for the host's audio output; it
 * receives samples only if lyra_session_options.speak is 1.
 *
 *     #include <lyra.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         lyra_model *model = NULL;
 *         lyra_session *session = NULL;
 *         lyra_model_open("lyra:nano", NULL, &model);
 *         lyra_session_create(model, NULL, &session);
 *         lyra_feed_audio_file(session, "examples/media/sky.wav");
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
 * another thread is using is refused with LYRA_E_STATE. A calling thread, or coroutine, needs 64 KiB of stack. If less
 * than 256 KiB are left, a thread of lyra's own does the work while the caller waits; callbacks still run on the
 * caller's thread. If that thread cannot be started, the call returns LYRA_E_MEMORY.
 *
 * Errors. Every call that can fail returns a lyra_status. After a status other than LYRA_OK, lyra_last_error() has a
 * sentence for a person: what was wrong, where, and what to do. Out parameters and the object are then unchanged,
 * unless the function's comment says otherwise (as lyra_step's does). lyra never throws, aborts, exits or prints. A
 * null pointer where none is allowed is LYRA_E_ARGUMENT; a handle that was closed, or never was a handle, is
 * LYRA_E_CLOSED.
 *
 * Memory. lyra checks every allocation that grows with the input, the weights or the vocabulary, and every mapping and
 * thread: if one fails, the call returns LYRA_E_MEMORY. Small objects of the Swift runtime, below 64 KiB each, are not
 * checked: if there is no memory for such an object, the process ends. Configurations, a model's list of tensors, the
 * metadata of GGUF files, and the list of tokens in a saved conversation are not checked at any size. A host that must
 * survive sets max_memory_bytes and max_context_tokens, and leaves some memory free.
 *
 * Structs. Option, info and reader structs begin with their own size, so a program that was built with an older,
 * shorter struct keeps working: the library takes the fields that the older struct lacks as 0. Call the init function
 * (a macro passes the size), then set the fields you need; 0 or NULL means the default. An option out of the range that
 * its comment states is LYRA_E_ARGUMENT, and the message names the option. A size that no version of the struct had is
 * LYRA_E_ARGUMENT, too. Strings that a struct or a call takes are UTF-8. They are copied, and need not outlive the
 * call. Paths are bytes, as the system takes them; messages show a byte that is not UTF-8 as \xE9.
 */
#ifndef LYRA_H
#define LYRA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ versions, errors */

/* The version of this header. The library's own is lyra_version(). Changes that an older program can notice, by
 * version, the newest first:
 * 0.2.0
 * - lyra_feed_text and the system prompt take plain text. Before, they read the names of special tokens as those
 *   tokens; lyra_feed_text_special still does.
 * - The log callback also receives LYRA_LOG_INFO. Before, it received warnings only.
 * - lyra_model_open takes a path that begins with "lyra:" as the name of a model inside the library.
 * - lyra_model_open refuses a GGUF file that spells the number of a layer in another way (blk.03 for blk.3).
 * - lyra_usage.cache_bytes and max_memory_bytes count the cache pages that a rollback of the turn needs. */
#define LYRA_VERSION "0.2.0"

typedef int32_t lyra_status;
enum {
    LYRA_OK = 0,
    LYRA_E_ARGUMENT = 1,    /* an invalid argument: a null pointer, a negative size, an unknown name */
    LYRA_E_IO = 2,          /* the system refused: a file cannot be opened, read or written; a reader failed */
    LYRA_E_FORMAT = 3,      /* invalid data: damaged, truncated, of a wrong shape or type */
    LYRA_E_MISSING = 4,     /* something needed is absent: a tower, an adapter, a tensor, the vocoder; or a library that
                               is loaded on first use, such as a decoder */
    LYRA_E_UNSUPPORTED = 5, /* well-formed, but lyra cannot run it */
    LYRA_E_MEMORY = 6,      /* out of memory, or over a limit in the options */
    LYRA_E_STATE = 7,       /* the call is not possible in the object's current state */
    LYRA_E_CLOSED = 8       /* the handle was closed, or never was a handle */
};

/* The library's version, "major.minor.patch". Static; never freed. Any thread. */
const char *lyra_version(void);

/* The name of a status, such as "LYRA_E_IO"; "LYRA_E_UNKNOWN" for any other number. Static. Any thread. */
const char *lyra_status_name(lyra_status status);

/* The message of this thread's most recent failed call; "" if none has failed. Belongs to the library and stays valid
 * until the thread's next failed call. Never NULL. */
const char *lyra_last_error(void);

/* ------------------------------------------------------------------------------------------------------------ model */

typedef struct lyra_model lyra_model;

typedef int32_t lyra_log_level;
enum { LYRA_LOG_INFO = 1, LYRA_LOG_WARNING = 2 };

/* Receives messages for people, from the opening of a model and from the model's sessions.
 * LYRA_LOG_WARNING: an answer may differ from what is expected. A part of the model is missing; a configuration has an
 * unknown key; or a recording is empty or silent (all samples below -60 dB of full scale once the channels are
 * averaged), which is logged once, with the recording's name and its number in the turn.
 * LYRA_LOG_INFO: answers are not affected. A model was opened (its size, the processor features and the threads in
 * use); or a turn was cancelled or stopped while it was fed, and is discarded.
 * `message` is valid during the call only. Runs on the thread that called lyra, so several threads may run it at once;
 * must not call lyra. */
typedef void (*lyra_log_callback)(void *user, lyra_log_level level, const char *message);

/* Reports the progress of lyra_model_open: `done` of `total` items are open, most of them layers. Return 0 to continue,
 * anything else to abort with LYRA_E_STATE. Runs on the thread that called lyra_model_open; must not call lyra. */
typedef int32_t (*lyra_open_callback)(void *user, size_t done, size_t total);

typedef int32_t lyra_precision; /* the precision of attention and of products with BF16 weights */
enum {
    LYRA_PRECISION_DEFAULT = 0, /* fast if weights are quantized (their products round to 8 bits anyway), else exact */
    LYRA_PRECISION_EXACT = 1,   /* F32: the reference's numbers without its rounding; weights stay mapped */
    LYRA_PRECISION_FAST = 2     /* rounds to BF16, where the reference rounds to FP16; copies BF16 weights to memory */
};

typedef struct lyra_model_options {
    size_t size;            /* set by lyra_model_options_init */
    const char *towers_dir; /* directory searched for towers and vocoder after the paths that the checkpoint names; a
                               relative path is tried in the checkpoint, beside it and beside its parents (of a
                               symbolic link: the link's and the target's), never in the current directory. Default:
                               none */
    const char *vocoder;    /* the vocoder's file, or its directory. Default: the file g_N with the highest N in the
                               first directory that has such files and a config.json. The search goes up to four levels
                               deep, in this order: the checkpoint's directory; the model_zoo in it, beside it and
                               beside its parents; towers_dir */
    int32_t threads;        /* compute threads of the process, 0 or more; above 256 means 256. Default: the processors
                               that the process may use, within its container's CPU quota. All models share one pool;
                               the latest lyra_model_open sets its size. OpenBLAS is limited to one thread per caller,
                               because the pool splits the work */
    lyra_log_callback log;  /* default: no messages */
    lyra_open_callback progress; /* default: no reports */
    void *user;             /* passed to both callbacks; `log` may be called until model and sessions are gone */
    const char *sound_projector; /* a file (safetensors, or a torch.save pickle) with mm_audio_projector's tensors,
                                    which turn the sound tower's output into tokens. Default: the checkpoint's own. The
                                    published checkpoints have none, so with them sound needs this file */
    lyra_precision precision; /* one of the above; default: LYRA_PRECISION_DEFAULT */
} lyra_model_options;

/* Fills `options` with the defaults. `size` is sizeof(lyra_model_options) in the caller's header. */
lyra_status lyra_model_options_init_size(lyra_model_options *options, size_t size);
#define lyra_model_options_init(options) lyra_model_options_init_size((options), sizeof(lyra_model_options))

/* Opens the model at `path`, which is one of these:
 * - a checkpoint directory (config.json, safetensors, vocabulary, adapters), whose towers are opened too;
 * - the directory of a plain Qwen2-VL, which takes text, images and videos;
 * - a GGUF file that `lyra convert` wrote;
 * - a GGUF file for llama.cpp ("qwen2vl" or "qwen2"; any file of a split model): the language model only;
 * - "lyra:nano": Nano, a small model inside the library, if the library was built with it; else LYRA_E_MISSING. Other
 *   names that begin with "lyra:" are LYRA_E_ARGUMENT; a file or directory of such a name has the path "./lyra:nano".
 * Weights are mapped: while the model is open, the files may be replaced or removed, but must not be shortened in
 * place. Quantized weights (Q8_0, ...) and 8-bit floats are copied. `options` may be NULL. The caller owns *out and
 * closes it with lyra_model_close.
 * A setting in a configuration file that lyra does not implement is LYRA_E_UNSUPPORTED, and the message names it;
 * unknown keys are logged. A missing tower or vocoder is no error until something needs it; if the system cannot tell
 * whether a file exists, that is LYRA_E_IO.
 * Other errors: LYRA_E_MISSING, LYRA_E_FORMAT, LYRA_E_MEMORY; LYRA_E_STATE if the progress callback aborts. Any
 * thread. */
lyra_status lyra_model_open(const char *path, const lyra_model_options *options, lyra_model **out);

/* Closes a model. Its sessions continue to work; its memory is freed when the last of them is destroyed. NULL is
 * allowed and does nothing. Any thread. */
lyra_status lyra_model_close(lyra_model *model);

typedef struct lyra_model_info {
    size_t size;               /* set by lyra_model_info_init */
    int64_t parameters;        /* of all parts that were opened */
    int64_t weight_bytes;      /* as stored */
    int32_t layers;            /* of the language model */
    int32_t hidden_size;
    int32_t vocabulary_size;
    int32_t context_length;    /* positions that the model was trained for */
    int32_t hears_speech;      /* 1 if speech can be fed, else 0 */
    int32_t speaks;            /* 1 if spoken answers can be made, else 0 */
    int32_t speech_sample_rate;     /* Hz that recordings are resampled to before they are encoded */
    int32_t speech_window_samples;  /* samples in one encoded window, at that rate */
    int32_t speech_window_tokens;   /* tokens that one window takes in the prompt */
    int32_t audio_sample_rate;      /* Hz of what lyra_read_audio gives; 0 if the model does not speak */
    int32_t audio_lookahead_samples; /* the vocoder's look-ahead: a sample is computed once the speech units of this
                                        many later samples are known, so this bounds the latency of audio */
    int32_t sees;              /* 1 if images and videos can be fed, else 0 */
    int32_t hears_sound;       /* 1 if sound other than speech can be fed, else 0 */
    int32_t vision_token_pixels; /* side of the square of pixels, in the resized image, that becomes one token; 0 if the
                                    model does not see */
} lyra_model_info;

lyra_status lyra_model_info_init_size(lyra_model_info *info, size_t size);
#define lyra_model_info_init(info) lyra_model_info_init_size((info), sizeof(lyra_model_info))

/* Fills `info`, which lyra_model_info_init has initialized. Any thread. */
lyra_status lyra_model_get_info(lyra_model *model, lyra_model_info *info);

/* ---------------------------------------------------------------------------------------------------------- session */

typedef struct lyra_session lyra_session;

typedef int32_t lyra_sampling;
enum {
    LYRA_SAMPLING_DEFAULT = 0, /* greedy or random, as the checkpoint's generation_config.json states */
    LYRA_SAMPLING_GREEDY = 1,  /* always the most likely token, after repetition_penalty; reproducible */
    LYRA_SAMPLING_RANDOM = 2   /* drawn at random, after repetition_penalty, temperature, top_k, top_p and min_p */
};

enum { LYRA_EXTRACTOR_DEFAULT = 0, LYRA_EXTRACTOR_OFF = 1, LYRA_EXTRACTOR_ON = 2 };

typedef int32_t lyra_kv_type; /* how the KV cache stores older tokens; in each layer the newest 512 or more stay F32 */
enum {
    LYRA_KV_F32 = 0,
    LYRA_KV_F16 = 1,  /* half the memory, 11 bits of precision; the answers stay the same */
    LYRA_KV_BF16 = 2, /* half the memory, 8 bits of precision; holds values above F16's 65,504 */
    LYRA_KV_Q8 = 3    /* 8-bit integers, one scale for each head and token: about a quarter of the memory */
};

typedef struct lyra_session_options {
    size_t size;               /* set by lyra_session_options_init */
    lyra_sampling sampling;
    float temperature;         /* above 0, finite; default: the checkpoint's, else 1 */
    int32_t top_k;             /* choose among the k likeliest tokens, 1 or more; default: the checkpoint's, else all */
    float top_p;               /* choose among the likeliest tokens whose probabilities together reach p, at most 1;
                                  default: the checkpoint's, else 1 */
    float min_p;               /* drop tokens less likely than p times the likeliest token, at most 1; default: none */
    float repetition_penalty;  /* above 0, finite; divides the positive logits, and multiplies the negative ones, of
                                  tokens already in the conversation; default: the checkpoint's, else 1 */
    uint64_t seed;             /* the same seed and inputs give the same answer; default: from the system's entropy */
    int32_t max_new_tokens;    /* of one answer, 1 or more; default: 1024 */
    int32_t max_context_tokens; /* of the whole conversation, 1 or more; more are LYRA_E_MEMORY; default: no limit */
    int32_t speak;             /* 0 or 1; 1: answers are spoken as well; default: text only */
    const char *adapter;       /* "auto" (default): none until speech is fed, "speech" while every recording fits one
                                  window, "long_speech" from the first longer recording on; none at all in a
                                  checkpoint without adapters. "none" or an adapter's name: the same
                                  throughout the conversation */
    const char *system_prompt; /* plain text, as lyra_feed_text takes it, at most 64 MiB; default: "You are a helpful
                                  assistant." */
    int64_t max_image_pixels;  /* a larger image is shrunk to this many pixels before it is encoded: fewer tokens, less
                                  time; 3136 to 2^32; default: the checkpoint's (published: 12,845,056) */
    int64_t limit_pixels;      /* an image, or a video's frame, with more pixels is refused before it is decoded;
                                  1 to 2^32; default: 134,217,728 for an image, 33,554,432 for a frame */
    double limit_seconds;      /* a longer video or sound is refused; above 0, at most 1e9; default: 24 hours of video,
                                  10 minutes of sound. Sound above 24 hours is always refused. Speech has no limit */
    int32_t extractor;         /* whether the language model prunes the media tokens that the text attends to least;
                                  LYRA_EXTRACTOR_DEFAULT: as the checkpoint's compress_gap and keep_rate say (as
                                  published: off) */
    int32_t extractor_blocks;  /* with LYRA_EXTRACTOR_ON: the number of blocks that the layers are divided into, 1 to
                                  1024 (the paper's n: 4); tokens are pruned after each block but the last. Set this
                                  or extractor_gap, not both */
    int32_t extractor_gap;     /* with LYRA_EXTRACTOR_ON: the number of layers in a block, 1 to 1024 */
    float extractor_keep;      /* with LYRA_EXTRACTOR_ON: the share of media tokens kept after each block (the paper's:
                                  0.8 or 0.7), above 0 and at most 1 */
    lyra_kv_type kv_type;      /* one of the above: how keys and values are stored; default: LYRA_KV_F32 */
    int32_t skip_silence;      /* 0 or 1; 1: windows of speech below -60 dB of full scale are left out, unlike in the
                                  model's training */
    int64_t max_memory_bytes;  /* limit for the KV cache, its pages that a rollback needs, and queued prompt embeddings;
                                  1 to 2^50; a larger allocation fails with LYRA_E_MEMORY, and an answer ends
                                  (LYRA_STOP_LENGTH) at the limit; default: no limit */
} lyra_session_options;

lyra_status lyra_session_options_init_size(lyra_session_options *options, size_t size);
#define lyra_session_options_init(options) lyra_session_options_init_size((options), sizeof(lyra_session_options))

/* Begins a conversation. `options` may be NULL. The caller owns *out. Errors: LYRA_E_ARGUMENT for an option out of its
 * range or an unknown adapter, LYRA_E_MISSING if `speak` is set and the model cannot speak. Any thread. */
lyra_status lyra_session_create(lyra_model *model, const lyra_session_options *options, lyra_session **out);

/* Ends a conversation and frees all its memory. NULL is allowed and does nothing. A session that another thread is
 * using is not destroyed: LYRA_E_STATE. */
lyra_status lyra_session_destroy(lyra_session *session);

/* Discards the whole conversation, in any state of the session. Options and system prompt stay; random sampling starts
 * again from the seed. Not needed after an error that ended a turn. */
lyra_status lyra_reset(lyra_session *session);

/* Writes the conversation to a file; an incomplete file never appears at `path`. A turn that is being fed is saved too
 * if lyra_step has computed all of it, so a long recording can be prefilled once and asked about many times.
 * Errors: LYRA_E_IO; LYRA_E_STATE while an answer is being made, or if something that was fed is not computed yet.
 * Before lyra_end_turn, steps can compute all of a turn only if it ends with a recording or a sound (samples of speech:
 * after lyra_feed_audio_end), there is no extractor, and the adapter can no longer change in this turn: it is fixed, or
 * it is long_speech. */
lyra_status lyra_save(lyra_session *session, const char *path);

/* Replaces this session's conversation with one that lyra_save wrote. The system prompt and kv_type come from the file;
 * all other options stay. If a turn was being fed when the conversation was saved, and that turn is rolled back after
 * the restore, keys and values that were rounded to kv_type before the save stay rounded.
 * Errors, which leave the session unchanged and whose messages name the file: LYRA_E_FORMAT if the file is damaged, or
 * if another process shortens it meanwhile; LYRA_E_UNSUPPORTED if another version wrote it; LYRA_E_ARGUMENT if it
 * belongs to another model; LYRA_E_MEMORY over a limit of this session; LYRA_E_IO; LYRA_E_STATE while an answer is
 * being made, or if lyra_cancel or lyra_stop interrupts the call. */
lyra_status lyra_restore(lyra_session *session, const char *path);

/* Replaces the system prompt, which is plain text. LYRA_E_STATE once a turn has ended, or a step has computed any of
 * the prompt: call lyra_reset first. */
lyra_status lyra_set_system_prompt(lyra_session *session, const char *utf8, size_t bytes);

/* Turns spoken answers on (1) or off (0), from the next turn on. Errors: LYRA_E_MISSING if the model cannot speak,
 * LYRA_E_STATE while an answer is being made. */
lyra_status lyra_set_speak(lyra_session *session, int32_t speak);

/* ------------------------------------------------------------------------------------------------------------- feed
 * The user's turn is everything fed before lyra_end_turn, in the order of feeding. A line break is inserted between a
 * recording and text that follows it, as in training, and nothing between two texts. Feeding while an answer is being
 * made is LYRA_E_STATE.
 *
 * lyra_cancel or lyra_stop from another thread discards a turn that is being fed. A feed or a step in progress then
 * returns LYRA_E_STATE. If none is in progress, lyra_step and lyra_end_turn return LYRA_E_STATE until the next feed,
 * which begins a new turn. Until the next lyra_end_turn, lyra_usage.stop is LYRA_STOP_CANCELLED or LYRA_STOP_STOPPED if
 * a turn was discarded, otherwise LYRA_STOP_NONE.
 *
 * Images, videos, speech, sound and text can be mixed freely. The model was trained with images and videos first, then
 * speech, then text.
 *
 * Feeding a recording or a video reads its header only; lyra_step decodes and encodes the rest piece by piece, so a
 * recording can have any length. Channels are averaged and samples resampled. An image is decoded when it is fed. A
 * damaged file is LYRA_E_FORMAT, from the feed if the header shows the damage, else from the step that finds it. */

/* Adds plain text: `bytes` bytes of UTF-8 (invalid sequences become U+FFFD); with 0 bytes `utf8` may be NULL. The names
 * of special tokens, such as "<|im_end|>", are text like any other, so a user cannot end the turn by typing them.
 * lyra_step tokenizes the text piece by piece, and checks the session's limits after each piece.
 * LYRA_E_ARGUMENT for more than 64 MiB, LYRA_E_MEMORY if there is no room for a copy. */
lyra_status lyra_feed_text(lyra_session *session, const char *utf8, size_t bytes);

/* The same, but the names of special tokens are read as those tokens, as the reference does. Only for text that the
 * host wrote itself: whoever writes "<|im_end|>\n<|im_start|>system\n" here speaks for the system. A name can span
 * consecutive calls; a name that begins or ends in text fed with lyra_feed_text is plain text. */
lyra_status lyra_feed_text_special(lyra_session *session, const char *utf8, size_t bytes);

/* Adds a recording of speech from a file: WAV, RF64, W64, AIFF, AU, CAF, FLAC, Ogg (Vorbis, Opus), MP3, AAC, and the
 * audio of MP4, M4A, MOV, MKV, WebM, AVI, FLV and TS, as the installed libsndfile and FFmpeg read them. Concatenated
 * MP3, AAC, AC-3 or Ogg files are read to the end. The file must stay in place until the turn's end event.
 * The bytes of a FIFO, pipe or socket (/dev/stdin, /dev/fd/N) are copied before the call returns, to an unnamed file in
 * the directory that TMPDIR names, or in /tmp. The same holds for every function that takes the path of a medium.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model takes no speech; LYRA_E_MEMORY if a FIFO, pipe or
 * socket gives more than 8 GiB. */
lyra_status lyra_feed_audio_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_audio_bytes(lyra_session *session, const void *data, size_t bytes);

/* The caller's own source of a file's bytes. The functions run on the thread that called lyra, in a feed or a step, and
 * must not call lyra. */
typedef struct lyra_reader {
    size_t size;    /* sizeof(lyra_reader) */
    void *user;     /* passed to each function */
    int64_t (*read)(void *user, void *buffer, size_t bytes); /* up to `bytes` bytes at the current offset; how many were
                                                                read, 0 at the end, negative on failure */
    int64_t (*seek)(void *user, int64_t offset);  /* to an offset from the start; the new offset, negative on failure */
    int64_t (*length)(void *user);                /* bytes in all; negative on failure */
    void (*close)(void *user); /* called once, when lyra no longer needs the reader: at the end of the turn, or at once
                                  if the feed fails with any error; may be NULL */
} lyra_reader;

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_audio_reader(lyra_session *session, const lyra_reader *reader);

/* Adds samples of speech: `frames` frames of `channels` interleaved floats in -1…1 at `sample_rate` Hz; copied.
 * Consecutive calls with the same rate and channels continue one recording; any other feed, lyra_feed_audio_end, or the
 * end of the turn finishes it. LYRA_E_ARGUMENT if the rate or channels change within a recording or are out of range (1
 * to 1,000,000 Hz, 1 to 1,024 channels), or if a sample is NaN or infinite. 0 frames are allowed. */
lyra_status lyra_feed_audio_pcm(lyra_session *session, const float *samples, size_t frames, int32_t channels,
                                int32_t sample_rate);

/* Finishes the recording that lyra_feed_audio_pcm began, so that the next call begins another. Nothing to finish is
 * no error. */
lyra_status lyra_feed_audio_end(lyra_session *session);

/* Adds an image from a file: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF. It is turned upright by its EXIF or XMP
 * orientation, alpha is blended onto white, 16-bit samples lose their low 8 bits; float and 32-bit samples are refused.
 * An image takes about (width / 28) · (height / 28) tokens.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model takes no images, LYRA_E_MEMORY over limit_pixels. */
lyra_status lyra_feed_image_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are not needed after the call. */
lyra_status lyra_feed_image_bytes(lyra_session *session, const void *data, size_t bytes);

/* The same from a reader, which is closed before the call returns. */
lyra_status lyra_feed_image_reader(lyra_session *session, const lyra_reader *reader);

/* Adds an image of `height` rows of `width` pixels of 3 bytes (red, green, blue), rows `stride` bytes apart, the
 * topmost first; copied. LYRA_E_ARGUMENT if a side is not 1 … 65,535 or stride is below 3 · width. */
lyra_status lyra_feed_image_rgb8(lyra_session *session, const uint8_t *pixels, int32_t width, int32_t height,
                                 size_t stride);

typedef struct lyra_video_options {
    size_t size;               /* set by lyra_video_options_init */
    float frames_per_second;   /* frames to encode for each second, above 0, at most 1000; default: 2 */
    int32_t max_frames;        /* a longer video gives so many frames, evenly spaced; 1 to 65,536; default: 16 */
    int32_t with_audio;        /* 0 or 1; 1: the video's own audio follows its frames as speech; LYRA_E_MISSING if it
                                  has none */
} lyra_video_options;

lyra_status lyra_video_options_init_size(lyra_video_options *options, size_t size);
#define lyra_video_options_init(options) lyra_video_options_init_size((options), sizeof(lyra_video_options))

/* Adds a video from a file: MP4, MOV, WebM, MKV, AVI with H.264, HEVC, VP9, AV1, as the installed FFmpeg reads them;
 * turned upright. An even number of frames, at least 4, is chosen; a pair of frames takes the tokens of one image. The
 * file must stay in place until the turn's end event. `options` may be NULL.
 * Errors: LYRA_E_IO, LYRA_E_FORMAT, LYRA_E_MISSING if the model takes no videos, LYRA_E_MEMORY over a limit. */
lyra_status lyra_feed_video_file(lyra_session *session, const char *path, const lyra_video_options *options);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_video_bytes(lyra_session *session, const void *data, size_t bytes,
                                  const lyra_video_options *options);

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_video_reader(lyra_session *session, const lyra_reader *reader, const lyra_video_options *options);

/* Adds a video of frames in memory, all of which are encoded (an odd last frame twice): `frames` images as
 * lyra_feed_image_rgb8 takes them, each beginning stride · height bytes after the one before; copied. */
lyra_status lyra_feed_video_frames(lyra_session *session, const uint8_t *pixels, size_t frames, int32_t width,
                                   int32_t height, size_t stride);

/* Adds sound that is not speech, as lyra_feed_audio_file adds speech: three clips of 2 s, evenly placed, become one
 * token each. Sound alone switches no adapter on. LYRA_E_MISSING if the model takes no sound (see
 * lyra_model_options.sound_projector); LYRA_E_MEMORY over limit_seconds. */
lyra_status lyra_feed_sound_file(lyra_session *session, const char *path);

/* The same from a file's bytes in memory, which are copied. */
lyra_status lyra_feed_sound_bytes(lyra_session *session, const void *data, size_t bytes);

/* The same from a reader. The struct is copied; what it points to must live until `close`. */
lyra_status lyra_feed_sound_reader(lyra_session *session, const lyra_reader *reader);

/* The same from samples: one call is one sound; otherwise as lyra_feed_audio_pcm. */
lyra_status lyra_feed_sound_pcm(lyra_session *session, const float *samples, size_t frames, int32_t channels,
                                int32_t sample_rate);

/* ----------------------------------------------------------------------------------------------------------- answer */

/* Ends the user's turn: the answer is made by the lyra_step calls that follow. LYRA_E_STATE if nothing was fed or an
 * answer is being made already. */
lyra_status lyra_end_turn(lyra_session *session);

/* Bits of *events. A step can set several. */
enum {
    LYRA_EVENT_PROGRESS = 1, /* the turn's prompt advanced: see lyra_get_progress */
    LYRA_EVENT_TEXT = 2,     /* lyra_read_text has something new */
    LYRA_EVENT_AUDIO = 4,    /* lyra_read_audio has something new */
    LYRA_EVENT_END = 8       /* the turn is over; set exactly once for each turn */
};

/* Does one short piece of work: tokenizes a piece of text, reads or encodes a piece of a medium, prefills one chunk,
 * generates one token, or makes a piece of waveform.
 * Before lyra_end_turn, steps work ahead, so that little is left when the turn ends: they encode media (of a recording,
 * whole windows). If there is no extractor and the adapter can no longer change in this turn, they also prefill the
 * media and the text before them. *events is 0 when there is nothing to do until more is fed.
 * LYRA_E_STATE if nothing was fed, or if the turn was cancelled or stopped while it was fed. Any other error (a damaged
 * file, memory, a limit) rolls the whole turn back: the conversation is as it was before the turn's first feed,
 * LYRA_EVENT_END is set (after lyra_end_turn), and the session remains usable. An answer that is cancelled or stopped
 * is no error. */
lyra_status lyra_step(lyra_session *session, uint32_t *events);

/* Steps several sessions of one model, as lyra_step does each (batched decoding). Those that are generating are
 * computed together, so that the weights are read once for all of them: with 8 sessions, each gets its token several
 * times as soon as if they took turns. A call gives each session at most one piece of the waveform, one token and the speech of
 * one token. A session's numbers are those of lyra_step, whoever else is there, up to the order of sums: only a tie
 * within rounding can give another token. Sessions may be in any state, join and leave from call to call, and differ in
 * all options. Times in lyra_usage are shares of what was computed together. A cancel takes effect at the next layer.
 * events[i] is what lyra_step would set. statuses[i], unless `statuses` is NULL, is what it would return: an error in
 * one session leaves the others alone. Returns the first of them that is not LYRA_OK; lyra_last_error() then has a line
 * for each session with an error, which begins with "session i: ".
 * LYRA_E_ARGUMENT if a pointer is null, a session is named twice or the models differ, LYRA_E_CLOSED, LYRA_E_STATE if
 * one is in use, LYRA_E_MEMORY: no session is then stepped, all events are 0, and all statuses LYRA_OK. */
lyra_status lyra_step_many(lyra_session *const *sessions, size_t count, uint32_t *events, lyra_status *statuses);

/* Ends the turn in progress and keeps what was generated: no further token follows, and the text so far is part of the
 * conversation. Text and audio not yet read stay readable. If answers are spoken, the steps that follow complete the
 * speech of the text so far (the last token's, and the end of the waveform) and then set LYRA_EVENT_END; otherwise the
 * next step sets it. After a second lyra_stop, the next step sets LYRA_EVENT_END without completing the speech. To be
 * silent at once, stop reading audio, or call lyra_cancel. Before the first token, lyra_stop works like lyra_cancel.
 * From any thread, also while a step runs. Without a turn in progress it does nothing. */
lyra_status lyra_stop(lyra_session *session);

/* Rolls the turn in progress back: the next step discards text and audio not yet read and sets LYRA_EVENT_END; the
 * conversation is as it was before the turn's first feed. A turn that is still being fed is discarded without an event.
 * From any thread, also while a step runs: that step ends early, even within a matrix product. Without a turn in
 * progress it does nothing. */
lyra_status lyra_cancel(lyra_session *session);

/* ------------------------------------------------------------------------------------------------------------- read
 * Reading removes data from a queue. Unread data stays readable until the next lyra_end_turn, lyra_reset or
 * lyra_restore, unless lyra_cancel or an error rolls back the turn's answer. */

/* Copies up to `capacity` bytes of the answer's text into `buffer` and sets *bytes. Whole UTF-8 characters only; not
 * NUL-terminated. LYRA_E_ARGUMENT if the next character does not fit (a capacity of 4 always suffices). */
lyra_status lyra_read_text(lyra_session *session, char *buffer, size_t capacity, size_t *bytes);

/* Copies up to `capacity` samples (mono floats in -1…1 at lyra_model_info.audio_sample_rate) and sets *samples. The
 * waveform does not depend on how many samples each call takes. */
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
    int64_t done;       /* ENCODE: windows of speech, images, videos and sounds encoded; PREFILL: token-layers computed
                           (tokens times layers); ANSWER: tokens generated */
    int64_t total;      /* what `done` will reach; 0 while unknown. ANSWER: the most tokens that the answer can have */
} lyra_progress;

lyra_status lyra_progress_init_size(lyra_progress *progress, size_t size);
#define lyra_progress_init(progress) lyra_progress_init_size((progress), sizeof(lyra_progress))

/* Fills `progress`: how far the turn is. */
lyra_status lyra_get_progress(lyra_session *session, lyra_progress *progress);

typedef int32_t lyra_stop_reason;
enum {
    LYRA_STOP_NONE = 0,      /* the turn is not over, or there was none */
    LYRA_STOP_EOS = 1,       /* the model ended its answer */
    LYRA_STOP_LENGTH = 2,    /* a limit of tokens or bytes was reached; the generated text is spoken to its end */
    LYRA_STOP_STOPPED = 3,   /* lyra_stop */
    LYRA_STOP_CANCELLED = 4, /* lyra_cancel */
    LYRA_STOP_ERROR = 5      /* a step failed */
};

typedef struct lyra_usage {
    size_t size;               /* set by lyra_usage_init */
    lyra_stop_reason stop;     /* why the last turn ended, or why the turn being fed was discarded */
    int64_t prompt_tokens;     /* this turn's prefilled tokens, including those of media */
    int64_t media_tokens;      /* this turn's prefilled tokens of media */
    int64_t cached_tokens;     /* tokens of earlier turns in the KV cache, which were not computed again */
    int64_t generated_tokens;  /* of the answer, the stop token included */
    int64_t units;             /* speech units of the answer */
    int64_t audio_samples;     /* samples of the answer's waveform so far */
    double encode_ms;          /* encode_ms to speech_ms: time inside lyra_step for each kind of work */
    double prefill_ms;
    double decode_ms;
    double speech_ms;          /* speech generator and vocoder */
    double first_token_ms;     /* from lyra_end_turn to the first token; 0 if there was none */
    double first_audio_ms;     /* from lyra_end_turn to the first samples; 0 if there were none */
    double total_ms;           /* from lyra_end_turn to the end event, or to now */
    char adapter[64];          /* the adapter in use, or "none"; NUL-terminated */
    int32_t extractor_blocks;  /* times that the extractor pruned tokens of this turn: see lyra_get_kept */
    int64_t cache_bytes;       /* bytes of the conversation's KV caches, now; during a turn, also of the cache pages
                                  that only its rollback needs */
} lyra_usage;

lyra_status lyra_usage_init_size(lyra_usage *usage, size_t size);
#define lyra_usage_init(usage) lyra_usage_init_size((usage), sizeof(lyra_usage))

/* Fills `usage` for the turn in progress, or for the last turn if none is. */
lyra_status lyra_get_usage(lyra_session *session, lyra_usage *usage);

typedef int32_t lyra_media_kind;
enum { LYRA_MEDIA_SPEECH = 1, LYRA_MEDIA_SOUND = 2, LYRA_MEDIA_IMAGE = 3, LYRA_MEDIA_VIDEO = 4 };

typedef struct lyra_media {
    size_t size;                /* set by lyra_media_init */
    lyra_media_kind kind;
    int64_t first;              /* index of its first token among the turn's prompt tokens */
    int64_t tokens;
    int32_t time, height, width; /* grid of an image or a video: frame pairs, rows and columns of tokens */
    double start, seconds;      /* of speech: where it begins in the recording, and its duration. skip_silence can
                                   divide a recording into several media */
} lyra_media;

lyra_status lyra_media_init_size(lyra_media *media, size_t size);
#define lyra_media_init(media) lyra_media_init_size((media), sizeof(lyra_media))

/* Fills `media` with medium `index` (from 0) of the turn's prompt. Only media that are encoded already count.
 * LYRA_E_ARGUMENT if there is no such medium. */
lyra_status lyra_get_media(lyra_session *session, int32_t index, lyra_media *media);

/* Sets *count to the number of media tokens that the extractor kept after block `block` (from 0, below
 * lyra_usage.extractor_blocks). If `capacity` suffices, also copies their indices among the turn's prompt tokens to
 * `tokens`, which may be NULL with a capacity of 0. LYRA_E_ARGUMENT if there is no such block. */
lyra_status lyra_get_kept(lyra_session *session, int32_t block, int32_t *tokens, size_t capacity, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
