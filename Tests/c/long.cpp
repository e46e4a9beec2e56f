// The C++ header's functions that long.c tests: work ahead, saving, the extractor, and kept tokens.
//
//     long MODEL RECORDING STATE
#include <lyra.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace {

int failures = 0;

void check(bool holds, const char *promise) {
    std::printf("%s - %s\n", holds ? "ok" : "not ok", promise);
    if (!holds) failures++;
}

template <typename Work> lyra_status code_of(Work work) {
    try {
        work();
    } catch (const lyra::Error &error) {
        return error.code();
    }
    return LYRA_OK;
}

std::vector<std::int32_t> ask(lyra::Session &session) {
    session.feed_text("Summarize.");
    session.end_turn();
    while (!session.step().end()) {
    }
    return session.read_tokens();
}

lyra::SessionOptions usual_options() {
    lyra::SessionOptions options;
    options.sampling = LYRA_SAMPLING_RANDOM;
    options.seed = 7;
    options.max_new_tokens = 8;
    return options;
}

void saving(const lyra::Model &model, const std::vector<float> &samples, const std::string &state) {
    lyra::Session session(model, usual_options()), other(model, usual_options());
    session.feed_audio_pcm(samples, 16000);
    session.feed_audio_end();
    int worked = 0;
    while (session.step().progress()) worked++;
    check(worked > 0, "steps work ahead of the turn's end");
    session.save(state);
    const auto answer = ask(session);
    other.restore(state);
    check(!answer.empty() && ask(other) == answer, "a restored recording has the same answer");
    check(code_of([&] { other.restore("/nowhere.state"); }) == LYRA_E_IO, "a missing state is thrown");
    check(code_of([&] { other.save("/no/such/folder.state"); }) == LYRA_E_IO, "an unwritable path is thrown");
}

void extracting(const lyra::Model &model, const std::vector<float> &samples) {
    lyra::SessionOptions options = usual_options();
    options.extractor = LYRA_EXTRACTOR_ON;
    options.extractor_gap = 1;
    options.extractor_keep = 0.5F;
    options.kv_type = LYRA_KV_F16;
    lyra::Session session(model, options);
    const std::vector<std::uint8_t> pixels(84 * 56 * 3, 90);
    session.feed_image_rgb8(pixels.data(), 84, 56);
    session.feed_audio_pcm(samples, 16000);
    ask(session);
    const auto media = session.media();
    check(media.size() == 2 && media[0].kind == LYRA_MEDIA_IMAGE && media[1].kind == LYRA_MEDIA_SPEECH,
          "the media are reported");
    check(media[0].time == 1 && media[0].height == 2 && media[0].width == 3 && media[0].tokens == 6,
          "the grid of an image, too");
    const lyra_usage usage = session.usage();
    check(usage.extractor_blocks == model.info().layers - 1, "tokens are pruned after every layer but the last");
    auto left = static_cast<std::size_t>(usage.media_tokens);
    bool halved = true;
    for (std::int32_t block = 0; block < usage.extractor_blocks; block++) {
        // Fewer than 32 tokens are all kept, as in the reference.
        left = left < 32 ? left : std::max<std::size_t>(32, left / 2);
        halved = halved && session.kept(block).size() == left;
    }
    check(halved && left < static_cast<std::size_t>(usage.media_tokens), "each block keeps half");
    check(code_of([&] { session.kept(usage.extractor_blocks); }) == LYRA_E_ARGUMENT, "a block out of range is thrown");
    options.max_memory_bytes = usage.cache_bytes / 2;
    lyra::Session narrow(model, options);
    narrow.feed_audio_pcm(samples, 16000);
    check(code_of([&] { ask(narrow); }) == LYRA_E_MEMORY, "the memory limit is enforced");
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 4) return 64;
    try {
        const lyra::Model model(argv[1]);
        std::vector<float> samples(31 * 16000);
        for (std::size_t i = 0; i < samples.size(); i++)
            samples[i] = 0.5F * std::sin(static_cast<float>(i % 7919) * static_cast<float>(i % 613) * 1e-4F);
        saving(model, samples, argv[3]);
        extracting(model, samples);
    } catch (const std::exception &error) {
        std::printf("not ok - nothing else is thrown\n# %s\n", error.what());
        return 1;
    }
    return failures != 0;
}
