/// lyra for C++17: the functions of lyra.h as classes that own their handles, with strings, vectors and exceptions.
/// Header only; link with liblyra.so (pkg-config lyra, or CMake's Lyra::lyra).
///
///     lyra::Model model("lyra:nano");
///     lyra::SessionOptions options;
///     options.speak = true;
///     lyra::Session session(model, options);
///     session.feed_audio_file("examples/media/sky.wav");
///     session.end_turn();
///     for (lyra::Events events; !events.end();) {
///         events = session.step();
///         std::cout << session.read_text() << std::flush;
///         play(session.read_audio());
///     }
///
/// With a microphone, most of the work is done while the user speaks, before end_turn():
///
///     session.feed_audio_pcm(samples, 16000);
///     while (session.step().progress()) {}
///
/// Threads: as in lyra.h, any threads may share a Model. A Session belongs to one thread at a time; only stop() and
/// cancel() may be called from other threads. Destroy a Session only when no thread is using it.
///
/// Every function that can fail throws lyra::Error; lyra.h says what state the object is in then. The call in progress
/// rethrows an exception of a progress callback or of a stream. An exception of a log callback is discarded.
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

/// A failed call: what() is lyra_last_error(), code() the status.
class Error : public std::runtime_error {
public:
    Error(lyra_status code, const std::string &message) : std::runtime_error(message), code_(code) {}

    /// The status that lyra.h's function returned, never LYRA_OK.
    lyra_status code() const noexcept { return code_; }

    /// The status's name, such as "LYRA_E_IO".
    const char *name() const noexcept { return lyra_status_name(code_); }

private:
    lyra_status code_;
};

/// The version of the library, which may differ from this header's (LYRA_VERSION).
inline std::string version() { return lyra_version(); }

/// Like lyra_model_options; unset members have their defaults.
struct ModelOptions {
    std::string towers_dir;
    std::string vocoder;
    std::int32_t threads = 0;
    /// Receives messages for people, also from sessions (see lyra_log_callback); must not call lyra. lyra keeps the
    /// function until the model and all its sessions are destroyed.
    std::function<void(lyra_log_level level, std::string_view message)> log;
    /// Receives the number of items (mostly layers) that are open, and their total; return false to abort.
    std::function<bool(std::size_t done, std::size_t total)> progress;
    std::string sound_projector;
    lyra_precision precision = LYRA_PRECISION_DEFAULT;
};

/// Like lyra_session_options; unset members have their defaults.
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

/// Like lyra_video_options; unset members have their defaults.
struct VideoOptions {
    float frames_per_second = 0;
    std::int32_t max_frames = 0;
    bool with_audio = false;
};

/// The result of a step.
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

/// What follows "session i: " in its line of a message.
inline std::string line_of(const std::string &lines, std::size_t i) {
    const std::string start = "session " + std::to_string(i) + ": ";
    std::size_t at = lines.rfind(start, 0) == 0 ? 0 : lines.find("\n" + start);
    if (at == std::string::npos) return lines;
    at = lines.find(start, at) + start.size();
    return lines.substr(at, lines.find("\nsession ", at) - at);
}

/// A C string of `text`, which must not contain a zero byte: C would end the string there.
inline const char *c_string(const char *name, const std::string &text) {
    if (text.find('\0') == std::string::npos) return text.c_str();
    throw Error(LYRA_E_ARGUMENT, std::string(name) + " contains a zero byte; remove it");
}

/// The callbacks of a model, and an exception thrown by one of them while the model was opened.
struct Callbacks {
    std::function<void(lyra_log_level, std::string_view)> log;
    std::function<bool(std::size_t, std::size_t)> progress;
    std::exception_ptr failure;

