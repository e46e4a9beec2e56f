"""`data`: corpora, long recordings and speech units become training data."""

import json
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from support import (
    FIXTURES, MP3, TOOL, fails, is_wrong_usage, lyra, model_of, read_safetensors, write_safetensors, write_wav)

WHISPER = FIXTURES / "b/model_zoo/audio/whisper-tiny"
LONG = "MISTER QUILTER IS THE APOSTLE OF THE MIDDLE CLASSES AND TWENTY OTHERS"


def data(*arguments, **options):
    return lyra("data", *arguments, **options)


def succeeds(ended, *parts):
    assert (ended.returncode, ended.stdout) == (0, ""), ended
    for part in parts:
        assert part in ended.stderr, ended.stderr


def stops(ended, *parts):
    """Checks that the process named what is bad on a line each, and then ended with 1 and an error."""
    *notes, last = ended.stderr.splitlines()
    assert ended.returncode == 1 and notes and all(note.startswith("left out: ") for note in notes), ended
    assert last.startswith("lyra: ") and "--max-bad" in last
    for part in parts:
        assert str(part) in last


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def tone(path, seconds=1.0, pitch=220):
    write_wav(path, 0.3 * np.sin(np.arange(int(seconds * 16000)) * 2 * np.pi * pitch / 16000))


# Corpora


@pytest.fixture
def librispeech(tmp_path):
    """Two chapters in LibriSpeech's layout. lyra reads WAV under the name of FLAC, too."""
    for chapter, count in (("19/198", 2), ("26/495", 3)):
        folder = tmp_path / "LibriSpeech/dev-clean" / chapter
        folder.mkdir(parents=True)
        name = chapter.replace("/", "-")
        for number in range(count):
            tone(folder / f"{name}-{number:04}.flac", 1 + number)
        (folder / f"{name}.trans.txt").write_text(
            "".join(f"{name}-{number:04} {LONG} {chapter[0]}\n" for number in range(count)))
    return tmp_path / "LibriSpeech"


def test_librispeech_becomes_the_published_form(librispeech, tmp_path):
    out = tmp_path / "clean.jsonl"
    succeeds(data("librispeech", librispeech, "-o", out), "5 examples of 9 s")
    examples = lines(out)
    assert [example["id"] for example in examples] == [
        "librispeech_19-198-0000", "librispeech_19-198-0001", "librispeech_26-495-0000", "librispeech_26-495-0001",
        "librispeech_26-495-0002"]
    for example in examples:
        assert list(example) == ["id", "speech", "speech_asr", "conversations"]
        human, gpt = example["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt") and human["value"].startswith("<speech>\n")
        # As whisper-normalizer writes it: lower case, numbers in digits.
        assert re.fullmatch("mister quilter is the apostle of the middle classes and 20 others (one|2)", gpt["value"])
        assert gpt["value"] == example["speech_asr"] and (tmp_path / example["speech"]).is_file()
    again = tmp_path / "deeper"
    again.mkdir()
    succeeds(data("librispeech", librispeech, "-o", again / "clean.json", "--seed", 2, "--text", "sentence"))
    others = json.loads((again / "clean.json").read_text())
    assert [other["id"] for other in others] == [example["id"] for example in examples]
    assert [other["conversations"][0] for other in others] != [example["conversations"][0] for example in examples]
    # Outside the data file's folder, paths are absolute.
    assert all(other["speech"] == str(tmp_path / example["speech"]) for other, example in zip(others, examples))
    assert others[0]["speech_asr"].startswith("Mister quilter is")
    succeeds(data("librispeech", librispeech, "-o", again / "c.jsonl", "--root", librispeech))
    assert lines(again / "c.jsonl")[0]["speech"] == "dev-clean/19/198/19-198-0000.flac"


def test_what_is_missing_or_damaged_is_named_and_bounded(librispeech, tmp_path):
    chapter, out = librispeech / "dev-clean/26/495", tmp_path / "clean.jsonl"
    (chapter / "26-495-0000.flac").write_bytes(b"fLaC broken")
    (chapter / "26-495-0001.flac").unlink()
    tone(chapter / "26-495-0009.flac")
    with (chapter / "26-495.trans.txt").open("ab") as file:
        file.write(b"26-495-0010\n26-495-0011 CAF\xe9\n")
    stops(data("librispeech", librispeech, "-o", out), "1 of 8", "26-495-0000.flac")
    assert not out.exists()
    ended = data("librispeech", librispeech, "-o", out, "--max-bad", 70)
    succeeds(ended, "3 examples", "left out: 5 missing or damaged")
    for name in ("0000.flac", "0001.flac: no such file", "0009.flac: no transcript", "line 4", "line 5"):
        assert sum(name in line for line in ended.stderr.splitlines()) == 1
    assert len(lines(out)) == 3 and not list(tmp_path.glob("*.partial"))


