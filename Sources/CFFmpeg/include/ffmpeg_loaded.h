/* FFmpeg's libraries, which are loaded when lyra_ffmpeg_load is called; a function of theirs that is called without does
 * nothing, and returns an error or null. */
#pragma once

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/cpu.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "ffmpeg_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* Loads the libraries of the versions that lyra was compiled for; at once if they are. From any thread.
 * → LYRA_LOADED, or why not, with a sentence in `reason`. */
int lyra_ffmpeg_load(char *reason, size_t capacity);

/* Macros that Swift cannot import, as functions. */

static inline int lyra_av_again(void) { return AVERROR(EAGAIN); }
static inline int lyra_av_end(void) { return AVERROR_EOF; }
static inline int lyra_av_io_error(void) { return AVERROR(EIO); }
static inline int lyra_av_no_memory(void) { return AVERROR(ENOMEM); }
static inline int64_t lyra_av_no_time(void) { return AV_NOPTS_VALUE; }
static inline int64_t lyra_av_time_base(void) { return AV_TIME_BASE; }

/* Counts in `refusals` how often the decoder of a context, not opened yet, finds no memory for a frame: some decoders pass
 * over such a frame as if it were damaged. `refusals` must outlive the context. */
void lyra_av_count_refusals(AVCodecContext *context, int *refusals);
static inline void lyra_av_forget_refusals(int *refusals) { __atomic_store_n(refusals, 0, __ATOMIC_RELAXED); }
static inline int lyra_av_refusals(const int *refusals) { return __atomic_load_n(refusals, __ATOMIC_RELAXED); }

/* Silence. A context that is given this log level offset is ours: nothing of it or of its children is printed. */
static inline int lyra_av_quiet_offset(void) { return 1 << 16; }

/* How many of our calls the thread is in: libavformat and libswscale make contexts of their own, without an offset. */
int *lyra_av_quiet_depth(void);
