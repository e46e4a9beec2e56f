#include "ffmpeg_loaded.h"

/* What the write callback of an AVIOContext points to: const since libavformat 61. */
#if LIBAVFORMAT_VERSION_MAJOR < 61
#define LYRA_AV_WRITTEN uint8_t
#else
#define LYRA_AV_WRITTEN const uint8_t
#endif

#pragma clang diagnostic ignored "-Wdeprecated-declarations"
#define LYRA_FUNCTIONS "ffmpeg_functions.h"
#include "lyra_forwarders.h"

static const lyra_library libraries[] = {
    {"libavformat.so." LYRA_TEXT(LIBAVFORMAT_VERSION_MAJOR), "libavformat" LYRA_TEXT(LIBAVFORMAT_VERSION_MAJOR),
     "avformat_version", LIBAVFORMAT_VERSION_MAJOR},
    {"libavcodec.so." LYRA_TEXT(LIBAVCODEC_VERSION_MAJOR), "libavcodec" LYRA_TEXT(LIBAVCODEC_VERSION_MAJOR),
     "avcodec_version", LIBAVCODEC_VERSION_MAJOR},
    {"libavutil.so." LYRA_TEXT(LIBAVUTIL_VERSION_MAJOR), "libavutil" LYRA_TEXT(LIBAVUTIL_VERSION_MAJOR),
     "avutil_version", LIBAVUTIL_VERSION_MAJOR},
    {"libswscale.so." LYRA_TEXT(LIBSWSCALE_VERSION_MAJOR), "libswscale" LYRA_TEXT(LIBSWSCALE_VERSION_MAJOR),
     "swscale_version", LIBSWSCALE_VERSION_MAJOR},
};

/* With the hundred libraries that they depend on, they map 182 MiB on Debian 12. */
static const size_t room = (size_t)224 << 20;

int *lyra_av_quiet_depth(void) {
    static _Thread_local int depth;
    return &depth;
}

static int is_quiet(void *context) {
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

static void log_others(void *context, int level, const char *format, va_list arguments) {
    if (!is_quiet(context)) av_log_default_callback(context, level, format, arguments);
}

static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags) {
    int status = avcodec_default_get_buffer2(context, frame, flags);
    if (status == AVERROR(ENOMEM)) __atomic_fetch_add((int *)context->opaque, 1, __ATOMIC_RELAXED);
    return status;
}

void lyra_av_count_refusals(AVCodecContext *context, int *refusals) {
    context->opaque = refusals;
    context->get_buffer2 = get_buffer;
#if LIBAVCODEC_VERSION_MAJOR < 60
    context->thread_safe_callbacks = 1; /* so that threads need not wait for each other to call it */
#endif
}

int lyra_ffmpeg_load(char *reason, size_t capacity) {
    int is_first;
    int status = load_functions(libraries, sizeof libraries / sizeof *libraries, room, &is_first, reason, capacity);
    if (is_first) av_log_set_callback(log_others);
    return status;
}
