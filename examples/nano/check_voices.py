#!/usr/bin/env python3
"""Lets PocketSphinx write down what voices say, and prints the word error rate of each.

    check_voices.py --count 50 flite:rms espeak:en-us+f2
    check_voices.py --count 10            # every installed voice; takes hours
    check_voices.py --answers             # the voice of spoken answers

The texts are the held-out statements and questions, in a quiet room.
"""

import argparse
import random
import sys

from world import acoustics, evaluation, listener, voices
from world.text import spoken
from world.utterance import SpeechError


def texts(count: int) -> list:
    lines = [line["sentence"] for line in evaluation.read("sentences")]
    lines += [line["question"] for line in evaluation.read("questions")]
    return random.Random(0).sample(lines, min(count, len(lines)))


def error_rate(said) -> float:
    """said: utterances"""
    heard = listener.hear([utterance.samples for utterance in said])
    return listener.word_error_rate(heard, [spoken(utterance.text) for utterance in said])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("voices", nargs="*", help="names of voices; none means all installed")
    parser.add_argument("--count", type=int, default=50, help="texts for each voice")
    parser.add_argument("--answers", action="store_true", help="the voice of spoken answers")
    options = parser.parse_args()
    chosen = options.voices or voices.installed(voices.every_voice())
    try:
        if options.answers:
            rate = error_rate([voices.say_answer(text) for text in texts(options.count)])
            print(f"answers {100 * rate:.1f} %")
            return 0
        for voice in chosen:
            rng = random.Random(0)
            said = [
                acoustics.recorded(voices.say(text, voice, index), acoustics.clean(rng), rng)
                for index, text in enumerate(texts(options.count))]
            print(f"{voice} {100 * error_rate(said):.1f} %", flush=True)
    except SpeechError as error:
        print(f"check_voices.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
