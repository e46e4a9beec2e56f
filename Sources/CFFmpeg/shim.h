#pragma once

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/cpu.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

/* Macros that Swift cannot import, as functions. */

static inline int lyra_av_again(void) { return AVERROR(EAGAIN); }
static inline int lyra_av_end(void) { return AVERROR_EOF; }
static inline int lyra_av_io_error(void) { return AVERROR(EIO); }
static inline int lyra_av_no_memory(void) { return AVERROR(ENOMEM); }
static inline int64_t lyra_av_no_time(void) { return AV_NOPTS_VALUE; }
static inline int64_t lyra_av_time_base(void) { return AV_TIME_BASE; }

/* Silence. A context that is given this log level offset is ours: nothing of it or of its children is printed. */
static inline int lyra_av_quiet_offset(void) { return 1 << 16; }

/* How many of our calls the thread is in: libavformat and libswscale make contexts of their own, without an offset. */
static inline int *lyra_av_quiet_depth(void) {
    static _Thread_local int depth;
    return &depth;
}

static inline int lyra_av_is_quiet(void *context) {
    if (*lyra_av_quiet_depth() > 0) return 1;
    for (int generation = 0; context && generation < 4; generation++) {
        const AVClass *type = *(const AVClass **)context;
        if (!type) return 0;
        if (type->log_level_offset_offset &&
            *(const int *)((const char *)context + type->log_level_offset_offset) == lyra_av_quiet_offset())
            return 1;
        if (!type->parent_log_context_offset) return 0;
        context = *(void **)((char *)context + type->parent_log_context_offset);
    }
    return 0;
}

static inline void lyra_av_log(void *context, int level, const char *format, va_list arguments) {
    if (!lyra_av_is_quiet(context)) av_log_default_callback(context, level, format, arguments);
}

static inline void lyra_av_install_log(void) { av_log_set_callback(lyra_av_log); }