def test_lengths_and_words_are_bounded(librispeech, tmp_path):
    out = tmp_path / "clean.jsonl"
    succeeds(data("librispeech", librispeech, "-o", out, "--max-seconds", 1.5), "2 examples", "3 longer than 1.5 s")
    succeeds(data("librispeech", librispeech, "-o", out, "--words", "20-30"), "0 examples", "5 with fewer than 20")
    cut = librispeech / "dev-clean/19/198/19-198-0000.flac"
    cut.write_bytes(b"RIFF")
    succeeds(data("librispeech", librispeech, "-o", out, "--check", "exists"), "5 examples")
    stops(data("librispeech", librispeech, "-o", out, "--check", "decode"), cut)
    fails(data("librispeech", tmp_path / "nowhere", "-o", out), "nowhere: no such directory")
    fails(data("librispeech", WHISPER, "-o", out), ".trans.txt")
    for wrong in (["--words", "5"], ["--max-bad", 101], ["--max-seconds", 0], ["--check", "all"]):
        is_wrong_usage(data("librispeech", librispeech, "-o", out, *wrong))


def test_common_voice_becomes_examples(tmp_path):
    clips = tmp_path / "cv/en/clips"
    clips.mkdir(parents=True)
    for number in range(3):
        shutil.copy(MP3, clips / f"common_voice_en_{number}.mp3")
    rows = [("c1", f"common_voice_en_{number}.mp3", f'He said "no" {number}.', "2", "0") for number in range(3)]
    header = ("client_id", "path", "sentence", "up_votes", "down_votes")
    table = "".join("\t".join(row) + "\r\n" for row in (header, *rows))
    (tmp_path / "cv/en/validated.tsv").write_text(table)
    out = tmp_path / "cv.jsonl"
    succeeds(data("commonvoice", tmp_path / "cv/en", "-o", out), "3 examples")
    examples = lines(out)
    assert [example["speech_asr"] for example in examples] == [f'He said "no" {number}.' for number in range(3)]
    assert examples[1]["id"] == "commonvoice_common_voice_en_1"
    assert examples[1]["speech"] == "cv/en/clips/common_voice_en_1.mp3"
    (tmp_path / "cv/en/train.tsv").write_text("client_id\tpath\nc\tx.mp3\n")
    fails(data("commonvoice", tmp_path / "cv/en", "--split", "train", "-o", out), "train.tsv", "sentence")
    fails(data("commonvoice", tmp_path / "cv/en", "--split", "dev", "-o", out), "train.tsv, validated.tsv")
    (tmp_path / "cv/en/test.tsv").write_text("path\tsentence\nlost.mp3\tYes\nshort\n")
    ended = data("commonvoice", tmp_path / "cv/en", "--split", "test", "-o", out, "--max-bad", 100)
    succeeds(ended, "0 examples", "lost.mp3: no such file", "line 3: too few columns")


# Long speech


def sentences(count):
    return [f"Speaker number {number} tells about {thing} in the {number % 7} o'clock news."
        for number, thing in zip(range(count), ["boats", "bread", "paint", "roses"] * count)]


def clock(seconds, comma="."):
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{comma}000"


def srt(texts, length=5):
    return "".join(
        f"{index + 1}\n{clock(index * length, ',')} --> {clock((index + 1) * length, ',')}\n{text}\n\n"
        for index, text in enumerate(texts))


