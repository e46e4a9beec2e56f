"""Nano's voices: labels that fit the sound, held-out voices and noise, data sets that can be made anew."""

import json
import random
import struct
import sys

import numpy as np
import pytest

from support import ROOT, lyra

NANO = ROOT / "examples/nano"
sys.path.insert(0, str(NANO))

import make_data  # noqa: E402
from world import (  # noqa: E402
    acoustics, espeak, examples, festival, flite, labels, noises, phones, prosody, signals, speech_sets, voices,
    wav, words)
from world.text import spoken  # noqa: E402
from world.utterance import RATE, SpeechError, Utterance, filled, matched  # noqa: E402

SENTENCE = "Close the door in the garden, please."
ONE_OF_EACH = {"espeak": "espeak:en-gb-scotland+f2", "flite": "flite:rms", "festival": "festival:kal"}


def require(*names):
    for name in names:
        title, is_installed, packages = voices.PACKAGES[name]
        if not is_installed():
            pytest.skip(f"{title} is not installed: {packages}")


@pytest.fixture(params=ONE_OF_EACH)
def voice(request):
    """A voice of each synthesizer that is installed."""
    require(request.param)
    return ONE_OF_EACH[request.param]


def same(first, second):
    labelled = (first.phones, first.words) == (second.phones, second.words)
    return labelled and np.array_equal(first.samples, second.samples)


# MARK: Utterances


def test_phones_cover_the_recording_without_gaps(voice):
    said = voices.say(SENTENCE, voice, 3)
    assert said.samples.dtype == np.float32 and np.abs(said.samples).max() <= 1
    starts, ends = [start for _, start, _ in said.phones], [end for _, _, end in said.phones]
    assert starts == [0, *ends[:-1]] and ends[-1] == pytest.approx(said.duration)
    assert all(end > start for _, start, end in said.phones)
    assert {phone for phone, _, _ in said.phones} <= set(phones.PHONES)


def test_words_are_those_of_the_text_in_order_and_lie_within_it(voice):
    said = voices.say(SENTENCE, voice, 3)
    assert said.text == "close the door in the garden please"
    times = [time for _, start, end in said.words for time in (start, end)]
    assert times == sorted(times) and times[0] > 0 and times[-1] <= said.duration
    # Nobody says these words faster than 25 ms or slower than 1.2 s.
    assert all(0.025 < end - start < 1.2 for _, start, end in said.words)


def test_the_text_is_where_the_sound_is(voice):
    """The level where words are is at least 20 dB above the level of labelled silence at the ends."""
    said = voices.say(SENTENCE, voice, 3)
    spoken = said.samples[int(said.words[0][1] * RATE):int(said.words[-1][2] * RATE)]
    ends = np.concatenate([said.samples[:int(said.phones[0][2] * RATE)] if said.phones[0][0] == "sil" else [],
                           said.samples[int(said.phones[-1][1] * RATE):] if said.phones[-1][0] == "sil" else []])
    assert signals.rms(spoken) > 10 * signals.rms(ends) or len(ends) == 0


def sharpness(utterance, wanted):
    """The share of power above 3 kHz in the phones, at the middle half of each."""
    shares = []
    for phone, start, end in utterance.phones:
        if phone in wanted:
            quarter = (end - start) / 4
            piece = utterance.samples[int((start + quarter) * RATE):int((end - quarter) * RATE)]
            power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
            shares.append(power[np.fft.rfftfreq(len(piece), 1 / RATE) > 3000].sum() / power.sum())
    return np.array(shares)


@pytest.mark.parametrize("plan", [
    acoustics.Acoustics(), acoustics.Acoustics(pitch=1.14), acoustics.Acoustics(tract=1.1),
    acoustics.Acoustics(tempo=(0.7, 1.3), lead=0.3), acoustics.Acoustics(tempo=(1.3, 1.3))])
