/// lyra for C++17: the functions of lyra.h as classes that own their handles, with strings, vectors and exceptions.
/// Header only; link with liblyra.so (pkg-config lyra, or CMake's Lyra::lyra).
///
///     lyra::Model model("Lyra_Mini_3B");
///     lyra::SessionOptions options;
///     options.speak = true;
///     lyra::Session session(model, options);
///     session.feed_audio_file("question.wav");
///     session.feed_text("What is said?");
///     session.end_turn();
///     for (lyra::Events events; !events.end();) {
///         events = session.step();
///         std::cout << session.read_text() << std::flush;
///         play(session.read_audio());
///     }
///
/// From a microphone, most of the work is done while it is heard, before end_turn():
///
///     session.feed_audio_pcm(samples, 16000);
///     while (session.step().progress()) {}
///
/// Threads, as in lyra.h: a Model may be shared by any threads; a Session belongs to one at a time, and only stop() and
/// cancel() may be called from another. Destroy a Session when no thread is inside of it.
///
/// Every function that can fail throws lyra::Error, after which the object is as lyra.h says for that function. What a
/// progress callback or a stream throws is carried past the C code and thrown again by the call that met it; what a log
/// callback throws is dropped.
#ifndef LYRA_HPP
#define LYRA_HPP

#include "lyra.h"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <istream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lyra {

/// A call that failed: what() is lyra_last_error(), code() the status.
class Error : public std::runtime_error {
public:
    Error(lyra_status code, const std::string &message) : std::runtime_error(message), code_(code) {}

    /// LYRA_E_ARGUMENT to LYRA_E_CLOSED.
    lyra_status code() const noexcept { return code_; }

    /// The status's name, such as "LYRA_E_IO".
    const char *name() const noexcept { return lyra_status_name(code_); }

private:
    lyra_status code_;
};

/// The version of the library, which need not be that of this header (LYRA_VERSION).
inline std::string version() { return lyra_version(); }

/// As lyra_model_options: what is left as it is has the default.
struct ModelOptions {
    std::string towers_dir;
    std::string vocoder;
    std::int32_t threads = 0;
    /// Receives messages for a person, also from sessions (as lyra_log_callback says); must not call lyra. It is kept
    /// as long as the model or a session of it lives.
    std::function<void(lyra_log_level level, std::string_view message)> log;
    /// Reports how many parts, mostly layers, are open, and of how many; return false to give up.
    std::function<bool(std::size_t done, std::size_t total)> progress;
    std::string sound_projector;
    lyra_precision precision = LYRA_PRECISION_DEFAULT;
};

/// As lyra_session_options: what is left as it is has the default.
struct SessionOptions {
    lyra_sampling sampling = LYRA_SAMPLING_DEFAULT;
    float temperature = 0;
    std::int32_t top_k = 0;
    float top_p = 0;
    float min_p = 0;
    float repetition_penalty = 0;
    std::uint64_t seed = 0;
    std::int32_t max_new_tokens = 0;
    std::int32_t max_context_tokens = 0;
    bool speak = false;
    std::string adapter;
    std::string system_prompt;
    std::int64_t max_image_pixels = 0;
    std::int64_t limit_pixels = 0;
    double limit_seconds = 0;
    std::int32_t extractor = LYRA_EXTRACTOR_DEFAULT;
    std::int32_t extractor_blocks = 0;
    std::int32_t extractor_gap = 0;
    float extractor_keep = 0;
    lyra_kv_type kv_type = LYRA_KV_F32;
    bool skip_silence = false;
    std::int64_t max_memory_bytes = 0;
};

/// As lyra_video_options: what is left as it is has the default.
struct VideoOptions {
    float frames_per_second = 0;
    std::int32_t max_frames = 0;
    bool with_audio = false;
};

/// What a step brought.
class Events {
public:
    constexpr Events(std::uint32_t bits = 0) noexcept : bits_(bits) {}