    static void on_log(void *user, lyra_log_level level, const char *message) noexcept {
        try {
            static_cast<Callbacks *>(user)->log(level, message);
        } catch (...) {
            // An exception must not pass through C, and a lost message is no reason to fail the call.
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

/// A std::istream as a lyra_reader. Allocated on the heap; the library's call of close() deletes it.
struct StreamReader {
    std::shared_ptr<std::istream> stream; // non-owning if the caller keeps the stream alive
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

/// An open checkpoint: immutable, shared by any number of sessions and threads. Movable, not copyable.
class Model {
public:
    /// Opens the checkpoint directory or GGUF file `path`, or "lyra:nano", the model inside the library, if it was
    /// built with one (lyra_model_open).
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

    /// Sizes, rates and capabilities (lyra_model_get_info).
    lyra_model_info info() const {
        lyra_model_info info;
        detail::check(lyra_model_info_init(&info));
        detail::check(lyra_model_get_info(handle_.get(), &info));
        return info;
    }

    /// The C handle, for functions that this header lacks. Still owned by the model.
    lyra_model *get() const noexcept { return handle_.get(); }

private:
    friend class Session;
    struct Close {
        void operator()(lyra_model *model) const noexcept { lyra_model_close(model); }
    };

    std::shared_ptr<detail::Callbacks> callbacks_; // declared before the handle, so that it is destroyed after it
    std::unique_ptr<lyra_model, Close> handle_;
};

/// A conversation. Movable, not copyable. The model may be destroyed first.
class Session {
public:
    /// Starts a conversation (lyra_session_create).
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

    /// Discards the entire conversation (lyra_reset).
    void reset() { detail::check(lyra_reset(handle_.get())); }

    /// Writes the conversation to a file (lyra_save). A turn that is being fed is saved too if steps have computed all
    /// of it.
    void save(const std::string &path) { detail::check(lyra_save(handle_.get(), path.c_str())); }

    /// Continues a conversation that save() wrote. If this throws, the session is unchanged (lyra_restore).
    void restore(const std::string &path) { detail::check(lyra_restore(handle_.get(), path.c_str())); }

    /// Replaces the system prompt; only before the first turn has ended.
    void set_system_prompt(std::string_view text) {
        detail::check(lyra_set_system_prompt(handle_.get(), bytes(text), text.size()));
    }

    /// Turns spoken answers on or off, from the next turn on (lyra_set_speak).
    void set_speak(bool speak) { detail::check(lyra_set_speak(handle_.get(), speak ? 1 : 0)); }

    /// Adds plain text in UTF-8: names of special tokens in it stay text (lyra_feed_text).
    void feed_text(std::string_view text) { detail::check(lyra_feed_text(handle_.get(), bytes(text), text.size())); }

    /// Adds the program's own text, in which names of special tokens become those tokens (lyra_feed_text_special).
    void feed_text_special(std::string_view text) {
        detail::check(lyra_feed_text_special(handle_.get(), bytes(text), text.size()));
    }

    /// Adds a recording of speech from a file, which must stay in place until the turn ends.
    void feed_audio_file(const std::string &path) { detail::check(lyra_feed_audio_file(handle_.get(), path.c_str())); }

    /// Adds a recording of speech from a file's bytes in memory, which are copied.
    void feed_audio_bytes(const void *data, std::size_t size) {
        detail::check(lyra_feed_audio_bytes(handle_.get(), data, size));
    }

    /// Adds a recording of speech from a seekable binary stream, which the caller keeps alive until the turn ends.
    void feed_audio_stream(std::istream &stream) { feed_audio_stream(borrowed(stream)); }

    /// The same for a stream that the session keeps alive.
    void feed_audio_stream(std::shared_ptr<std::istream> stream) {
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_audio_reader(handle_.get(), &reader));
    }

    /// Adds samples of speech in -1…1, which are copied: `frames` frames of `channels` interleaved floats at
    /// `sample_rate` Hz. Consecutive calls continue one recording until feed_audio_end or another feed.
    void feed_audio_pcm(const float *samples, std::size_t frames, std::int32_t channels, std::int32_t sample_rate) {
        detail::check(lyra_feed_audio_pcm(handle_.get(), samples, frames, channels, sample_rate));
    }

    /// The same for a mono recording, which may be empty.
    void feed_audio_pcm(const std::vector<float> &samples, std::int32_t sample_rate) {
        static const float none = 0;
        feed_audio_pcm(samples.empty() ? &none : samples.data(), samples.size(), 1, sample_rate);
    }

    /// Ends the recording that feed_audio_pcm began.
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

    /// Adds an image of RGB pixels, copied. Rows are `stride` bytes apart (0: no gaps), top row first.
    void feed_image_rgb8(const std::uint8_t *pixels, std::int32_t width, std::int32_t height, std::size_t stride = 0) {
        detail::check(lyra_feed_image_rgb8(handle_.get(), pixels, width, height, row_bytes(stride, width)));
    }

    /// Adds a video from a file, which must stay in place until the turn ends.
    void feed_video_file(const std::string &path, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        detail::check(lyra_feed_video_file(handle_.get(), path.c_str(), &c));
    }

    /// Adds a video from a file's bytes in memory, which are copied.
    void feed_video_bytes(const void *data, std::size_t size, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        detail::check(lyra_feed_video_bytes(handle_.get(), data, size, &c));
    }

    /// Adds a video from a seekable binary stream, which the caller keeps alive until the turn ends.
    void feed_video_stream(std::istream &stream, const VideoOptions &options = {}) {
        feed_video_stream(borrowed(stream), options);
    }

    /// The same for a stream that the session keeps alive.
    void feed_video_stream(std::shared_ptr<std::istream> stream, const VideoOptions &options = {}) {
        const lyra_video_options c = c_options(options);
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_video_reader(handle_.get(), &reader, &c));
    }

    /// Adds a video of consecutive frames in memory, each in the format of feed_image_rgb8; copied.
    void feed_video_frames(const std::uint8_t *pixels, std::size_t frames, std::int32_t width, std::int32_t height,
                           std::size_t stride = 0) {
        detail::check(
            lyra_feed_video_frames(handle_.get(), pixels, frames, width, height, row_bytes(stride, width)));
    }

    /// Adds sound other than speech from a file, which must stay in place until the turn ends.
    void feed_sound_file(const std::string &path) { detail::check(lyra_feed_sound_file(handle_.get(), path.c_str())); }

    /// Adds sound from a file's bytes in memory, which are copied.
    void feed_sound_bytes(const void *data, std::size_t size) {
        detail::check(lyra_feed_sound_bytes(handle_.get(), data, size));
    }

    /// Adds sound from a seekable binary stream, which the caller keeps alive until the turn ends.
    void feed_sound_stream(std::istream &stream) { feed_sound_stream(borrowed(stream)); }

    /// The same for a stream that the session keeps alive.
    void feed_sound_stream(std::shared_ptr<std::istream> stream) {
        lyra_reader reader = reader_of(std::move(stream));
        check_reader(lyra_feed_sound_reader(handle_.get(), &reader));
    }

    /// Adds samples of sound, in the format of feed_audio_pcm. Each call adds a separate sound.
    void feed_sound_pcm(const float *samples, std::size_t frames, std::int32_t channels, std::int32_t sample_rate) {
        detail::check(lyra_feed_sound_pcm(handle_.get(), samples, frames, channels, sample_rate));
    }

    /// Ends the user's turn; the next steps make the answer.
    void end_turn() { detail::check(lyra_end_turn(handle_.get())); }

    /// Does one short piece of work (lyra_step). Any error but LYRA_E_STATE rolls the turn back and ends it. Before
    /// end_turn(), steps work ahead on what was fed: while (session.step().progress()) {}
    Events step() {
        std::uint32_t events = 0;
        check_reader(lyra_step(handle_.get(), &events));
        return Events(events);
    }

    /// A session's part of step_many().
    struct Stepped {
        Events events;
        std::exception_ptr error; ///< what step() would throw; null for none
    };

    /// Steps several sessions of one model together (lyra_step_many): those that are generating share each read of the
    /// weights. An error in one leaves the others alone. Throws only if no session was stepped: a session is named
    /// twice, models differ, or a session is in use.
    static std::vector<Stepped> step_many(const std::vector<Session *> &sessions) {
        std::vector<lyra_session *> handles;
        for (const Session *session : sessions) handles.push_back(session->handle_.get());
        std::vector<std::uint32_t> events(sessions.size());
        std::vector<lyra_status> statuses(sessions.size(), LYRA_OK);
        const lyra_status first = lyra_step_many(handles.data(), handles.size(), events.data(), statuses.data());
        const std::string lines = first == LYRA_OK ? "" : lyra_last_error();
        std::vector<Stepped> made(sessions.size());
        bool any = false;
        for (std::size_t i = 0; i < sessions.size(); i++) {
            made[i].events = Events(events[i]);
            const std::exception_ptr failure = std::exchange(*sessions[i]->failure_, nullptr);
            if (statuses[i] == LYRA_OK) continue;
            any = true;
            made[i].error = failure ? failure
                                    : std::make_exception_ptr(Error(statuses[i], detail::line_of(lines, i).c_str()));
        }
        if (first != LYRA_OK && !any) throw Error(first, lines.c_str());
        return made;
    }

    /// Ends the turn and keeps the generated text. The next steps complete its speech, unless stop() is called a second
    /// time. May be called from any thread.
    void stop() const { detail::check(lyra_stop(handle_.get())); }

    /// Rolls the turn back. May be called from any thread. If the turn is still being fed, a feed or step in progress
    /// throws LYRA_E_STATE; if none is in progress, the next feed begins a new turn. Until end_turn(), usage().stop is
    /// LYRA_STOP_CANCELLED.
    void cancel() const { detail::check(lyra_cancel(handle_.get())); }

    /// All unread text in UTF-8; empty if there is none.
    std::string read_text() {
        std::string all;
        char piece[1024];
        for (std::size_t count = 1; count > 0;) {
            detail::check(lyra_read_text(handle_.get(), piece, sizeof piece, &count));
            all.append(piece, count);
        }
        return all;
    }

    /// All unread samples: mono floats in -1…1 at the model's info().audio_sample_rate; empty if there are none.
    std::vector<float> read_audio() { return read_all<float>(lyra_read_audio); }

    /// All unread token ids of the answer.
    std::vector<std::int32_t> read_tokens() { return read_all<std::int32_t>(lyra_read_tokens); }

    /// All unread speech units of the answer.
    std::vector<std::int32_t> read_units() { return read_all<std::int32_t>(lyra_read_units); }

    /// How far the turn is (lyra_get_progress).
    lyra_progress progress() const {
        lyra_progress progress;
        detail::check(lyra_progress_init(&progress));
        detail::check(lyra_get_progress(handle_.get(), &progress));
        return progress;
    }

    /// Counts and times of the turn in progress, or of the last turn (lyra_get_usage).
    lyra_usage usage() const {
        lyra_usage usage;
        detail::check(lyra_usage_init(&usage));
        detail::check(lyra_get_usage(handle_.get(), &usage));
        return usage;
    }

    /// The encoded media of the turn in progress, or of the last turn, and their places in the prompt (lyra_get_media).
    std::vector<lyra_media> media() const {
        std::vector<lyra_media> all;
        lyra_media next;
        detail::check(lyra_media_init(&next));
        for (std::int32_t index = 0;; index++) {
            const lyra_status status = lyra_get_media(handle_.get(), index, &next);
            if (status == LYRA_E_ARGUMENT) return all; // past the last medium
            detail::check(status);
            all.push_back(next);
        }
    }

    /// The media tokens that the extractor kept after block `block` (from 0, below usage().extractor_blocks): their
    /// indices among the turn's prompt tokens (lyra_get_kept).
    std::vector<std::int32_t> kept(std::int32_t block) const {
        std::size_t count = 0;
        detail::check(lyra_get_kept(handle_.get(), block, nullptr, 0, &count));
        std::vector<std::int32_t> tokens(count);
        detail::check(lyra_get_kept(handle_.get(), block, tokens.data(), tokens.size(), &count));
        return tokens;
    }

    /// The C handle, for functions that this header lacks. Still owned by the session.
    lyra_session *get() const noexcept { return handle_.get(); }

private:
    struct Destroy {
        void operator()(lyra_session *session) const noexcept { lyra_session_destroy(session); }
    };

    /// A non-null pointer, even for an empty view.
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
        if (stream == nullptr) throw Error(LYRA_E_ARGUMENT, "the stream is null; pass an open stream");
        lyra_reader reader = {};
        reader.size = sizeof reader;
        reader.read = detail::StreamReader::read;
        reader.seek = detail::StreamReader::seek;
        reader.length = detail::StreamReader::length;
        reader.close = detail::StreamReader::close;
        reader.user = new detail::StreamReader{std::move(stream), failure_};
        return reader;
    }

    /// Like detail::check, but rethrows an exception of a stream first.
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

    std::shared_ptr<detail::Callbacks> callbacks_; // declared before the handle, so that they are destroyed after it
    std::shared_ptr<std::exception_ptr> failure_;
    std::unique_ptr<lyra_session, Destroy> handle_;
};

} // namespace lyra

#endif
