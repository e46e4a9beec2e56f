/* What lyra uses of FFmpeg; see lyra_loading.h. */
#define LYRA_ABSENT AVERROR(ENOSYS)

/* libavformat */
LYRA_FUNCTION(int, av_find_best_stream,
              (AVFormatContext *context, enum AVMediaType type, int wanted, int related, const AVCodec **decoder,
               int flags),
              (context, type, wanted, related, decoder, flags), LYRA_ABSENT)
LYRA_FUNCTION(const AVInputFormat *, av_find_input_format, (const char *name), (name), NULL)
LYRA_FUNCTION(int, av_read_frame, (AVFormatContext *context, AVPacket *packet), (context, packet), LYRA_ABSENT)
LYRA_FUNCTION(int, av_seek_frame, (AVFormatContext *context, int stream, int64_t time, int flags),
              (context, stream, time, flags), LYRA_ABSENT)
LYRA_FUNCTION(uint8_t *, av_stream_get_side_data,
              (const AVStream *stream, enum AVPacketSideDataType type, size_t *size), (stream, type, size), NULL)
LYRA_FUNCTION(AVFormatContext *, avformat_alloc_context, (void), (), NULL)
LYRA_PROCEDURE(avformat_close_input, (AVFormatContext **context), (context))
LYRA_FUNCTION(int, avformat_find_stream_info, (AVFormatContext *context, AVDictionary **options), (context, options),
              LYRA_ABSENT)
LYRA_FUNCTION(int, avformat_index_get_entries_count, (const AVStream *stream), (stream), 0)
LYRA_FUNCTION(const AVIndexEntry *, avformat_index_get_entry, (AVStream *stream, int index), (stream, index), NULL)
LYRA_FUNCTION(int, avformat_open_input,
              (AVFormatContext **context, const char *url, const AVInputFormat *format, AVDictionary **options),
              (context, url, format, options), LYRA_ABSENT)
LYRA_FUNCTION(AVIOContext *, avio_alloc_context,
              (unsigned char *buffer, int bytes, int writes, void *opaque, int (*read)(void *, uint8_t *, int),
               int (*write)(void *, LYRA_AV_WRITTEN *, int), int64_t (*seek)(void *, int64_t, int)),
              (buffer, bytes, writes, opaque, read, write, seek), NULL)
LYRA_PROCEDURE(avio_context_free, (AVIOContext **context), (context))

/* libavcodec */
LYRA_FUNCTION(int, av_new_packet, (AVPacket *packet, int bytes), (packet, bytes), LYRA_ABSENT)
LYRA_FUNCTION(AVPacket *, av_packet_alloc, (void), (), NULL)
LYRA_PROCEDURE(av_packet_free, (AVPacket **packet), (packet))
LYRA_PROCEDURE(av_packet_unref, (AVPacket *packet), (packet))
LYRA_FUNCTION(AVCodecContext *, avcodec_alloc_context3, (const AVCodec *codec), (codec), NULL)
LYRA_FUNCTION(const AVCodec *, avcodec_find_decoder, (enum AVCodecID id), (id), NULL)
LYRA_FUNCTION(int, avcodec_default_get_buffer2, (AVCodecContext *context, AVFrame *frame, int flags),
              (context, frame, flags), AVERROR(ENOMEM))
LYRA_PROCEDURE(avcodec_flush_buffers, (AVCodecContext *context), (context))
LYRA_PROCEDURE(avcodec_free_context, (AVCodecContext **context), (context))
LYRA_FUNCTION(const char *, avcodec_get_name, (enum AVCodecID id), (id), "unknown")
LYRA_FUNCTION(int, avcodec_open2, (AVCodecContext *context, const AVCodec *codec, AVDictionary **options),
              (context, codec, options), LYRA_ABSENT)
LYRA_FUNCTION(int, avcodec_parameters_to_context, (AVCodecContext *context, const AVCodecParameters *parameters),
              (context, parameters), LYRA_ABSENT)
LYRA_FUNCTION(int, avcodec_receive_frame, (AVCodecContext *context, AVFrame *frame), (context, frame), LYRA_ABSENT)
LYRA_FUNCTION(int, avcodec_send_packet, (AVCodecContext *context, const AVPacket *packet), (context, packet),
              LYRA_ABSENT)

/* libavutil */
LYRA_FUNCTION(int, av_cpu_count, (void), (), 1)
LYRA_FUNCTION(AVDictionaryEntry *, av_dict_get,
              (const AVDictionary *dictionary, const char *key, const AVDictionaryEntry *previous, int flags),
              (dictionary, key, previous, flags), NULL)
LYRA_FUNCTION(AVFrame *, av_frame_alloc, (void), (), NULL)
LYRA_PROCEDURE(av_frame_free, (AVFrame **frame), (frame))
LYRA_FUNCTION(int, av_frame_get_buffer, (AVFrame *frame, int alignment), (frame, alignment), LYRA_ABSENT)
LYRA_PROCEDURE(av_free, (void *memory), (memory))
LYRA_PROCEDURE(av_freep, (void *memory), (memory))
LYRA_FUNCTION(enum AVSampleFormat, av_get_packed_sample_fmt, (enum AVSampleFormat format), (format),
              AV_SAMPLE_FMT_NONE)
LYRA_FUNCTION(const char *, av_get_pix_fmt_name, (enum AVPixelFormat format), (format), NULL)
LYRA_PROCEDURE(av_log_default_callback, (void *context, int level, const char *format, va_list arguments),
               (context, level, format, arguments))
LYRA_PROCEDURE(av_log_set_callback, (void (*callback)(void *, int, const char *, va_list)), (callback))
LYRA_FUNCTION(void *, av_malloc, (size_t bytes), (bytes), NULL)
LYRA_FUNCTION(const AVPixFmtDescriptor *, av_pix_fmt_desc_get, (enum AVPixelFormat format), (format), NULL)
LYRA_FUNCTION(int, av_sample_fmt_is_planar, (enum AVSampleFormat format), (format), 0)
LYRA_FUNCTION(char *, av_strdup, (const char *text), (text), NULL)
LYRA_FUNCTION(int, av_strerror, (int error, char *text, size_t capacity), (error, text, capacity), LYRA_ABSENT)

/* libswscale */
LYRA_PROCEDURE(sws_freeContext, (struct SwsContext *context), (context))
LYRA_FUNCTION(const int *, sws_getCoefficients, (int matrix), (matrix), NULL)
LYRA_FUNCTION(struct SwsContext *, sws_getContext,
              (int from_width, int from_height, enum AVPixelFormat from, int to_width, int to_height,
               enum AVPixelFormat to, int flags, SwsFilter *from_filter, SwsFilter *to_filter,
               const double *parameters),
              (from_width, from_height, from, to_width, to_height, to, flags, from_filter, to_filter, parameters), NULL)
LYRA_FUNCTION(int, sws_scale_frame, (struct SwsContext *context, AVFrame *to, const AVFrame *from), (context, to, from),
              LYRA_ABSENT)
LYRA_FUNCTION(int, sws_setColorspaceDetails,
              (struct SwsContext *context, const int from[4], int from_range, const int to[4], int to_range,
               int brightness, int contrast, int saturation),
              (context, from, from_range, to, to_range, brightness, contrast, saturation), LYRA_ABSENT)

#undef LYRA_ABSENT