    constexpr bool progress() const noexcept { return (bits_ & LYRA_EVENT_PROGRESS) != 0; }
    constexpr bool text() const noexcept { return (bits_ & LYRA_EVENT_TEXT) != 0; }
    constexpr bool audio() const noexcept { return (bits_ & LYRA_EVENT_AUDIO) != 0; }
    constexpr bool end() const noexcept { return (bits_ & LYRA_EVENT_END) != 0; }
    constexpr std::uint32_t bits() const noexcept { return bits_; }

private:
    std::uint32_t bits_;
};

namespace detail {

inline void check(lyra_status status) {
    if (status != LYRA_OK) throw Error(status, lyra_last_error());
}

/// A text that C ends at its first zero byte; with one inside it is refused instead of cut.
inline const char *c_string(const char *name, const std::string &text) {
    if (text.find('\0') == std::string::npos) return text.c_str();
    throw Error(LYRA_E_ARGUMENT, std::string(name) + " has a zero byte in it");
}

/// The callbacks of a model, and the exception that one of them threw while the model was opened.
struct Callbacks {
    std::function<void(lyra_log_level, std::string_view)> log;
    std::function<bool(std::size_t, std::size_t)> progress;
    std::exception_ptr failure;

    static void on_log(void *user, lyra_log_level level, const char *message) noexcept {
        try {
            static_cast<Callbacks *>(user)->log(level, message);
        } catch (...) {
            // A message that cannot be shown must not end the work it tells of, and no caller waits for it.
        }
    }

    static std::int32_t on_progress(void *user, std::size_t done, std::size_t total) noexcept {
        auto *self = static_cast<Callbacks *>(user);
        try {
            return self->progress(done, total) ? 0 : 1;
        } catch (...) {
            self->failure = std::current_exception();
            return 1;
        }
    }
};

/// A std::istream as a lyra_reader. Made on the heap; the library's call of close() deletes it.
struct StreamReader {
    std::shared_ptr<std::istream> stream; // owns nothing if the caller keeps the stream alive
    std::shared_ptr<std::exception_ptr> failure;

    static std::int64_t read(void *user, void *buffer, std::size_t bytes) noexcept {
        return static_cast<StreamReader *>(user)->guarded([&](std::istream &stream) -> std::int64_t {
            stream.read(static_cast<char *>(buffer), static_cast<std::streamsize>(bytes));
            return stream.bad() ? -1 : static_cast<std::int64_t>(stream.gcount());
        });
    }

    static std::int64_t seek(void *user, std::int64_t offset) noexcept {
        return static_cast<StreamReader *>(user)->guarded([&](std::istream &stream) -> std::int64_t {
            stream.clear();
            stream.seekg(static_cast<std::istream::off_type>(offset), std::ios::beg);
            return stream.fail() ? -1 : offset;
        });
    }

    static std::int64_t length(void *user) noexcept {
        return static_cast<StreamReader *>(user)->guarded([](std::istream &stream) -> std::int64_t {
            stream.clear();
            const auto here = stream.tellg();
            stream.seekg(0, std::ios::end);
            const auto end = stream.tellg();
            stream.seekg(here);
            return stream.fail() ? -1 : static_cast<std::int64_t>(end);
        });
    }

    static void close(void *user) noexcept { delete static_cast<StreamReader *>(user); }

private:
    template <typename Work> std::int64_t guarded(Work work) noexcept {
        try {
            return work(*stream);
        } catch (...) {
            *failure = std::current_exception();
            return -1;
        }
    }
};

} // namespace detail