@pytest.fixture
def talks(tmp_path):
    """Two recordings of 60 s with transcripts beside them: SRT, and WebVTT that the ffmpeg command makes of it."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("one", "two"):
        tone(folder / f"{name}.wav", 60)
        (folder / f"{name}.srt").write_text(srt(sentences(12)))
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", folder / "two.srt", folder / "two.vtt"], check=True)
    (folder / "two.srt").unlink()
    return folder


def test_transcripts_become_questions_whose_answers_they_have(talks, tmp_path):
    out = tmp_path / "long.jsonl"
    ended = data("long-speech", talks, "-o", out, "--passage", 30, "--questions", 6)
    succeeds(ended, "24 examples about 2 recordings")
    examples, texts = lines(out), sentences(12)
    whole = " ".join(texts)
    assert [example["id"] for example in examples[:7]] == [f"one_0_{n}" for n in range(6)] + ["one_1_0"]
    for example in examples:
        assert list(example) == ["id", "long_speech", "kind", "conversations"]
        assert (tmp_path / example["long_speech"]).is_file()
        question, answer = (turn["value"] for turn in example["conversations"])
        assert question.startswith("<speech>\n")
        if example["kind"] == "time":
            place = next(index for index, text in enumerate(texts) if text in question)
            begin, end = place * 5, place * 5 + 5
            assert answer == f"From {begin // 60:02}:{begin % 60:02} to {end // 60:02}:{end % 60:02}."
        else:
            assert answer in whole
    # The same cues, seed and names give the same questions; the names of the recordings choose others.
    succeeds(data("long-speech", talks, "-o", tmp_path / "again.jsonl", "--passage", 30, "--questions", 6))
    assert out.read_bytes() == (tmp_path / "again.jsonl").read_bytes()
    assert [e["conversations"] for e in examples[:12]] != [e["conversations"] for e in examples[12:]]
    kinds = data("long-speech", talks, "-o", out, "--kinds", "cloze,order", "--questions", 4)
    succeeds(kinds)
    assert set(Counter(example["kind"] for example in lines(out))) <= {"cloze", "order"}
    is_wrong_usage(data("long-speech", talks, "-o", out, "--kinds", "summary"))


def test_given_transcripts_are_those_of_the_recordings(talks, tmp_path):
    out = tmp_path / "long.json"
    segments = [{"start": 5 * i, "end": 5 * i + 5, "text": " " + text} for i, text in enumerate(sentences(12))]
    (tmp_path / "x.json").write_text(json.dumps({"text": "", "segments": segments, "language": "en"}))
    succeeds(data("long-speech", talks / "one.wav", "--transcripts", tmp_path / "x.json", "-o", out), "1 example ")
    succeeds(data(
        "long-speech", talks / "one.wav", talks / "two.wav", "--transcripts", tmp_path / "x.json", talks / "one.srt",
        "-o", out), "2 examples")
    # A transcript of a longer recording is of another one.
    (tmp_path / "long.srt").write_text(srt(sentences(20)))
    stops(
        data("long-speech", talks / "one.wav", "--transcripts", tmp_path / "long.srt", "-o", out), "01:40", "01:00",
        "another recording")
    (tmp_path / "odd.vtt").write_text("WEBVTT\n\nnothing\n")
    stops(data("long-speech", talks / "one.wav", "--transcripts", tmp_path / "odd.vtt", "-o", out), "no cue with text")
    (talks / "two.vtt").unlink()
    stops(data("long-speech", talks, "-o", out), "two.wav: there is no transcript")
    succeeds(data("long-speech", talks, "-o", out, "--max-bad", 50), "1 recording missing or damaged")


class Server:
    """A server with OpenAI's interface on a port of this machine, which answers as `answer` says."""

    def __init__(self, answer):
        self.answer, self.requests, self.lock = answer, [], threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append((self.path, dict(self.headers), body))
                    number = len(outer.requests)
                status, reply, *headers = outer.answer(number, body)
                try:
                    self.send_response(status)
                    for name, value in headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply)))
                    self.end_headers()
                    self.wfile.write(reply)
                except OSError:
                    pass  # the tool was interrupted

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def serving(answer):
    server = Server(answer)
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()


def chat(content):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def good(number=None, body=None):
    return 200, chat('Here:\n```json\n[{"question": "Who \\"speaks\\"?", "answer": "Nörgel."}]\n```')


def ask(server, talks, out, *arguments, **options):
    return data(
        "long-speech", talks, "-o", out, "--passage", 15, "--server", server.url, "--server-model", "tiny",
        "--retry-delay", 0.01, *arguments, **options)


