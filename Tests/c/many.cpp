// Sessions that are stepped together in C++: each answers as it does alone, and reports its own error.
#include <lyra.hpp>

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

int failures = 0;

void check(bool holds, const std::string &promise) {
    std::cout << (holds ? "ok - " : "not ok - ") << promise << std::endl;
    failures += holds ? 0 : 1;
}

lyra::Session begin(const lyra::Model &model, const std::string &question, std::int64_t max_memory_bytes = 0) {
    lyra::SessionOptions options;
    options.sampling = LYRA_SAMPLING_GREEDY;
    options.max_new_tokens = 8;
    options.max_memory_bytes = max_memory_bytes;
    lyra::Session session(model, options);
    session.feed_text(question);
    session.end_turn();
    return session;
}

std::string message(const std::exception_ptr &error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const std::exception &caught) {
        return caught.what();
    }
    return "";
}

void answer_together(const lyra::Model &model) {
    std::vector<lyra::Session> sessions;
    for (const char *question : {"Hello!", "What is said?", "Where?"}) sessions.push_back(begin(model, question));
    lyra::Session small = begin(model, "Hello!", 1000);
    std::vector<std::string> texts(sessions.size());
    std::vector<lyra::Session *> due{&small};
    for (lyra::Session &session : sessions) due.push_back(&session);
    std::string error;
    while (!due.empty()) {
        const std::vector<lyra::Session::Stepped> made = lyra::Session::step_many(due);
        std::vector<lyra::Session *> left;
        for (std::size_t i = 0; i < due.size(); i++) {
            if (made[i].error) error = message(made[i].error);
            if (due[i] != &small) texts[static_cast<std::size_t>(due[i] - sessions.data())] += due[i]->read_text();
            if (!made[i].events.end()) left.push_back(due[i]);
        }
        due = left;
    }
    check(error.find("max_memory_bytes") != std::string::npos && error.find("session ") != 0,
          "a session over its limit reports its own error");
    const char *questions[] = {"Hello!", "What is said?", "Where?"};
    for (std::size_t i = 0; i < sessions.size(); i++) {
        lyra::Session alone = begin(model, questions[i]);
        while (!alone.step().end()) {}
        const std::string want = alone.read_text();
        check(!want.empty() && texts[i] == want, std::string("together as alone: ") + questions[i]);
    }
}

void refusals(const lyra::Model &model) {
    lyra::Session session = begin(model, "Hello!");
    std::string refused;
    try {
        lyra::Session::step_many({&session, &session});
    } catch (const lyra::Error &error) {
        refused = error.what();
    }
    check(refused.find("twice") != std::string::npos, "a session that is named twice is refused");
    check(lyra::Session::step_many({}).empty(), "no session is nothing to do");
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) return 64;
    const lyra::Model model(argv[1]);
    answer_together(model);
    refusals(model);
    return failures > 0;
}