/// An open checkpoint: immutable, and shared by any number of sessions and threads. Movable, not copyable.
class Model {
public:
    /// Opens the checkpoint directory or GGUF file `path` (lyra_model_open).
    explicit Model(const std::string &path, const ModelOptions &options = {})
        : callbacks_(std::make_shared<detail::Callbacks>()) {
        callbacks_->log = options.log;
        callbacks_->progress = options.progress;
        lyra_model_options c;
        detail::check(lyra_model_options_init(&c));
        if (!options.towers_dir.empty()) c.towers_dir = options.towers_dir.c_str();
        if (!options.vocoder.empty()) c.vocoder = options.vocoder.c_str();
        if (!options.sound_projector.empty()) c.sound_projector = options.sound_projector.c_str();
        c.threads = options.threads;
        c.precision = options.precision;
        if (options.log) c.log = detail::Callbacks::on_log;
        if (options.progress) c.progress = detail::Callbacks::on_progress;
        c.user = callbacks_.get();
        lyra_model *opened = nullptr;
        const lyra_status status = lyra_model_open(path.c_str(), &c, &opened);
        if (status != LYRA_OK && callbacks_->failure) std::rethrow_exception(callbacks_->failure);
        detail::check(status);
        handle_.reset(opened);
    }

    /// Sizes, rates and abilities (lyra_model_get_info).
    lyra_model_info info() const {
        lyra_model_info info;
        detail::check(lyra_model_info_init(&info));
        detail::check(lyra_model_get_info(handle_.get(), &info));
        return info;
    }

    /// The C handle, for calls that this header does not have. The model keeps it.
    lyra_model *get() const noexcept { return handle_.get(); }

private:
    friend class Session;
    struct Close {
        void operator()(lyra_model *model) const noexcept { lyra_model_close(model); }
    };

    std::shared_ptr<detail::Callbacks> callbacks_; // before the handle, so that it goes after it
    std::unique_ptr<lyra_model, Close> handle_;
};

/// A conversation. Movable, not copyable; it keeps what it needs of its model, which may go first.
class Session {
public:
    /// Begins a conversation (lyra_session_create).
    explicit Session(const Model &model, const SessionOptions &options = {})
        : callbacks_(model.callbacks_), failure_(std::make_shared<std::exception_ptr>()) {
        lyra_session_options c;
        detail::check(lyra_session_options_init(&c));
        c.sampling = options.sampling;
        c.temperature = options.temperature;
        c.top_k = options.top_k;
        c.top_p = options.top_p;
        c.min_p = options.min_p;
        c.repetition_penalty = options.repetition_penalty;
        c.seed = options.seed;
        c.max_new_tokens = options.max_new_tokens;
        c.max_context_tokens = options.max_context_tokens;
        c.speak = options.speak ? 1 : 0;
        if (!options.adapter.empty()) c.adapter = detail::c_string("adapter", options.adapter);
        if (!options.system_prompt.empty()) c.system_prompt = detail::c_string("system_prompt", options.system_prompt);
        c.max_image_pixels = options.max_image_pixels;
        c.limit_pixels = options.limit_pixels;
        c.limit_seconds = options.limit_seconds;
        c.extractor = options.extractor;
        c.extractor_blocks = options.extractor_blocks;
        c.extractor_gap = options.extractor_gap;
        c.extractor_keep = options.extractor_keep;
        c.kv_type = options.kv_type;
        c.skip_silence = options.skip_silence ? 1 : 0;
        c.max_memory_bytes = options.max_memory_bytes;
        lyra_session *created = nullptr;
        detail::check(lyra_session_create(model.get(), &c, &created));
        handle_.reset(created);
    }

    /// Forgets the whole conversation (lyra_reset).
    void reset() { detail::check(lyra_reset(handle_.get())); }

    /// Writes the conversation to a file, with what was fed of a turn if steps have computed all of it (lyra_save).
    void save(const std::string &path) { detail::check(lyra_save(handle_.get(), path.c_str())); }

    /// Goes on with a conversation that save() wrote. When it throws, the session is as it was (lyra_restore).
    void restore(const std::string &path) { detail::check(lyra_restore(handle_.get(), path.c_str())); }

