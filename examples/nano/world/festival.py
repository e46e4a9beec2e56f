"""Festival as one process that is fed with Scheme: diphone voices and a statistical one."""

import functools
import shutil
import subprocess
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

from . import phones
from .signals import resampled
from .utterance import RATE, SpeechError, Utterance, filled, matched, tokens
from .wav import read_wav

# By name: the function that selects the voice, and its folder under /usr/share/festival/voices.
VOICES = {
    "kal": ("voice_kal_diphone", "english/kal_diphone"),
    "ked": ("voice_ked_diphone", "english/ked_diphone"),
    "slt-hts": ("voice_cmu_us_slt_arctic_hts", "us/cmu_us_slt_arctic_hts"),
}
FOLDER = Path("/usr/share/festival/voices")
DONE = "end-of-utterance"
SCHEME = f"""
(define (nano.say text stretch pitch path)
  (Parameter.set 'Duration_Stretch stretch)
  (if (> pitch 0)
    (set! int_lr_params (list (list 'target_f0_mean pitch) (list 'target_f0_std (* pitch 0.13))
      (list 'model_f0_mean 170) (list 'model_f0_std 34))))
  (set! nano.utt (utt.synth (eval (list 'Utterance 'Text text))))
  (utt.save.wave nano.utt path 'riff)
  (mapcar (lambda (s) (format t "phone %s %f\\n" (item.name s) (item.feat s 'end)))
    (utt.relation.items nano.utt 'Segment))
  (mapcar (lambda (w) (format t "word %s %f %f\\n" (item.name w)
      (item.feat w 'word_start) (item.feat w 'word_end)))
    (utt.relation.items nano.utt 'Word))
  (format t "{DONE}\\n")
  (fflush nil))
"""


def is_installed() -> bool:
    return shutil.which("festival") is not None and all(
        (FOLDER / folder).is_dir() for _, folder in VOICES.values())


class Festival:
    """A running process. It reads what it says from a pipe and writes recordings to a folder."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="nano-festival-")
        self.process = subprocess.Popen(
            ["festival", "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, encoding="ascii")
        self.voice = None
        self.write(SCHEME)

    def write(self, scheme: str):
        self.process.stdin.write(scheme + "\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=5)
        self.folder.cleanup()

    def say(self, text: str, voice: str, stretch: float, pitch: float):
        """→ samples, samples a second, segments (symbol, end), words (word, start, end)"""
        path = Path(self.folder.name) / "said.wav"
        if voice != self.voice:
            self.write(f"({VOICES[voice][0]})")
            self.voice = voice
        line = text.replace("\n", " ")
        self.write(f'(nano.say "{line}" {stretch:.4f} {pitch:.2f} "{path}")')
        segments, words = [], []
        for answer in self.process.stdout:
            kind, *parts = answer.split()
            if kind == "phone":
                segments.append((parts[0], float(parts[1])))
            elif kind == "word":
                words.append((parts[0], float(parts[1]), float(parts[2])))
            elif kind == DONE:
                return *read_wav(path), segments, words
        raise SpeechError(f"Festival ended while it said {text!r} with the voice {voice}")


@functools.cache
def running() -> Festival:
    """The process of this program, started at the first call."""
    found = Festival()
    # Unlike atexit's functions, this is called in the processes of a pool too.
    Finalize(None, found.close, exitpriority=0)
    return found


def say(text: str, voice="kal", stretch=1.0, pitch=0.0) -> Utterance:
    """Reads a text aloud.

    stretch: of all durations; 1.2 is slower
    pitch: mean F0 of a diphone voice in Hz; 0 is the voice's own
    """
    tokens(text)
    if not is_installed():
        raise SpeechError(
            "Festival or a voice of it is not installed; install Debian's festival, "
            "festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts")
    stored, rate, segments, said = running().say(text, voice, stretch, pitch)
    samples, factor = (stored, 1) if rate == RATE else resampled(stored, RATE / rate)
    heard, start = [], 0.0
    for symbol, end in segments:
        heard.append((phones.of_cmu(symbol), start, end))
        start = end
    words = matched(said, text, f"festival {voice}")
    return Utterance(samples, filled(heard, len(samples) / RATE), words)
