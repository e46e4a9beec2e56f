"""Images are prepared as by Pillow, numpy and, if it is installed, the Qwen2-VL processor of transformers.

`lyra features` writes the pixels as decoded and the patches; here both are computed anew from the same file.
"""

import subprocess

import numpy as np
import pytest
from PIL import Image, ImageOps

from support import fails, is_wrong_usage, lyra, read_safetensors, write_wav

SIZES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 7), (13, 29), (28, 28), (27, 56), (29, 27), (30, 5000), (5000, 30),
         (31, 640), (64, 64), (64, 48), (100, 3), (3, 100), (113, 211), (150, 90), (224, 224), (256, 1), (1, 256),
         (333, 77), (320, 240), (240, 320), (28, 5600), (28, 5601), (500, 375), (640, 31), (701, 499), (1000, 20),
         (20, 1000), (57, 57), (56, 56), (55, 57), (84, 140), (111, 28), (2881, 40), (2880, 16),
         (1600, 1200), (1023, 769)]
MODES = ["RGB", "RGBA", "L", "P", "I;16", "LA"]
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def make(size, mode, seed):
    """An image with smooth areas, edges and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size[1], 0:size[0]]
    planes = [(x * 255 // max(size[0] - 1, 1)), (y * 255 // max(size[1] - 1, 1)), ((x // 9 + y // 7) % 2) * 255]
    rgb = np.stack(planes, -1) + random.integers(-20, 21, (size[1], size[0], 3))
    image = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(Image.fromarray((255 - planes[0]).astype(np.uint8)))
    elif mode == "LA":
        image = image.convert("LA")
        image.putalpha(Image.fromarray(planes[1].astype(np.uint8)))
    elif mode == "P":
        image = image.quantize(200)
    elif mode == "I;16":
        grey = rgb[:, :, 0].clip(0, 255) * 257 + random.integers(0, 200)
        image = Image.fromarray(grey.clip(0, 65535).astype(np.uint16))
    elif mode != "RGB":
        image = image.convert(mode)
    return image


def as_rgb(image):
    """Upright RGB: transparent pixels are blended onto white; 16 bits keep their high byte."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


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


def levels(patches):
    """The levels of patches [t·h·w, channel, frame · row · column], as bytes."""
    return (patches.reshape(len(patches), 3, -1) * STD[:, None] + MEAN[:, None]) * 255


def patches_of(image, grid):
    """Qwen2-VL's patches of an image that Pillow resizes to the grid."""
    height, width = grid[1] * 14, grid[2] * 14
    pixels = np.asarray(image.resize((width, height), Image.BICUBIC), np.float32) * np.float32(1 / 255)
    planes = ((pixels - MEAN) / STD).transpose(2, 0, 1)
    rows = planes.reshape(3, grid[1] // 2, 2, 14, grid[2] // 2, 2, 14).transpose(1, 4, 2, 5, 0, 3, 6)
    return np.repeat(rows.reshape(-1, 3, 1, 196), 2, 2).reshape(-1, 1176)


def features(path, directory, *arguments):
    out = directory / "features.safetensors"
    ended = lyra("features", path, "--out", out, *arguments)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return read_safetensors(out)


def processor():
    """The processor of transformers, if it is installed."""
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as Processor
    except ImportError:
        return None
    return Processor(min_pixels=3136, max_pixels=12845056)


def test_patches_equal_pillow_and_numpy(tmp_path, capsys):
    theirs, worst = processor(), (0.0, None)
    for index, size in enumerate(SIZES):
        mode = MODES[index % len(MODES)]
        path = tmp_path / f"{index}.png"
        make(size, mode, index).save(path)
        image = as_rgb(Image.open(path))
        got = features(path, tmp_path)
        assert np.abs(got["rgb"].astype(int) - np.asarray(image)).max() <= 1, (size, mode)
        grid = got["grid_thw"].tolist()
        wanted = patches_of(bounded(image), grid)
        if theirs is not None:
            made = theirs(images=bounded(image), return_tensors="np")
            assert made["image_grid_thw"][0].tolist() == grid, (size, mode)
            assert np.abs(made["pixel_values"] - wanted).max() < 1e-5
        difference = np.abs(levels(got["patches"]) - levels(wanted))
        if difference.max() >= worst[0]:
            worst = (float(difference.max()), (size, mode, np.unravel_index(difference.argmax(), difference.shape)))
    with capsys.disabled():
        difference, (size, mode, (row, channel, value)) = worst
        print(f"\nlargest difference from Pillow: {difference:.2g} of 255, in {mode} of {size}, patch {row}, "
              f"channel {channel}")
    assert worst[0] <= 1


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_is_close_to_libjpeg(quality, subsampling, tmp_path):
    path = tmp_path / "picture.jpg"
    make((203, 151), "RGB", 1).save(path, quality=quality, subsampling=subsampling)
    difference = np.abs(features(path, tmp_path)["rgb"].astype(int) - np.asarray(Image.open(path)))
    assert difference.max() <= 4 and difference.mean() < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = orientation
    make((64, 40), "RGB", 2).save(path, exif=exif, quality=95, subsampling=0)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    got = features(path, tmp_path)["rgb"].astype(int)
    assert got.shape == wanted.shape and np.abs(got - wanted).max() <= 4


@pytest.mark.parametrize("name", ["a.webp", "a.gif", "a.bmp", "a.tiff"])
def test_other_formats_equal_pillow(name, tmp_path):
    path = tmp_path / name
    make((61, 47), "P" if name == "a.gif" else "RGB", 3).save(path, **({"lossless": True} if name == "a.webp" else {}))
    assert np.array_equal(features(path, tmp_path)["rgb"], np.asarray(as_rgb(Image.open(path))))


def test_clips_of_a_sound_have_their_shape(tmp_path):
    path = tmp_path / "sound.wav"
    write_wav(path, np.sin(np.arange(90_000) / 9) / 2, rate=22_050)
    assert features(path, tmp_path, "--as", "sound")["clips"].shape == (3, 128, 204)


def test_a_file_that_is_not_an_image_is_named(tmp_path):
    path, out = tmp_path / "text.png", tmp_path / "out"
    path.write_text("no picture at all")
    fails(lyra("features", path, "--out", out), path)
    fails(lyra("features", tmp_path / "none.png", "--out", out), tmp_path / "none.png")
    is_wrong_usage(lyra("features", path))
    assert not out.exists()


def test_the_medium_of_another_file_is_named(tmp_path):
    video, sound = tmp_path / "clip.mp4", tmp_path / "sound.wav"
    source = ("-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=4")
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *source, str(video)], check=True)
    write_wav(sound, np.zeros(16000, np.float32))
    fails(lyra("features", video, "--out", tmp_path / "f"), "clip.mp4", "--as video")
    fails(lyra("features", sound, "--out", tmp_path / "f"), "sound.wav", "--as sound")
    (tmp_path / "text").write_text("neither")
    ended = lyra("features", tmp_path / "text", "--out", tmp_path / "f")
    fails(ended, "not an image")
    assert "--as" not in ended.stderr
