#!/usr/bin/env python3
"""Asks a model about a recording: text streams to standard output, and the spoken answer goes into a WAV file.

usage: speak.py [--model MODEL] [--towers DIR] [--greedy] [--max-tokens N] AUDIO OUT.wav [PROMPT]

The model is lyra:nano, if lyra was built with it, unless another is named. Without a prompt, the recording is the
question.
"""

import argparse
import sys
import wave
from array import array
from contextlib import ExitStack

import lyra


def main() -> int:
    parser = argparse.ArgumentParser(description="Asks a model about a recording.")
    parser.add_argument("--model", default="lyra:nano", help="a checkpoint directory or a one-file model")
    parser.add_argument("audio", help="a recording of speech")
    parser.add_argument("out", help="the WAV file for the spoken answer")
    parser.add_argument("prompt", nargs="?", help="text that follows the recording")
    parser.add_argument("--towers", help="a directory that is searched last for towers and vocoder")
    parser.add_argument("--greedy", action="store_true", help="always the most likely token")
    parser.add_argument("--max-tokens", type=int, default=0, help="the most tokens of the answer")
    arguments = parser.parse_args()

    try:
        with lyra.Model(arguments.model, towers=arguments.towers, log=note) as model:
            answer(model, arguments)
    except (lyra.LyraError, OSError) as error:
        print(f"speak.py: {error}", file=sys.stderr)
        return 1
    return 0


def answer(model: lyra.Model, arguments: argparse.Namespace) -> None:
    sampling = "greedy" if arguments.greedy else "default"
    with ExitStack() as opened:
        session = opened.enter_context(
            model.session(speak=True, sampling=sampling, max_new_tokens=arguments.max_tokens)
        )
        session.feed_audio(arguments.audio)
        if arguments.prompt:
            session.feed_text(arguments.prompt)
        out = None
        for event in session.answer():
            if isinstance(event, lyra.Text):
                print(event.text, end="", flush=True)
                continue
            # Not earlier, because this empties an existing file.
            if out is None and isinstance(event, (lyra.Audio, lyra.End)):
                out = opened.enter_context(wave_file(arguments.out, model.info.audio_sample_rate))
            if isinstance(event, lyra.Audio):
                out.writeframes(pcm16(event.samples))
            elif isinstance(event, lyra.End):
                print()
                seconds = event.usage.audio_samples / model.info.audio_sample_rate
                note("info", f"{event.usage.generated_tokens} tokens, {seconds:.1f} s of speech in {arguments.out}")


def wave_file(path: str, rate: int) -> wave.Wave_write:
    """A mono WAV file of 16-bit samples, to be written."""
    out = wave.open(path, "wb")
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(rate)
    return out


def pcm16(samples: "array[float]") -> bytes:
    """Samples in -1…1 as 16-bit little-endian PCM."""
    pcm = array("h", (round(max(-1.0, min(1.0, sample)) * 32767) for sample in samples))
    if sys.byteorder == "big":
        pcm.byteswap()
    return pcm.tobytes()


def note(level: str, message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
