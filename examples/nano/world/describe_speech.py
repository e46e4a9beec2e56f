"""The part of WORLD.md about speech: who speaks, how it is recorded, and what is held out."""

from . import acoustics, espeak, festival, flite, noises, speech_sets, voices
from .markdown import table


def sounds_like(noise) -> str:
    """The first line of a noise's description, without the name's article."""
    return (noise.__doc__ or noise.__name__).strip().split("\n")[0]


def synthesizers() -> str:
    kept = voices.held_out()["synthesizer"]
    return table(("synthesizer", "how often", "voices"), [
        ("eSpeak NG", f"{voices.WEIGHTS['espeak']:.0%}",
         f"accents: {', '.join(espeak.ACCENTS)}<br>with variants: none, "
         + ", ".join(filter(None, voices.VARIANTS))),
        ("Flite", f"{voices.WEIGHTS['flite']:.0%}",
         ", ".join(each for each in flite.VOICES if f"flite:{each}" not in kept)),
        ("Festival", f"{voices.WEIGHTS['festival']:.0%}",
         ", ".join(each for each in festival.VOICES if f"festival:{each}" not in kept))])


def held_out_voices() -> str:
    kept = voices.held_out()
    return (
        "Training and tuning never hear these voices:\n\n"
        f"- the held-out synthesizer: {', '.join(kept['synthesizer'])} (one speaker, two "
        "synthesizers)\n"
        f"- voices of eSpeak NG, {len(kept['voices'])} of {len(espeak.ACCENTS)} accents x "
        f"{len(voices.VARIANTS)} variants: {', '.join(kept['voices'])}\n"
        "- people: the clips of Debian's asterisk-core-sounds-en-g722\n")


def changes() -> str:
    return table(("how often", "what", "from", "to"), [
        (f"{chance:.0%}", what, *((f"{low:g}", f"{high:g}") if low < high else ("", "")))
        for name, (chance, low, high, what) in acoustics.CHANGES.items() if name != "tempo"] + [
        (f"{acoustics.CHANGES['tempo'][0]:.0%}", acoustics.CHANGES["tempo"][3],
         f"{acoustics.TEMPO_MIDDLE[0] - acoustics.TEMPO_SPREAD:g}",
         f"{acoustics.TEMPO_MIDDLE[1] + acoustics.TEMPO_SPREAD:g}")])


def speech_section() -> str:
    low, high = speech_sets.LONG_WINDOWS
    return "\n".join((
        "## Speech\n",
        "Questions, statements and stories are read aloud by synthesizers. A recording has at most "
        f"{speech_sets.WINDOW_SECONDS:g} s, the tower's window. The recording of a story fills "
        f"{low} to {high} windows: one voice reads the facts with pauses between them. The "
        "question is typed, or is a second recording by any voice. eSpeak NG speaks "
        f"{voices.SPEEDS[0]} to {voices.SPEEDS[1]} words a minute.\n",
        synthesizers(),
        "Spoken answers are read by one voice, which is monotone at about 100 Hz: eSpeak NG's "
        f"{voices.ANSWER_VOICE['accent']} with the variant {voices.ANSWER_VOICE['variant']}. "
        "Answers to commands are not spoken.\n",
        "What is done to a recording in training, besides a noise of the microphone itself that is "
        f"{acoustics.FLOOR[0]} to {acoustics.FLOOR[1]} dB below speech:\n",
        changes(),
        f"If the pitch alone is multiplied by more than {acoustics.HIGH_VOICE:g}, the formants are multiplied by "
        f"{acoustics.HIGH_TRACT[0]:g} to {acoustics.HIGH_TRACT[1]:g}.\n",
        "Kinds of noise in training:\n",
        table(("noise", "what it is"), [
            (name, sounds_like(noises.ALL[name])) for name in noises.TRAINED]),
        "Kinds of noise that training never hears:\n",
        table(("noise", "what it is"), [
            (name, sounds_like(noises.ALL[name])) for name in noises.HELD_OUT]),
        held_out_voices()))