def test_labels_stay_in_step_with_what_is_done_to_the_speaker(voice, plan):
    """An s hisses above 3 kHz and a vowel does not; a label that is late by a phone has the other."""
    said = voices.say("Six small seas, seven sad suns, sing so soon.", voice, 5)
    heard = acoustics.recorded(said, plan, random.Random(2))
    assert heard.phones[-1][2] == pytest.approx(heard.duration)
    assert sharpness(heard, {"s"}).min() > 2 * np.median(sharpness(heard, {"ae", "ah", "ax", "ow", "uw", "ao"}))


def test_an_utterance_depends_on_its_arguments_alone(voice):
    first = voices.say(SENTENCE, voice, 3)
    other = voices.say("Good morning.", voice, 4)
    assert same(first, voices.say(SENTENCE, voice, 3))
    assert len(other.samples) != len(first.samples)
    assert not same(first, voices.say(SENTENCE, voice, 8))


def test_texts_that_cannot_be_read_are_refused():
    with pytest.raises(SpeechError, match="'2' cannot be read aloud"):
        voices.say("Two plus 2.", "flite:rms", 1)
    with pytest.raises(SpeechError, match="no word"):
        voices.say("?!", "flite:rms", 1)
    with pytest.raises(SpeechError, match="no voice 'flite:nobody'"):
        voices.say("Two.", "flite:nobody", 1)


def test_words_in_pieces_are_joined():
    pieces = [("I", 0.1, 0.2), ("'m", 0.2, 0.3), ("_a", 0.3, 0.5)]
    assert matched(pieces, "I'm A.", "x") == (("i'm", 0.1, 0.3), ("a", 0.3, 0.5))
    with pytest.raises(SpeechError, match="not what was said"):
        matched(pieces, "I'm B.", "x")


def test_stops_of_espeak_begin_with_their_closure():
    events = [("t", 0.1, 0.15), ("uw", 0.15, 0.35), ("t", 0.35, 0.4), ("k", 0.4, 0.46), ("s", 0.46, 0.6)]
    # 45 ms earlier, but a phone keeps half of its time: (0.305 + 0.4) / 2 = 0.3525 is earlier than 0.355.
    expected = [("t", 0.055, 0.15), ("uw", 0.15, 0.305), ("t", 0.305, 0.355), ("k", 0.355, 0.46), ("s", 0.46, 0.6)]
    found = espeak.with_closures(events)
    assert [phone for phone, _, _ in found] == [phone for phone, _, _ in expected]
    assert [time for _, *both in found for time in both] == pytest.approx(
        [time for _, *both in expected for time in both])


def test_gaps_become_silence_and_silences_one():
    assert filled([("sil", 0, 0.1), ("sil", 0.1, 0.2), ("b", 0.3, 0.5), ("b", 0.4, 0.9)], 0.8) == (
        ("sil", 0, 0.3), ("b", 0.3, 0.5), ("b", 0.5, 0.8))


def test_all_symbols_of_the_tables_are_in_the_phone_set():
    assert len(phones.PHONES) == 46 == len(set(phones.PHONES))
    for table in (phones.CMU, phones.ESPEAK, *phones.ESPEAK_ACCENTS.values()):
        assert set(table.values()) <= {*phones.PHONES, ""}


def test_the_voice_of_answers_is_monotone_at_about_100_hz():
    require("espeak")
    samples = voices.say_answer("The number is seven.").samples
    found = []
    for start in range(0, len(samples) - 1280, 160):
        piece = samples[start:start + 1280]
        likeness = np.correlate(piece, piece, "full")[1279:]
        # The best period of 60 to 200 Hz, where the sound repeats itself well.
        period = 80 + np.argmax(likeness[80:267])
        if likeness[period] > 0.6 * likeness[0] > 0.6 * 0.5:
            found.append(RATE / period)
    assert len(found) > 20 and np.percentile(found, 10) > 97 and np.percentile(found, 90) < 103


# MARK: What is held out


