"""Word error rates and normalizers, against jiwer and whisper-normalizer, if they are installed."""

import json
import random
from importlib import resources

import pytest

from support import fails, is_wrong_usage, lyra

SENTENCES = """
Mr. Smith can't pay $20 million by the 3rd of May, can he?
She's gone to St. James's Park; he'd been there twice.
I'm gonna tell y'all: we won't, we shan't, we couldn't've.
It cost twenty five dollars and seven cents.
It cost $2 and 7 cents, or £0.07, or €5.
two hundred and five point three percent of one oh one
nineteen eighty-four was the year, not the nineteen eighties
The twenty-first of the first, twelfth night, ninetieth, zeroth
double oh seven and triple nine and double agent and triple
one thousand two hundred thirty four million five hundred sixty seven thousand eight hundred ninety
a hundred thousand and a half, two and a half, two million and a half dollars, dogs and a half
minus five degrees, plus ten, negative feedback, positive, minus
5 per cent, five per cent, per person, percent, 100 percent sure, twenty per cow
The colour of the centre theatre was grey; we realised and organised the catalogue, travelling.
[laughs] Hello (softly) world <unk> again ( ) [] ()
Uh, um, hmm, well mmm, mm-hmm, mhm
Naïve café, Ærøskøbing, Straße, Łódź, Þór, Đorđe
half of ½ is ¼, x² + y³ = z⁴, ﬁne ﬂuff, № 5 ™ …
1,234,567.89 and 1,2,3 and 10,000 men
3.14159 is pi. So is 22/7. 192.168.0.1 isn't.
Version 2.0.1 of the B2B 4x4 A1 paper, 1960s, 32nd, 274th, 5s, 6 s, 7 th
the '90s, ' quote', rock 'n' roll, o'clock, I've, you'll, they're, that's got
zero zero seven, o o seven, oh no, O Captain, one ones twos sixes
point five, point, point blank, three point, three point five million, three point one four one five nine
one million million, two hundred hundred, five thousand thousand, ten hundred, thousands, millions of millionths
twenty ten, twenty nineteen, ten twenty, twenty twenty, fifty one two three, one two three, eleven twelve
thirty thirties, five fifths, two thirds, hundredth, two hundredth, six sixth, twenty fifths
dollars, five cents, cent, $5 5, $ 5, 5$, 5 $5, 5%, % 5, 50 %, $.50, $-5, -5, +5, ¢5, £5 and ¢6, £5 ¢60, $5 ¢600
$1 $1.5 1.5 1 1s 11 1,1 1.0 2.50 0.5 0 00 007 1.0.0
two decillion nine hundred nonillion and one octillion, 3 septillionths, 2.5 quintillion, 1.23 hundred
"Quoted", said Dr. Jones, Jr.; Prof. Capt. Lt. Col. Gov. Rev. Hon. Sen. Rep. Gen. Pres. Esq. Asst. Assoc.
wanna kinda sorta dunno gotta imma i'ma woulda coulda shoulda cause ma'am ain't let's
a.b.c. U.S.A. e.g. i.e. ... .. . .5 5. 5.. 5.5. a.5
under_score hy-phen em—dash sl/ash back\\slash a&b a@b #hash * star ~ ` ^ = | { } "
\u2019curly\u2019 don\u2019t, caf\u0065\u0301, \u00a0nbsp\u00a0x, \u201cq\u201d
eight hundred and, eight hundred and dogs, eight and nine, and nine, hundred and one, thousand and
five hundred double two, double, double one thousand, triple zero percent, double 5
""".strip().splitlines()

WORDS = """zero oh o one two three five eight ten eleven twelve nineteen twenty thirty ninety hundred thousand million
decillion hundreds thousandth first second third twelfth twentieth twenties ones and point double triple minus plus
dollars cents pound percent per cent 0 1 5 12 007 100 1000 3.5 2.0 0.5 $5 £2.50 ¢7 5% 21st 1960s a half the cat , . and
a half""".split()


def sentences(count):
    """All sentences above, and random strings of number words."""
    rng = random.Random(1)
    return SENTENCES + [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(count)]