def test_a_server_writes_questions(talks, tmp_path):
    out, environment = tmp_path / "long.jsonl", {"MY_KEY": 'sec"ret\\x', "PATH": "/usr/bin:/bin"}
    with serving(good) as server:
        succeeds(ask(server, talks, out, "--key-variable", "MY_KEY", "--parallel", 3, env=environment), "8 examples")
        path, headers, body = server.requests[0]
        assert path == "/v1/chat/completions" and headers["Authorization"] == 'Bearer sec"ret\\x'
        assert body["model"] == "tiny" and [m["role"] for m in body["messages"]] == ["system", "user"]
        users = sorted(request[2]["messages"][1]["content"] for request in server.requests)
        # Both talks have the same words, so each passage is asked about once.
        assert len(users) == 4 and " ".join(sentences(12)[:3]) in users[0] and "from 00:00 to 00:15" in users[0]
        assert [turn["value"] for turn in lines(out)[0]["conversations"]] == ['<speech>\nWho "speaks"?', "Nörgel."]
        assert {example["kind"] for example in lines(out)} == {"open"}
        # A second run has all answers.
        succeeds(ask(server, talks, out), "8 examples")
        assert len(server.requests) == 4
        # Other questions are asked anew, without a key.
        succeeds(ask(server, talks, out, "--questions", 2, env={"PATH": "/usr/bin:/bin"}))
        assert len(server.requests) == 8 and "Authorization" not in server.requests[-1][1]


def test_a_whole_talk_is_one_request(talks, tmp_path):
    """Longer than a line of curl's configuration may be."""
    (tmp_path / "day.srt").write_text(srt(sentences(3000)))
    with serving(good) as server:
        whole = ("--transcripts", tmp_path / "day.srt", "--check", "exists", "--passage", 100000)
        succeeds(ask(server, talks / "one.wav", tmp_path / "a.jsonl", *whole), "1 example")
        content = server.requests[0][2]["messages"][1]["content"]
        assert " ".join(sentences(3000)) in content and len(content) > 150_000


def test_a_failing_server_is_asked_again(talks, tmp_path):
    bad = [
        (500, b"oops"), (429, b"slow down", ("Retry-After", "0")), (200, b"not json"), (200, b'{"choices": []}'),
        (200, b'\xff\xfe{"choices"'), (200, chat("I cannot.")), (200, chat('[{"question": 1}]')), (503, b"")]
    with serving(lambda number, body: bad[number - 1] if number <= len(bad) else good()) as server:
        succeeds(ask(server, talks, tmp_path / "a.jsonl", "--retries", 8), "8 examples")
        assert len(server.requests) == 12
    with serving(lambda number, body: (200, chat("never"))) as server:
        stops(ask(server, talks, tmp_path / "b.jsonl", "--retries", 1), "the answer is not JSON", "1 of 8")
        assert len(server.requests) <= 8
    with serving(lambda number, body: (400, b"too long") if "00:15 to" in str(body) else good()) as server:
        ended = ask(server, talks, tmp_path / "c.jsonl", "--max-bad", 50)
        succeeds(ended, "6 examples", "one_1: status 400", "too long", "2 passages without an answer")
        assert len(server.requests) == 4


def test_a_refusing_or_absent_server_ends_the_work(talks, tmp_path):
    out = tmp_path / "long.jsonl"
    for status in (401, 403, 404):
        with serving(lambda number, body: (status, b'{"error": "no such model"}')) as server:
            fails(ask(server, talks, out), server.url, status, "no such model")
            assert len(server.requests) == 1
    fails(ask(server, talks, out, "--retries", 1), server.url, "cannot be reached")
    with serving(lambda number, body: time.sleep(1) or good()) as server:
        stops(ask(server, talks, out, "--timeout", 0.2, "--retries", 0), "one_0", "timed out")
    assert not out.exists()
    is_wrong_usage(data("long-speech", talks, "-o", out, "--server", "http://x"), "--server-model")
    fails(data("long-speech", talks, "-o", out, "--server", "x", "--server-model", "m"), "http://")
    with serving(good) as server:
        fails(ask(server, talks, out, env={"PATH": str(tmp_path)}), "curl", "install")


