"""lyra: text, speech, images, video and sound in; text and speech out, together and streamed.

    import lyra

    with lyra.Model("lyra:nano") as model, model.session(speak=True) as session:
        session.feed_audio("examples/media/sky.wav")
        for event in session.answer():
            if isinstance(event, lyra.Text):
                print(event.text, end="", flush=True)
            elif isinstance(event, lyra.Audio):
                play(event.samples, event.sample_rate)

With a microphone, most of the work is done while the user speaks:

    for samples in microphone:
        session.feed_audio(samples, 16_000, more=True)
        while session.work_ahead():
            pass

``lyra.Together`` generates the answers of several sessions together, each read of the weights for all of them.

``session.save`` writes a conversation, or a recording that was computed ahead, to a file. Long inputs take less time
and memory with ``model.session(extractor=(4, 0.7), kv_type="f16")``.

The package is a thin layer over liblyra.so. It takes the file that the environment variable LYRA_LIBRARY names, else
searches this package's directory, then the system's library path. numpy is not needed, but its arrays can be fed, and
``numpy.asarray(event.samples)`` makes an array without a copy.

Threads: a Model may be shared by any threads. A Session belongs to one thread at a time, and only ``stop`` and
``cancel`` may be called from another. Other Python threads run while the library computes.
"""

from ._library import version
from .errors import LyraError, Status
from .events import Audio, End, Event, Phase, Progress, StopReason, Text, Usage
from .extractor import Extractor
from .media import MediaKind, Medium
from .model import Model, ModelInfo
from .session import Session
from .together import Together

__all__ = [
    "Audio",
    "End",
    "Event",
    "Extractor",
    "LyraError",
    "MediaKind",
    "Medium",
    "Model",
    "ModelInfo",
    "Phase",
    "Progress",
    "Session",
    "Status",
    "StopReason",
    "Text",
    "Together",
    "Usage",
    "version",
]