    /// Replaces the system prompt, before the first turn has ended.
    void set_system_prompt(std::string_view text) {
        detail::check(lyra_set_system_prompt(handle_.get(), bytes(text), text.size()));
    }

    /// Has answers spoken as well from the next turn on, or no more.
    void set_speak(bool speak) { detail::check(lyra_set_speak(handle_.get(), speak ? 1 : 0)); }

    /// Adds plain text, UTF-8: the names of special tokens in it are text (lyra_feed_text).
    void feed_text(std::string_view text) { detail::check(lyra_feed_text(handle_.get(), bytes(text), text.size())); }

    /// Adds text of the program's own in which the names of special tokens are read as those tokens
    /// (lyra_feed_text_special).
    void feed_text_special(std::string_view text) {
        detail::check(lyra_feed_text_special(handle_.get(), bytes(text), text.size()));
    }

    /// Adds a recording from a file, which must stay in place until the turn's end.
    void feed_audio_file(const std::string &path) { detail::check(lyra_feed_audio_file(handle_.get(), path.c_str())); }

    /// Adds a recording from a file's bytes in memory, which are copied.
    void feed_audio_bytes(const void *data, std::size_t size) {
        detail::check(lyra_feed_audio_bytes(handle_.get(), data, size));
    }

    /// Adds a recording from a seekable binary stream that the caller keeps alive until the turn's end.
    void feed_audio_stream(std::istream &stream) { feed_audio_stream(borrowed(stream)); }