def test_held_out_voices_exist_and_are_not_trained():
    everybody, kept = set(voices.every_voice()), voices.held_out()
    assert set(kept["synthesizer"]) | set(kept["voices"]) <= everybody
    assert {"flite:slt", "festival:slt-hts"} == set(kept["synthesizer"])
    rules = json.loads(voices.HELD_OUT_FILE.read_text())
    for variant in rules["espeak_variants"]:
        assert not [voice for voice in voices.trained() if voice.endswith(f"+{variant}")]
        assert sum(voice.endswith(f"+{variant}") for voice in kept["voices"]) == len(espeak.ACCENTS)
    for accent, variant in rules["espeak_accents_with_variants"]:
        assert f"espeak:{accent}+{variant}" in kept["voices"]
        # The accent and the variant are both trained, but not together.
        assert any(f"+{variant}" in voice for voice in voices.trained())
    assert not set(voices.trained()) & (set(kept["synthesizer"]) | set(kept["voices"]))


def test_no_held_out_voice_or_noise_is_chosen_for_training():
    require("espeak", "flite", "festival")
    rng = random.Random(1)
    chosen = {voices.choose(rng) for _ in range(4000)}
    assert chosen <= set(voices.trained())
    assert {voices.synthesizer_of(voice) for voice in chosen} == set(voices.WEIGHTS)
    plans = [acoustics.random_acoustics(rng) for _ in range(3000)]
    heard = {plan.noise for plan in plans} - {""}
    assert heard == set(noises.TRAINED) and not heard & {"traffic", "music"}
    assert set(noises.HELD_OUT) == {"traffic", "music"} <= set(noises.ALL)
    assert all(5 <= plan.snr <= 30 for plan in plans if plan.noise)


def test_a_synthesizer_that_is_not_installed_is_named_and_left_out(monkeypatch):
    require("espeak")
    for name in ("flite", "festival"):
        title, _, packages = voices.PACKAGES[name]
        monkeypatch.setitem(voices.PACKAGES, name, (title, lambda: False, packages))
    voices.choices.cache_clear()
    try:
        assert set(voices.choices("trained")) == {"espeak"}
        assert [sentence.split(" is not installed")[0] for sentence in voices.missing()] == ["Flite", "Festival"]
        with pytest.raises(SpeechError, match="no synthesizer is installed.*Flite.*Festival"):
            voices.choices("synthesizer")
    finally:
        voices.choices.cache_clear()


@pytest.mark.parametrize("kind", ["tower", "questions", "answers", "picture-questions"])
def test_training_items_are_spoken_by_training_voices_and_can_be_made_anew(kind, tmp_path):
    require("espeak", "flite", "festival")
    kept = {*voices.held_out()["voices"], *voices.held_out()["synthesizer"]}
    for index in range(3):
        first = speech_sets.training_item(5, kind, index, tmp_path / "first")
        second = speech_sets.training_item(5, kind, index, tmp_path / "second")
        assert first == second and not kept & set(first.get("voice", "").split())
        for key in ("speech", "tgt_speech"):
            if key in first:
                written = [(tmp_path / name / first[key]).read_bytes() for name in ("first", "second")]
                assert written[0] == written[1] and len(written[0]) > 3200


def test_clips_of_people_are_never_trained(tmp_path, capsys):
    assert make_data.main(["human", "--out", str(tmp_path)]) == 1
    assert "only evaluated" in capsys.readouterr().err
    assert "human" not in speech_sets.MAKERS


# MARK: Labels


def utterance(seconds, phones_of, words_of=()):
    return Utterance(np.zeros(round(seconds * RATE), np.float32), tuple(phones_of), tuple(words_of))


def test_a_row_has_the_label_of_what_sounds_20_ms_after_the_row_before():
    said = utterance(
        0.2, [("sil", 0, 0.05), ("t", 0.05, 0.09), ("uw", 0.09, 0.16), ("sil", 0.16, 0.2)], [("two", 0.05, 0.16)])
    rows = labels.row_labels(said)
    sil, t, uw = (phones.PHONES.index(phone) for phone in ("sil", "t", "uw"))
    # Rows 3 and 4 are at 60 and 80 ms, rows 5 to 7 at 100 to 140 ms. Ten rows and 25 beyond the end have labels.
    assert rows["phone"] == [[sil, 3], [t, 2], [uw, 3], [sil, 27]]
    two = labels.word_names().index("two")
    assert rows["word"] == [[0, 3], [two, 5], [0, 27]]
    found = labels.sequence_labels(said)
    names = labels.names()
    assert [names["phones"][label] for label in found["phones"]] == ["t", "uw"]
    assert "".join(names["letters"][label] for label in found["letters"]) == "two"
    assert [names["words"][label] for label in found["words"]] == ["two"]