def test_an_interrupted_run_asks_only_for_the_rest(talks, tmp_path):
    out, answers = tmp_path / "long.jsonl", tmp_path / "kept.jsonl"
    second = threading.Event()

    def answer(number, body):
        if number == 2:
            second.set()
            time.sleep(10)
        return good()

    with serving(answer) as server:
        command = ["data", "long-speech", talks, "-o", out, "--passage", 15, "--server", server.url]
        command += ["--server-model", "tiny", "--answers", answers]
        process = subprocess.Popen([TOOL, *map(str, command)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert second.wait(60)
        process.send_signal(signal.SIGINT)
        assert b"interrupted" in process.communicate(timeout=60)[1] and process.returncode == 1
    assert not out.exists() and len(lines(answers)) == 1
    # A line that broke off is asked for again.
    with answers.open("a") as file:
        file.write('{"request": "12')
    with serving(good) as server:
        ended = data(
            "long-speech", talks, "-o", out, "--passage", 15, "--server", server.url, "--server-model", "tiny",
            "--answers", answers)
        succeeds(ended, "8 examples")
        assert len(server.requests) == 3


# Units


@pytest.fixture
def answers(tmp_path):
    """A data file whose answers are tones, alternating every 0.2 s, and one example without speech."""
    examples = []
    for number, pitches in enumerate(([300, 600], [600, 1200], [300, 1200])):
        pieces = [np.sin(np.arange(3200) * 2 * np.pi * pitch / 16000) for pitch in pitches * 5]
        write_wav(tmp_path / f"answer{number}.wav", 0.3 * np.concatenate(pieces))
        examples.append({
            "id": number, "tgt_speech": f"answer{number}.wav", "score": 0.12345678901,
            "conversations": [{"from": "human", "value": "Hé\n?"}, {"from": "gpt", "value": "!"}]})
    examples.insert(1, {"id": "silent", "conversations": []})
    (tmp_path / "answers.json").write_text(json.dumps(examples, indent=1))
    return tmp_path / "answers.json"


def units(example):
    return [int(unit) for unit in re.findall(r"<(\d+)>", example["tgt_unit"])]


def test_units_of_log_mels_tell_tones_apart(answers, tmp_path):
    book, out = tmp_path / "book.safetensors", tmp_path / "units.json"
    train = ("units", "train", "--data", answers, "--log-mels", "--units", 8, "--threads", 1)
    succeeds(data(*train, "-o", book), "8 units of 300 frames among 300 (6 s)")
    assert read_safetensors(book)["centroids"].shape == (8, 160)
    encode = ("units", "encode", "--codebook", book, "--data", answers)
    succeeds(data(*encode, "--keep-runs", "-o", out), "300 units of 3 recordings, 6 s", "1 example without")
    examples, originals = json.loads(out.read_text()), json.loads(answers.read_text())
    assert [{**example, "tgt_unit": 0} for example in examples if "tgt_unit" in example] == [
        {**example, "tgt_unit": 0} for example in originals if "tgt_speech" in example]
    assert examples[1] == originals[1]
    # Ten frames are one tone. Away from its ends, where windows hold both tones, its unit is always the same.
    seen = {}
    for example, pitches in zip((examples[0], examples[2], examples[3]), ((300, 600), (600, 1200), (300, 1200))):
        assert len(units(example)) == 100
        for start, pitch in zip(range(0, 100, 10), pitches * 5):
            seen.setdefault(pitch, []).extend(units(example)[start + 3:start + 7])
    assert all(len(set(values)) == 1 for values in seen.values()) and len({values[0] for values in seen.values()}) == 3
    # Without runs, the same sequence.
    succeeds(data(*encode, "-o", tmp_path / "short.jsonl"))
    for short, example in zip(lines(tmp_path / "short.jsonl"), examples):
        if "tgt_unit" in short:
            full = units(example)
            assert units(short) == [unit for i, unit in enumerate(full) if i == 0 or full[i - 1] != unit]
    fails(data(*encode, "--mels", 128, "-o", out), "80 log-mels", "other frames")
    # The same seed, data and threads give the same file; another seed may not.
    succeeds(data(*train, "-o", tmp_path / "again"))
    assert book.read_bytes() == (tmp_path / "again").read_bytes()


def test_units_of_a_tower_need_the_tower(answers, tmp_path):
    book, out = tmp_path / "book.safetensors", tmp_path / "units.json"
    train = ("units", "train", "--data", answers, "--units", 5, "-o", book)
    succeeds(data(*train, "--tower", WHISPER, "--layer", 2), "5 units of 300 frames")
    assert read_safetensors(book)["centroids"].shape == (5, 32)
    encode = ("units", "encode", "--codebook", book, "--data", answers, "-o", out)
    fails(data(*encode), "whisper-tiny", "--tower")
    succeeds(data(*encode, "--tower", WHISPER), "units of 3 recordings")
    assert all(set(units(example)) <= set(range(5)) for example in json.loads(out.read_text()) if "tgt_unit" in example)
    for other in (("--log-mels",), ("--stored-features",), ("--tower", WHISPER, "--layer", 1)):
        fails(data(*encode, *other), "layer 2 of a tower", "other frames")
    is_wrong_usage(data(*encode, "--tower", WHISPER, "--mels", 80), "--mels")
    fails(data(*train, "--tower", WHISPER, "--layer", 9), "0…3")
    is_wrong_usage(data(*train), "--log-mels")
    is_wrong_usage(data(*train, "--log-mels", "--tower", WHISPER))
    fails(data("units", "train", "--data", answers, "--log-mels", "--units", 301, "-o", book), "301 units", "too few")
    fails(data(*train, "--log-mels", "--key", "speech"), "no example has the key", '"tgt_speech"')


def test_another_programs_codebook_and_frames_are_read(tmp_path):
    frames = np.array([[0, 0], [9, 1], [8, 0], [1, 9]], np.float32)
    np.save(tmp_path / "frames.npy", frames)
    centroids = np.array([[0, 1], [9, 0], [0, 9]], np.float32)
    np.save(tmp_path / "km.npy", centroids)
    write_safetensors(tmp_path / "km.safetensors", {"means": centroids})
    (tmp_path / "d.jsonl").write_text('{"tgt_speech": "frames.npy"}\n')
    for name in ("km.npy", "km.safetensors"):
        out = tmp_path / "u.jsonl"
        encode = ("units", "encode", "--codebook", tmp_path / name, "--data", tmp_path / "d.jsonl", "-o", out)
        succeeds(data(*encode, "--stored-features"), "3 units of 1 recording")
        assert lines(out) == [{"tgt_speech": "frames.npy", "tgt_unit": "<0><1><2>"}]
        fails(data(*encode), "--stored-features")
        fails(data(*encode, "--log-mels"), "160")
    (tmp_path / "km.bin").write_bytes(b"\x80\x04\x95" + bytes(100))
    fails(
        data("units", "encode", "--codebook", tmp_path / "km.bin", "--data", tmp_path / "d.jsonl", "-o", out),
        "km.bin", "joblib", "numpy.save")


def test_a_vocoder_synthesizes_units_as_in_an_answer(tmp_path):
    asked = lyra(
        "generate", *model_of("b"), "--prompt", "No", "--temperature", "0", "--max-tokens", "4", "--json", "--speak",
        tmp_path / "answer.wav")
    generated = json.loads(asked.stdout)["units"]
    # The command takes a repeated unit for a run; the generator may mean two.
    assert len(generated) > 3 and all(unit != following for unit, following in zip(generated, generated[1:]))
    silent = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "One two."}]}
    spoken = {**silent, "tgt_unit": "".join(f"<{unit}><{unit}>" for unit in generated)}
    unknown = {**silent, "tgt_unit": "<1><60>"}
    source, manifest, folder = tmp_path / "units.json", tmp_path / "manifest.jsonl", tmp_path / "new/recordings"
    decode = (
        "units", "decode", "--vocoder", FIXTURES / "b/model_zoo/audio/vocoder", "--folder", folder, "-o", manifest,
        "--data", source)
    source.write_text(json.dumps([silent, spoken, unknown]))
    stops(data(*decode), "units.json, line 1, item 3", "unit 60 is not one of the vocoder's 60")
    assert not manifest.exists()
    succeeds(
        data(*decode, "--max-bad", 40), "manifest.jsonl: 1 recording", "1 example without units",
        "1 example damaged")
    assert lines(manifest) == [{"audio": "new/recordings/2.wav", "text": "One two."}]
    assert (folder / "2.wav").read_bytes() == (tmp_path / "answer.wav").read_bytes()
    manifest.unlink()
    shutil.rmtree(tmp_path / "new")
    source.write_text(json.dumps(silent))
    fails(data(*decode), "units.json", "no answer has units")
    assert not manifest.exists() and not (tmp_path / "new").exists()
    fails(data(*decode[:2], "--vocoder", tmp_path, *decode[4:]), str(tmp_path), "no vocoder")


def test_bad_recordings_of_units_are_named_and_bounded(answers, tmp_path):
    (tmp_path / "answer1.wav").write_bytes(b"RIFF")
    train = ("units", "train", "--data", answers, "--log-mels", "--units", 4, "-o", tmp_path / "book")
    stops(data(*train), "answers.json: example 3", "answer1.wav", "1 of 3")
    assert not (tmp_path / "book").exists()
    succeeds(data(*train, "--max-bad", 40), "200 frames", "1 example missing or damaged")