    /// The same from a stream that is kept alive here.
    void feed_audio_stream(std::shared_ptr<std::istream> stream) {
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_audio_reader(handle_.get(), &reader));
    }

    /// Adds samples in -1…1: `frames` frames of `channels` interleaved floats at `sample_rate` Hz, copied. Consecutive
    /// calls continue one recording until feed_audio_end or any other feed.
    void feed_audio_pcm(const float *samples, std::size_t frames, std::int32_t channels, std::int32_t sample_rate) {
        detail::check(lyra_feed_audio_pcm(handle_.get(), samples, frames, channels, sample_rate));
    }

    /// The same for a mono recording. An empty one is allowed.
    void feed_audio_pcm(const std::vector<float> &samples, std::int32_t sample_rate) {
        static const float none = 0;
        feed_audio_pcm(samples.empty() ? &none : samples.data(), samples.size(), 1, sample_rate);
    }

    /// Finishes the recording that feed_audio_pcm began.
    void feed_audio_end() { detail::check(lyra_feed_audio_end(handle_.get())); }

    /// Adds an image from a file, which is decoded at once.
    void feed_image_file(const std::string &path) { detail::check(lyra_feed_image_file(handle_.get(), path.c_str())); }

    /// Adds an image from a file's bytes in memory, which are not needed after the call.
    void feed_image_bytes(const void *data, std::size_t size) {
        detail::check(lyra_feed_image_bytes(handle_.get(), data, size));
    }

    /// Adds an image from a seekable binary stream, which is not needed after the call.
    void feed_image_stream(std::istream &stream) {
        lyra_reader reader = reader_of(borrowed(stream));
        check_reader(lyra_feed_image_reader(handle_.get(), &reader));
    }

    /// Adds an image of RGB pixels, rows `stride` bytes apart (0: without gaps), the topmost first; copied.
    void feed_image_rgb8(const std::uint8_t *pixels, std::int32_t width, std::int32_t height, std::size_t stride = 0) {
        detail::check(lyra_feed_image_rgb8(handle_.get(), pixels, width, height, row_bytes(stride, width)));
    }

    /// Adds a video from a file, which must stay in place until the turn's end.
    void feed_video_file(const std::string &path, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        detail::check(lyra_feed_video_file(handle_.get(), path.c_str(), &c));
    }

    /// Adds a video from a file's bytes in memory, which are copied.
    void feed_video_bytes(const void *data, std::size_t size, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        detail::check(lyra_feed_video_bytes(handle_.get(), data, size, &c));
    }

    /// Adds a video from a seekable binary stream that the caller keeps alive until the turn's end.
    void feed_video_stream(std::istream &stream, const VideoOptions &options = {}) {
        feed_video_stream(borrowed(stream), options);
    }

    /// The same from a stream that is kept alive here.
    void feed_video_stream(std::shared_ptr<std::istream> stream, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_video_reader(handle_.get(), &reader, &c));
    }

    /// Adds a video of frames in memory, each of them as feed_image_rgb8 takes it, one after the other; copied.
    void feed_video_frames(const std::uint8_t *pixels, std::size_t frames, std::int32_t width, std::int32_t height,
                           std::size_t stride = 0) {
        detail::check(
            lyra_feed_video_frames(handle_.get(), pixels, frames, width, height, row_bytes(stride, width)));
    }

    /// Adds sound that is not speech from a file, which must stay in place until the turn's end.
    void feed_sound_file(const std::string &path) { detail::check(lyra_feed_sound_file(handle_.get(), path.c_str())); }

    /// Adds sound from a file's bytes in memory, which are copied.
    void feed_sound_bytes(const void *data, std::size_t size) {
        detail::check(lyra_feed_sound_bytes(handle_.get(), data, size));
    }

    /// Adds sound from a seekable binary stream that the caller keeps alive until the turn's end.
    void feed_sound_stream(std::istream &stream) { feed_sound_stream(borrowed(stream)); }

    /// The same from a stream that is kept alive here.
    void feed_sound_stream(std::shared_ptr<std::istream> stream) {
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_sound_reader(handle_.get(), &reader));
    }

    /// Adds samples of sound, as feed_audio_pcm does; one call is one sound.
    void feed_sound_pcm(const float *samples, std::size_t frames, std::int32_t channels, std::int32_t sample_rate) {
        detail::check(lyra_feed_sound_pcm(handle_.get(), samples, frames, channels, sample_rate));
    }

    /// Ends the user's turn; the steps that follow make the answer.
    void end_turn() { detail::check(lyra_end_turn(handle_.get())); }

    /// Does one short piece of work. When it throws, the turn is rolled back and over. Before end_turn() it works ahead
    /// on what was fed: while (session.step().progress()) {}
    Events step() {
        std::uint32_t events = 0;
        check_reader(lyra_step(handle_.get(), &events));
        return Events(events);
    }

    /// Ends the turn and keeps what was generated; the steps that follow complete its speech, unless this is called a
    /// second time. From any thread.
    void stop() const { detail::check(lyra_stop(handle_.get())); }

    /// Rolls the turn back. From any thread. A feed or step of a turn that is being fed then throws
    /// LYRA_E_STATE; between two feeds the next begins a fresh turn, and usage().stop says so until end_turn().
    void cancel() const { detail::check(lyra_cancel(handle_.get())); }

    /// All text that is new, UTF-8; empty if there is none.
    std::string read_text() {
        std::string all;
        char piece[1024];
        for (std::size_t count = 1; count > 0;) {
            detail::check(lyra_read_text(handle_.get(), piece, sizeof piece, &count));
            all.append(piece, count);
        }
        return all;
    }

    /// All samples that are new, mono floats in -1…1 at info().audio_sample_rate Hz; empty if there are none.
    std::vector<float> read_audio() { return read_all<float>(lyra_read_audio); }

    /// All of the answer's token ids that are new.
    std::vector<std::int32_t> read_tokens() { return read_all<std::int32_t>(lyra_read_tokens); }

    /// All of the answer's speech units that are new.
    std::vector<std::int32_t> read_units() { return read_all<std::int32_t>(lyra_read_units); }

    /// How far the turn is.
    lyra_progress progress() const {
        lyra_progress progress;
        detail::check(lyra_progress_init(&progress));
        detail::check(lyra_get_progress(handle_.get(), &progress));
        return progress;
    }

    /// What the turn cost so far, or the last turn in all.
    lyra_usage usage() const {
        lyra_usage usage;
        detail::check(lyra_usage_init(&usage));
        detail::check(lyra_get_usage(handle_.get(), &usage));
        return usage;
    }

    /// Where the media of the turn, or of the last one, stand in its prompt, as far as they are encoded.
    std::vector<lyra_media> media() const {
        std::vector<lyra_media> all;
        lyra_media next;
        detail::check(lyra_media_init(&next));
        for (std::int32_t index = 0;; index++) {
            const lyra_status status = lyra_get_media(handle_.get(), index, &next);
            if (status == LYRA_E_ARGUMENT) return all; // there are no more
            detail::check(status);
            all.push_back(next);
        }
    }

    /// The turn's media tokens that the extractor kept after block `block`, from 0 and below
    /// usage().extractor_blocks, by their places among its prompt tokens.
    std::vector<std::int32_t> kept(std::int32_t block) const {
        std::size_t count = 0;
        detail::check(lyra_get_kept(handle_.get(), block, nullptr, 0, &count));
        std::vector<std::int32_t> tokens(count);
        detail::check(lyra_get_kept(handle_.get(), block, tokens.data(), tokens.size(), &count));
        return tokens;
    }

    /// The C handle, for calls that this header does not have. The session keeps it.
    lyra_session *get() const noexcept { return handle_.get(); }