def test_words_of_elsewhere_have_no_label():
    said = utterance(0.1, [("z", 0, 0.1)], [("zebra", 0, 0.1)])
    assert labels.row_labels(said)["word"] == [[labels.IGNORED, 5], [0, 25]]
    assert "words" not in labels.sequence_labels(said)


def test_a_tower_item_labels_every_row_of_its_recording(tmp_path):
    require("espeak", "flite", "festival")
    names, counts = labels.names(), set()
    for index in range(4):
        item = speech_sets.training_item(9, "tower", index, tmp_path)
        seconds = ((tmp_path / item["speech"]).stat().st_size - 44) / 2 / RATE
        assert seconds <= 6
        for head in ("phone", "word"):
            rows = sum(run[1] if isinstance(run, list) else 1 for run in item["row_labels"][head])
            assert min(300, seconds * 50 + 25) <= rows <= min(300, seconds * 50 + 26)
        labelled = " ".join(names["words"][label] for label in item["sequence_labels"]["words"])
        assert labelled == item["speech_asr"]
        counts.add(len(item["voice"].split()))
    # Some windows have one speaker, most have several.
    assert len(counts) > 1


# MARK: Acoustics


def unlabelled(samples):
    return Utterance(samples, (), ())


def test_utterances_that_are_joined_keep_their_labels():
    first = utterance(0.2, [("sil", 0, 0.1), ("ay", 0.1, 0.2)], [("i", 0.1, 0.2)])
    second = utterance(0.3, [("ey", 0, 0.3)], [("a", 0, 0.3)])
    whole = acoustics.joined([first, second], [0.5, 0.25])
    assert whole.duration == pytest.approx(1.25)
    # Seconds: 0.2 of the first, 0.5 of silence, 0.3 of the second, 0.25 of silence.
    expected = [("sil", 0, 0.1), ("ay", 0.1, 0.2), ("sil", 0.2, 0.7), ("ey", 0.7, 1.0), ("sil", 1.0, 1.25)]
    assert [phone for phone, _, _ in whole.phones] == [phone for phone, _, _ in expected]
    times = [time for _, *both in whole.phones for time in both]
    assert times == pytest.approx([time for _, *both in expected for time in both])
    assert whole.text == "i a" and whole.words[1][1:] == pytest.approx((0.7, 1.0))


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32) * 0.3


def strongest(samples):
    size = len(samples)
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(size)))) * RATE / size)


def test_pitch_and_tempo_change_by_the_ratio_that_is_asked_for():
    said = unlabelled(tone(200, 2))
    faster = prosody.faster(said, 1.25)
    # Sizes of fast FFTs are at most 0.5 % off; a bin has 0.6 Hz.
    assert strongest(faster.samples) == pytest.approx(250, rel=0.006)
    assert faster.duration == pytest.approx(1.6, rel=0.006)
    stretched = prosody.with_tempo(said, [0.8, 0.8])
    assert strongest(stretched.samples) == pytest.approx(200, rel=0.005)
    assert stretched.duration == pytest.approx(2.5, rel=0.02)


def vowel():
    """Two seconds of pulses of 100 Hz through one resonance at 1000 Hz."""
    pulses = np.zeros(2 * RATE)
    pulses[::160] = 1
    time = np.arange(1600) / RATE
    ring = np.exp(-300 * time) * np.sin(2 * np.pi * 1000 * time)
    return np.convolve(pulses, ring)[:2 * RATE].astype(np.float32) * 0.2


def test_a_shorter_vocal_tract_moves_formants_and_not_the_pitch():
    moved = prosody.with_tract(unlabelled(vowel()), 1.2).samples
    assert strongest(vowel()) == pytest.approx(1000, abs=51)
    # The strongest harmonic is within one of 1200 Hz, and harmonics are still multiples of 100 Hz.
    assert strongest(moved) == pytest.approx(1200, abs=101)
    assert abs(strongest(moved) / 100 - round(strongest(moved) / 100)) < 0.03


