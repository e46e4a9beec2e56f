"""Makes images.json: the results of other programs for the test images. Needs Pillow, numpy and transformers.

    python make_images.py

`resize`: hashes of the bytes of images of every shape, made smaller and larger by Pillow's bicubic and nearest-neighbor
resampling. `prepare`: the grid, and a hash of the levels of the patches, after the reference's size rules and the
Qwen2-VL image processor of transformers. `frames`: the frames that qwen-vl-utils chooses.
"""
import json
import math
import os

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as Processor

SIZES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 7), (13, 29), (28, 28), (27, 56), (29, 27), (30, 5000), (5000, 30),
         (31, 640), (64, 64), (64, 48), (100, 3), (3, 100), (113, 211), (150, 90), (224, 224), (256, 1), (1, 256),
         (333, 77), (320, 240), (240, 320), (28, 5600), (28, 5601), (500, 375), (640, 31), (701, 499), (1000, 20),
         (20, 1000),
         (57, 57), (56, 56), (55, 57), (84, 140), (111, 28), (2881, 40), (2880, 16), (3000, 2000), (1023, 769)]


def picture(width, height):
    """Integers only, so that every language makes the same bytes."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red = (x * 7 + y * 3 + (x * y) % 251) % 256
    green = (x * x + 5 * y) % 256
    blue = ((x // 5 + y // 3) % 2) * 255
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def fnv(data):
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def bounded(image):
    """The reference's size rules, which come before the processor."""
    if max(image.size) > 2880:
        factor = 2880 / max(image.size)
        image = image.resize([max(1, int(side * factor)) for side in image.size], Image.NEAREST)
    if min(image.size) < 28:
        image = image.resize([max(side, 28) for side in image.size], Image.NEAREST)
    if image.width / image.height > 200:
        image = image.resize((image.height * 180, image.height), Image.NEAREST)
    if image.height / image.width > 200:
        image = image.resize((image.width, image.width * 180), Image.NEAREST)
    return image


def frames(total, rate, fps, most):
    count = min(max(total / rate * fps, 4), most // 2 * 2)
    count = round(count / 2) * 2
    return torch.linspace(0, total - 1, count).round().long().tolist()


def main():
    resize = []
    for index, (width, height) in enumerate(SIZES):
        target = ((width * 5 + index * 13) // (3 + index % 7), (height * 3 + index * 7) // (2 + index % 5))
        target = tuple(min(max(1, side), 1500) for side in target)
        image = picture(width, height)
        resize.append({"from": [width, height], "to": list(target),
                       "bicubic": fnv(image.resize(target, Image.BICUBIC).tobytes()),
                       "nearest": fnv(image.resize(target, Image.NEAREST).tobytes())})
    processor = Processor(min_pixels=3136, max_pixels=12845056)
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    prepare = []
    for width, height in [size for size in SIZES if size[0] * size[1] <= 200_000]:
        out = processor(images=bounded(picture(width, height)), return_tensors="pt")
        patches = out["pixel_values"].double().numpy().reshape(-1, 3, 2 * 14 * 14)
        levels = np.rint((patches * std[:, None] + mean[:, None]) * 255).astype(np.uint8)
        prepare.append({"from": [width, height], "grid": out["image_grid_thw"][0].tolist(),
                        "levels": fnv(levels.tobytes())})
    chosen = [{"total": t, "rate": r, "fps": f, "most": m, "frames": frames(t, r, f, m)}
              for t, r, f, m in [(300, 30.0, 2.0, 16), (75, 25.0, 2.0, 16), (10_000, 29.97, 2.0, 16),
                                 (4, 1.0, 2.0, 16), (50, 10.0, 2.0, 768), (250, 25.0, 1.0, 7),
                                 (123_457, 23.976, 2.0, 64), (9, 3.0, 2.0, 16), (100, 60.0, 2.0, 16)]]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "images.json"), "w") as file:
        file.write("{\n" + ",\n".join(
            f' "{name}": [\n  ' + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]"
            for name, rows in (("resize", resize), ("prepare", prepare), ("frames", chosen))) + "\n}\n")


if __name__ == "__main__":
    main()