def score(tmp_path, pairs, *arguments):
    """Pairs of reference and hypothesis. → the object that `eval score --json` writes"""
    lines, out = tmp_path / "pairs.jsonl", tmp_path / "scores.json"
    lines.write_text("".join(json.dumps({"text": a, "hypothesis": b}) + "\n" for a, b in pairs))
    ended = lyra("eval", "score", lines, "--json", out, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(out.read_text())


def is_decided(normalize, sentence):
    """Whether the other normalizer accepts the sentence: some strings of number words fail its assertions."""
    try:
        normalize(sentence)
    except (AssertionError, TypeError, ValueError, IndexError):
        return False
    return True


def test_the_whisper_normalizer_equals_whispers(tmp_path):
    english = pytest.importorskip("whisper_normalizer.english")
    spellings = resources.files("whisper_normalizer") / "normalizers/english.json"
    normalize = english.EnglishTextNormalizer()
    texts = [text for text in sentences(2000) if is_decided(normalize, text)]
    assert len(texts) > 1500
    got = score(tmp_path, [(text, "") for text in texts], "--normalizer", "whisper", "--spellings", spellings)
    for text, line in zip(texts, got["lines"], strict=True):
        assert line["normalized_text"].split() == normalize(text).split(), text


def test_without_a_table_british_spellings_stay(tmp_path):
    got = score(tmp_path, [("The colour GREY.", "")], "--normalizer", "whisper")
    assert got["lines"][0]["normalized_text"] == "the colour grey"


def test_the_reference_normalizer_equals_jiwers(tmp_path):
    jiwer = pytest.importorskip("jiwer")
    got = score(tmp_path, [(text, "") for text in sentences(300)])
    for text, line in zip(sentences(300), got["lines"], strict=True):
        assert [line["normalized_text"].split(" ")] == [*map(list, jiwer.wer_standardize([text]))], text


def test_without_a_normalizer_words_are_separated_by_white_space(tmp_path):
    got = score(tmp_path, [("A  b,\tC.", "a b, C.")], "--normalizer", "none")
    assert got["lines"][0]["normalized_text"] == "A b, C." and got["substitutions"] == 1


def random_pairs(count, longest, rng):
    for _ in range(count):
        reference = rng.choices("abcdefgh", k=rng.randint(1, longest))
        hypothesis = [
            rng.choice("abcdefgh") if rng.random() < 0.2 else word for word in reference if rng.random() > 0.15]
        for _ in range(rng.randint(0, 3)):
            hypothesis.insert(rng.randint(0, len(hypothesis)), rng.choice("xyz"))
        yield " ".join(reference), " ".join(hypothesis)


def test_error_rates_equal_jiwers(tmp_path):
    jiwer = pytest.importorskip("jiwer")
    pairs = [*random_pairs(300, 30, random.Random(2)), *random_pairs(3, 700, random.Random(3))]
    pairs += [("a b c", ""), ("a", "b c d e")]
    got = score(tmp_path, pairs)
    for (reference, hypothesis), line in zip(pairs, got["lines"], strict=True):
        peer = jiwer.process_words(reference, hypothesis)
        errors = line["substitutions"] + line["deletions"] + line["insertions"]
        assert errors == peer.substitutions + peer.deletions + peer.insertions
        assert line["deletions"] - line["insertions"] == peer.deletions - peer.insertions
        assert line["wer"] == pytest.approx(peer.wer, abs=1e-6)
    references, hypotheses = map(list, zip(*pairs))
    assert got["wer"] == pytest.approx(jiwer.wer(references, hypotheses), abs=1e-6)
    as_one = jiwer.wer(
        references, hypotheses, reference_transform=jiwer.wer_standardize_contiguous,
        hypothesis_transform=jiwer.wer_standardize_contiguous)
    assert got["wer_contiguous"] == pytest.approx(as_one, abs=1e-6) and as_one < got["wer"]


def test_texts_without_common_words_are_counted_in_full(tmp_path):
    got = score(tmp_path, [("a " * 500, "b " * 700), ("", "b c")])
    assert (got["words"], got["substitutions"], got["deletions"], got["insertions"]) == (500, 500, 0, 202)
    assert got["wer"] == pytest.approx(702 / 500) and got["wer_contiguous"] == got["wer"]
    assert got["lines"][1]["wer"] is None


def test_the_published_evaluations_results_can_be_scored(tmp_path):
    results = tmp_path / "merge.jsonl"
    results.write_text('{"speech": "x.flac", "text": "it is mine", "gt_text": "IT\'S MINE", "metadata": {}}\n\n')
    ended = lyra("eval", "score", results)
    assert (ended.returncode, ended.stderr) == (0, "")
    header, line, total, as_one = ended.stdout.splitlines()
    assert line.split("\t") == ["0.00 %", "3", "0", "0", "0", "x.flac", "it is mine"]
    assert total.startswith("WER 0.00 % = (0 S + 0 D + 0 I) / 3 words") and as_one.startswith("WER 0.00 %")


@pytest.mark.parametrize("line, part", [
    ("no json", "expected null"), ('{"text": "a"}', "hypothesis"), ('{"text": 1, "hypothesis": ""}', "text"),
    ("\udcff", "UTF-8")])
def test_an_invalid_line_is_named(line, part, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"text": "a", "hypothesis": "b"}\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    fails(lyra("eval", "score", file), f"{file}, line 2", part)


def test_wrong_usage_of_score_is_64(tmp_path):
    is_wrong_usage(lyra("eval", "score"))
    is_wrong_usage(lyra("eval", "score", "x", "--normalizer", "magic"), "magic")
    is_wrong_usage(lyra("eval", "score", "x", "--spellings", "x"), "--spellings")
    fails(lyra("eval", "score", tmp_path / "nowhere"), tmp_path / "nowhere")