@pytest.mark.parametrize("ratio", [0.85, 1.5, 1.9])
def test_another_pitch_leaves_formants_and_tempo(ratio):
    moved = prosody.with_pitch(unlabelled(vowel()), ratio)
    assert moved.duration == pytest.approx(2, rel=0.02)
    # Harmonics are multiples of the new pitch, and the strongest is still the nearest to 1000 Hz.
    pitch = 100 * ratio
    assert abs(strongest(moved.samples) / pitch - round(strongest(moved.samples) / pitch)) < 0.05
    assert strongest(moved.samples) == pytest.approx(1000, abs=pitch / 2 + 10)


@pytest.mark.parametrize("hertz, loss", [(100, (20, 200)), (1000, (-1, 1)), (2500, (-1, 1)), (6000, (30, 300))])
def test_a_telephone_passes_300_to_3400_hz(hertz, loss):
    sound = tone(hertz)
    passed = signals.rms(acoustics.over_telephone(sound)[2000:-2000])
    assert loss[0] <= 20 * np.log10(signals.rms(sound) / (passed + 1e-12)) <= loss[1]


@pytest.mark.parametrize("kind", ["white", "hum", "traffic", "music", "clicks"])
def test_noise_has_the_level_that_is_asked_for(kind):
    said = unlabelled(tone(440))
    quiet = acoustics.recorded(said, acoustics.Acoustics(gain=-6), random.Random(1)).samples
    loud = acoustics.recorded(said, acoustics.Acoustics(gain=-6, noise=kind, snr=10), random.Random(1)).samples
    # The recording may have been turned down as a whole: compare after the tone's share is taken out.
    share = np.dot(loud, quiet) / np.dot(quiet, quiet)
    found = 20 * np.log10(share * signals.rms(quiet) / signals.rms(loud - share * quiet))
    assert found == pytest.approx(10, abs=0.7)


def test_resampling_keeps_a_tone_and_its_length():
    sound = np.sin(2 * np.pi * 1000 * np.arange(22050) / 22050).astype(np.float32)
    made, ratio = signals.resampled(sound, RATE / 22050)
    assert ratio == pytest.approx(320 / 441, abs=1e-12) and len(made) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / RATE)
    # Away from the ends, where the tone begins and stops at once.
    assert np.abs(made - expected)[400:-400].max() < 0.01


# MARK: Sets


def test_lyra_makes_units_of_the_answers(tmp_path):
    require("espeak", "flite", "festival")
    assert make_data.main(["answers", "--count", "4", "--seed", "2", "--out", str(tmp_path)]) == 0
    data, book, made = (tmp_path / name for name in ("answers.jsonl", "units.safetensors", "units.jsonl"))
    frames = ("--log-mels", "--mels", 40)
    trained = lyra("data", "units", "train", "--data", data, "--units", 8, *frames, "-o", book)
    assert trained.returncode == 0, trained.stderr
    encoded = lyra("data", "units", "encode", "--codebook", book, "--data", data, *frames, "-o", made)
    assert encoded.returncode == 0, encoded.stderr
    items = [json.loads(line) for line in made.read_text().splitlines()]
    assert len(items) == 4 and all(item["tgt_unit"] for item in items)


def float_wav(path, samples, channels=1, bits=32):
    body = np.asarray(samples, "<f4").tobytes()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, channels, RATE, 4 * RATE, 4, bits)
    path.write_bytes(
        struct.pack("<4sI4s", b"RIFF", 36 + len(body), b"WAVE") + head + struct.pack("<4sI", b"data", len(body)) + body)


