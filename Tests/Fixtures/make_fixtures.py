"""Makes the fixtures `a` and `b` of the model and session tests from a folder of golden data.

    python make_fixtures.py GOLDEN

GOLDEN holds `a` and `b`, each with a small random checkpoint in the published layout (`lyra`), its towers (`model_zoo`)
and golden cases of every stage, computed by an independent implementation in float32 (`cases/*.safetensors`: tensors
in.* are inputs, out.* are expected outputs). What the tests do not use is omitted: Whisper's decoder, most frames and
rows of large outputs, and inputs that can be derived from others. Needs numpy.
"""
import json
import os
import shutil
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
# Tensors of the speech tower that are omitted.
DROPPED = ("decoder.",)
# Of mel frames, encoder positions and speech tokens, every 16th is kept.
STRIDE = 16
TURN = (
    "out.positions", "out.next_position", "out.ids", "out.first_logits", "out.hidden", "out.ctc_logits", "out.units",
    "out.frames", "out.wav")
EXTRACTOR = (
    *(n for n in TURN if n != "out.ctc_logits"), "in.embeddings", *(f"out.kept_{i}" for i in range(8)))
# The tokens of speech_short are rows of turn_speech's embeddings; speech_short's samples give those of speech_long.
CASES = {
    "speech_short": ("in.pcm", "out.mel", "out.encoder"),
    "speech_tail": ("in.pcm", "out.tokens"),
    "speech_long": ("out.tokens",),
    "speech_generator": ("in.hidden", "out.ctc_logits", "out.units"),
    "turn_text": TURN + ("in.embeddings",),
    "turn_speech": TURN + ("in.embeddings",),
    "turn_long": TURN + ("in.embeddings",),
    "turn_image_text": TURN + ("in.embeddings",),
    "turn_image_speech": TURN,
    "turn_sound": TURN,
    "turn_video": TURN,
    "turn_long_extractor": EXTRACTOR,
    "turn_image_extractor": EXTRACTOR,
    # The frames of video_frames derive from image_small; the sounds are sections of speech_short's samples.
    "image_small": ("in.rgb", "out.grid_thw", "out.tokens"),
    "image_tall": ("out.grid_thw", "out.tokens"),
    "image_tiny": ("out.grid_thw", "out.tokens"),
    "video_frames": ("out.grid_thw", "out.tokens"),
    "sound_bells": ("out.embedding", "out.tokens"),
    "sound_click": ("out.embedding", "out.tokens"),
    # Losses and their gradients in float64.
    "lcmr": ("in.speech", "in.text", "out.loss", "out.grad_speech", "out.grad_text"),
    "ctc": ("in.logits", "in.targets", "out.loss", "out.grad"),
}
# One sample of stage 2 each: losses, and gradients of the adapter and its projector. All tensors are kept, but only
# every 16th row of a gradient of more elements than this.
TRAINING = ("train_plain", "train_extractor")
LARGEST_GRADIENT = 20_000


def read(path):
    """→ header entries by name, and the bytes of each tensor."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: (entry, body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (entry, body) in tensors.items():
        header[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": [offset, offset + len(body)]}
        offset += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(body for _, body in tensors.values()))


def strided(tensor, axis):
    """Every STRIDEth frame or row of the first window, or of all windows if they are joined already."""
    entry, body = tensor
    values = np.frombuffer(body, dtype=np.float32).reshape(entry["shape"])
    values = values[0] if values.ndim == 3 else values
    picked = np.ascontiguousarray(values.take(range(0, values.shape[axis], STRIDE), axis))
    return {"dtype": entry["dtype"], "shape": list(picked.shape)}, picked.tobytes()


def copy_model(source, target):
    for folder, _, files in os.walk(source):
        destination = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(destination, exist_ok=True)
        for name in files:
            path, copy = os.path.join(folder, name), os.path.join(destination, name)
            if name.endswith(".safetensors"):
                write(copy, {n: t for n, t in sorted(read(path).items()) if not n.startswith(DROPPED)})
            elif name.endswith(".safetensors.index.json"):
                with open(path) as file:
                    index = json.load(file)
                index["weight_map"] = {n: f for n, f in index["weight_map"].items() if not n.startswith(DROPPED)}
                with open(copy, "w") as file:
                    json.dump(index, file, indent=1)
            else:
                shutil.copyfile(path, copy)


def copy_cases(source, target):
    os.makedirs(target)
    for name, wanted in CASES.items():
        tensors = read(os.path.join(source, name + ".safetensors"))
        tensors = {n: t for n, t in sorted(tensors.items()) if n in wanted}
        for output, axis in (("out.mel", 1), ("out.encoder", 0), ("out.tokens", 0)):
            if output in tensors and name.startswith("speech_"):
                tensors[output] = strided(tensors[output], axis)
        write(os.path.join(target, name + ".safetensors"), tensors)
    for name in TRAINING:
        tensors = read(os.path.join(source, name + ".safetensors"))
        for output, (entry, _) in tensors.items():
            if output.startswith("out.grad") and np.prod(entry["shape"]) > LARGEST_GRADIENT:
                tensors[output] = strided(tensors[output], 0)
        write(os.path.join(target, name + ".safetensors"), dict(sorted(tensors.items())))


def main():
    for variant in ("a", "b"):
        source, target = os.path.join(sys.argv[1], variant), os.path.join(HERE, variant)
        shutil.rmtree(target, ignore_errors=True)
        copy_model(os.path.join(source, "lyra"), os.path.join(target, "lyra"))
        copy_model(*(os.path.join(root, "model_zoo") for root in (source, target)))
        if variant == "a":  # its speech and vision towers are inside the checkpoint
            for tower in ("audio/whisper-tiny", "vision/Qwen2VL_tiny_ViT"):
                os.remove(os.path.join(target, "model_zoo", tower, "model.safetensors"))
        copy_cases(os.path.join(source, "cases"), os.path.join(target, "cases"))


if __name__ == "__main__":
    main()
