// Asks a model about a recording: text streams to standard output, and the spoken answer goes into a WAV file.
//
//     speak [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] AUDIO OUT.wav [PROMPT]
//
// The model is lyra:nano, if lyra was built with it, unless another is named. Without a prompt, the recording is the
// question.
#include <lyra.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// A mono WAV file of 16-bit samples. The first samples create it, so an earlier failure leaves an existing file as is.
class WavWriter {
public:
    WavWriter(const std::string &path, std::uint32_t sample_rate) : path_(path), sample_rate_(sample_rate) {}

    void write(const std::vector<float> &samples) {
        if (samples.empty()) return;
        open();
        for (const float sample : samples) {
            put(static_cast<std::uint32_t>(static_cast<std::int32_t>(std::clamp(sample, -1.0F, 1.0F) * 32767)), 2);
        }
        data_bytes_ += static_cast<std::uint32_t>(2 * samples.size());
        check();
    }

    void finish() {
        open();
        file_.seekp(0);
        write_header();
        file_.close();
        check();
    }

private:
    void open() {
        if (file_.is_open()) return;
        file_.open(path_, std::ios::binary);
        write_header();
    }

    void write_header() {
        file_ << "RIFF";
        put(36 + data_bytes_, 4);
        file_ << "WAVEfmt ";
        put(16, 4); // bytes of the format chunk
        put(1, 2);  // integer PCM
        put(1, 2);  // channels
        put(sample_rate_, 4);
        put(2 * sample_rate_, 4);
        put(2, 2);
        put(16, 2);
        file_ << "data";
        put(data_bytes_, 4);
        check();
    }

    void put(std::uint32_t value, int bytes) {
        for (int i = 0; i < bytes; i++) file_.put(static_cast<char>(value >> (8 * i) & 0xFF));
    }

    void check() const {
        if (!file_) throw std::runtime_error(path_ + " cannot be written");
    }

    std::string path_;
    std::uint32_t sample_rate_;
    std::uint32_t data_bytes_ = 0;
    std::ofstream file_;
};

struct Arguments {
    std::vector<std::string> positional;
    std::string path = "lyra:nano";
    lyra::ModelOptions model;
    lyra::SessionOptions session;

    Arguments(int argc, char **argv) {
        const std::vector<std::string> given(argv + 1, argv + argc);
        for (std::size_t i = 0; i < given.size(); i++) {
            if (given[i] == "--greedy") session.sampling = LYRA_SAMPLING_GREEDY;
            else if (given[i] == "--model" && i + 1 < given.size()) path = given[++i];
            else if (given[i] == "--towers" && i + 1 < given.size()) model.towers_dir = given[++i];
            else if (given[i] == "--max-tokens" && i + 1 < given.size()) session.max_new_tokens = std::stoi(given[++i]);
            else if (given[i].compare(0, 2, "--") == 0) throw std::invalid_argument(given[i]);
            else positional.push_back(given[i]);
        }
        if (positional.size() < 2 || positional.size() > 3) throw std::invalid_argument("2 or 3 arguments are needed");
        session.speak = true;
        model.log = [](lyra_log_level, std::string_view message) { std::cerr << message << "\n"; };
    }
};

void run(const Arguments &arguments) {
    const lyra::Model model(arguments.path, arguments.model);
    const auto sample_rate = static_cast<std::uint32_t>(model.info().audio_sample_rate);
    WavWriter wav(arguments.positional[1], sample_rate);

    lyra::Session session(model, arguments.session);
    session.feed_audio_file(arguments.positional[0]);
    if (arguments.positional.size() > 2) session.feed_text(arguments.positional[2]);
    session.end_turn();
    for (lyra::Events events; !events.end();) {
        events = session.step();
        std::cout << session.read_text() << std::flush;
        wav.write(session.read_audio());
    }
    std::cout << std::endl;
    wav.finish();

    const lyra_usage usage = session.usage();
    std::cerr << usage.prompt_tokens << " prompt tokens, " << usage.generated_tokens << " generated, "
              << static_cast<double>(usage.audio_samples) / sample_rate << " s of speech, the first after "
              << usage.first_audio_ms << " ms\n";
}

} // namespace

int main(int argc, char **argv) {
    try {
        run(Arguments(argc, argv));
    } catch (const std::invalid_argument &) {
        std::cerr << "usage: speak [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] AUDIO OUT.wav [PROMPT]\n";
        return 64;
    } catch (const std::exception &error) {
        std::cerr << "speak: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