def test_recordings_of_the_vocoder_are_heard_in_rooms_and_as_they_are(tmp_path):
    tone = np.sin(np.arange(2 * RATE) * 0.3).astype(np.float32) / 2
    float_wav(tmp_path / "tone.wav", tone)
    wav.write_wav(tmp_path / "long.wav", np.tile(tone, 4))
    manifest = tmp_path / "vocoded.jsonl"
    manifest.write_text('{"audio": "tone.wav", "text": "Two, three."}\n{"audio": "long.wav", "text": "Four."}\n')
    arguments = ["vocoded", "--manifest", str(manifest), "--count", "24", "--out"]
    assert make_data.main([*arguments, str(tmp_path / "made")]) == 0
    items = [json.loads(line) for line in (tmp_path / "made/vocoded.jsonl").read_text().splitlines()]
    # What is longer than a window is left out.
    assert len(items) == 12
    heard = [wav.read_wav(tmp_path / "made" / item["speech"])[0] for item in items]
    unchanged = sum(len(samples) == len(tone) and np.abs(samples - tone).max() < 1e-3 for samples in heard)
    assert 0 < unchanged < 12
    assert {item["conversations"][1]["value"] for item in items} == {"Two, three."}
    assert {item["speech_asr"] for item in items} == {"two three"}
    assert make_data.main([*arguments, str(tmp_path / "again")]) == 0
    assert all(
        (tmp_path / "made" / item["speech"]).read_bytes() == (tmp_path / "again" / item["speech"]).read_bytes()
        for item in items)


def test_bad_recordings_of_the_vocoder_are_named(tmp_path, capsys):
    manifest = tmp_path / "vocoded.jsonl"

    def fails(*parts):
        assert make_data.main(["vocoded", "--manifest", str(manifest), "--out", str(tmp_path / "made")]) == 1
        message = capsys.readouterr().err
        assert all(part in message for part in parts), message

    for line in ("{", "[]", '{"audio": "a.wav"}'):
        manifest.write_text(line + "\n")
        fails("vocoded.jsonl, line 1", '"audio"')
    manifest.write_text("")
    fails("vocoded.jsonl", "no recording")
    manifest.write_text('{"audio": "a.wav", "text": "One."}\n')
    fails("a.wav")
    for content in (b"", b"RIFF", b"RIFF\x04\0\0\0WAVE", b"RIFF\x04\0\0\0WAVEfmt \x02\0\0\0\1\0data\0\0\0\0"):
        (tmp_path / "a.wav").write_bytes(content)
        fails("a.wav", "WAV file")
    float_wav(tmp_path / "a.wav", [0.0], channels=2)
    fails("a.wav", "one channel")
    float_wav(tmp_path / "a.wav", [0.0], bits=64)
    fails("a.wav", "16 bits or floats")


def test_a_long_recording_fills_its_windows_and_contains_the_fact(tmp_path):
    require("espeak")
    conditions = speech_sets.Conditions()
    item = speech_sets.long_item(
        examples.rng_of(4, "long", 2), "one", tmp_path, conditions, windows=3, is_asked_aloud=True)
    story, question = (tmp_path / name for name in item["long_speech"])
    seconds = (story.stat().st_size - 44) / 2 / RATE
    assert 12 < seconds <= 18 and (question.stat().st_size - 44) / 2 / RATE <= 6
    assert item["conversations"][0]["value"] == "<speech>\n<speech>"
    texts = [turn["value"] for turn in item["conversations"]]
    # Other facts are asked about then, typed.
    assert len(texts) > 4 and not any("<speech>" in text for text in texts[1:])
    for answer in texts[1::2]:
        words = answer.lower().strip(".").split()
        assert answer == "I do not know." or set(words) <= set(item["speech_asr"][0].split())
    held_out = speech_sets.long_item(
        examples.rng_of(4, "long", 2), "two", tmp_path, speech_sets.Conditions("voices", is_training=False), windows=2)
    assert len(held_out["conversations"]) == 2


def test_some_long_recordings_are_to_be_written_down(tmp_path):
    require("espeak")
    conditions = speech_sets.Conditions()
    items = [
        speech_sets.long_item(examples.rng_of(5, "long", index), f"{index}", tmp_path, conditions, windows=2)
        for index in range(8)]
    written = [item for item in items if item["conversations"][0]["value"].split("\n")[1] in words.TRANSCRIBE]
    assert 1 < len(written) < 7
    for item in written:
        assert spoken(item["conversations"][1]["value"]) == item["speech_asr"][0] and len(item["long_speech"]) == 1