private:
    struct Destroy {
        void operator()(lyra_session *session) const noexcept { lyra_session_destroy(session); }
    };

    /// A pointer that is never null, since an empty view's may be.
    static const char *bytes(std::string_view text) noexcept { return text.empty() ? "" : text.data(); }

    /// A stream that the caller keeps alive.
    static std::shared_ptr<std::istream> borrowed(std::istream &stream) {
        return std::shared_ptr<std::istream>(std::shared_ptr<std::istream>(), &stream);
    }

    static std::size_t row_bytes(std::size_t stride, std::int32_t width) noexcept {
        return stride != 0 || width < 0 ? stride : 3 * static_cast<std::size_t>(width);
    }

    static lyra_video_options c_options(const VideoOptions &options) {
        lyra_video_options c;
        detail::check(lyra_video_options_init(&c));
        c.frames_per_second = options.frames_per_second;
        c.max_frames = options.max_frames;
        c.with_audio = options.with_audio ? 1 : 0;
        return c;
    }

    lyra_reader reader_of(std::shared_ptr<std::istream> stream) {
        if (stream == nullptr) throw Error(LYRA_E_ARGUMENT, "the stream is null");
        lyra_reader reader = {};
        reader.size = sizeof reader;
        reader.read = detail::StreamReader::read;
        reader.seek = detail::StreamReader::seek;
        reader.length = detail::StreamReader::length;
        reader.close = detail::StreamReader::close;
        reader.user = new detail::StreamReader{std::move(stream), failure_};
        return reader;
    }

    /// As detail::check, but what a stream threw goes first.
    void check_reader(lyra_status status) {
        const std::exception_ptr failure = std::exchange(*failure_, nullptr);
        if (status != LYRA_OK && failure) std::rethrow_exception(failure);
        detail::check(status);
    }

    template <typename Element>
    std::vector<Element> read_all(lyra_status (*read)(lyra_session *, Element *, std::size_t, std::size_t *)) {
        std::vector<Element> all;
        Element piece[1024];
        for (std::size_t count = 1; count > 0;) {
            detail::check(read(handle_.get(), piece, 1024, &count));
            all.insert(all.end(), piece, piece + count);
        }
        return all;
    }

    std::shared_ptr<detail::Callbacks> callbacks_; // these two before the handle, so that they go after it
    std::shared_ptr<std::exception_ptr> failure_;
    std::unique_ptr<lyra_session, Destroy> handle_;
};

} // namespace lyra

#endif
