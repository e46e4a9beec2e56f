/* FFmpeg's libraries, loaded by lyra_ffmpeg_load. Until then their functions do nothing and return an error or null. */
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

/* Loads the libraries, in the versions that lyra was compiled for; does nothing if they are loaded. Thread-safe.
 * → LYRA_LOADED, or another status with a message in `reason`. */
int lyra_ffmpeg_load(char *reason, size_t capacity);

/* Macros that Swift cannot import, as functions. */

static inline int lyra_av_again(void) { return AVERROR(EAGAIN); }
static inline int lyra_av_end(void) { return AVERROR_EOF; }
static inline int lyra_av_io_error(void) { return AVERROR(EIO); }
static inline int lyra_av_no_memory(void) { return AVERROR(ENOMEM); }
static inline int64_t lyra_av_no_time(void) { return AV_NOPTS_VALUE; }
static inline int64_t lyra_av_time_base(void) { return AV_TIME_BASE; }

/* Counts in `refusals` the frames for which the context's decoder gets no memory: some decoders skip such a frame as if
 * it were damaged. For a context that is not open yet; `refusals` must outlive the context. */
void lyra_av_count_refusals(AVCodecContext *context, int *refusals);
static inline void lyra_av_forget_refusals(int *refusals) { __atomic_store_n(refusals, 0, __ATOMIC_RELAXED); }
static inline int lyra_av_refusals(const int *refusals) { return __atomic_load_n(refusals, __ATOMIC_RELAXED); }

/* The log level offset that marks a context as lyra's: messages of the context and its children are not printed. */
static inline int lyra_av_quiet_offset(void) { return 1 << 16; }

/* How many MediaLog.quiet calls the thread is inside. While any is, nothing is printed: libavformat and libswscale
 * create contexts without the offset. */
int *lyra_av_quiet_depth(void);
