"""Images, videos and sound in Python: every kind of source gives the same answer."""

import io
import json
import os
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lyra
from lyra._sources import Pixels, untouched_jpeg

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pixels():
    y, x = np.mgrid[0:44, 0:60]
    return np.stack([x * 4, y * 5, (x + y) % 256], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def picture(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory, recording):
    """Two seconds of video, without and with sound."""
    directory = tmp_path_factory.mktemp("videos")
    make = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", "testsrc=duration=2:size=60x44:rate=10"]
    for name, sound in (("silent.mp4", []), ("spoken.mp4", ["-i", str(recording), "-shortest"])):
        subprocess.run([*make, *sound, "-pix_fmt", "yuv420p", str(directory / name)], check=True)
    return directory


def decoded(path):
    """The pixels that the library decodes from a file: [height, width, 3]."""
    out = path.with_suffix(".safetensors")
    tool = os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra"))
    subprocess.run([tool, "features", str(path), "--out", str(out)], check=True)
    data = out.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + size])["rgb"]
    first, last = entry["data_offsets"]
    return np.frombuffer(data[8 + size + first:8 + size + last], np.uint8).reshape(entry["shape"])


def answer(session):
    """-> the tokens of the answer, and the number of tokens that stood for media"""
    session.feed_text("What is it?")
    for event in session.answer():
        if isinstance(event, lyra.End):
            usage = event.usage
    tokens = session.read_tokens()
    session.reset()
    return tokens, usage.media_tokens


def test_a_model_lists_the_media_that_it_takes(model):
    assert model.info.sees is True and model.info.hears_sound is True and model.info.vision_token_pixels == 28


def test_every_source_of_an_image_gives_the_same_answer(session, picture, pixels):
    data = picture.read_bytes()
    upside_down = pixels[::-1].copy()[::-1]
    wide = np.zeros((44, 80, 3), np.uint8)
    wide[:, 10:70] = pixels
    sources = [picture, str(picture), data, bytearray(data), io.BytesIO(data), pixels, upside_down, wide[:, 10:70],
               Image.open(picture), Image.fromarray(pixels).convert("RGBA"), memoryview(pixels)]
    answers = []
    for source in sources:
        session.feed_image(source)
        answers.append(answer(session))
    assert answers[0][1] == 4 and all(other == answers[0] for other in answers[1:])


def pil_images():
    """-> name, image, suffix and options of the file that holds the same"""
    random = np.random.default_rng(5)
    color = random.integers(0, 256, (44, 60, 3), np.uint8)
    alpha = random.integers(0, 256, (44, 60, 1), np.uint8)
    wide = random.integers(0, 65536, (44, 60), np.uint16)
    rgb, rgba = Image.fromarray(color), Image.fromarray(np.dstack([color, alpha]))
    palette = rgb.quantize(40)
    for image in (rgb, rgba, rgb.convert("L"), rgba.convert("LA"), rgb.convert("1"), palette, Image.fromarray(wide)):
        yield image.mode, image, "png", {}
    big = Image.frombytes("I;16B", (60, 44), wide.astype(">u2").tobytes())
    yield "I;16B", big, "tif", {}
    for clear in (3, bytes([0, 255, 128])):
        yield f"P {clear}", palette, "png", {"transparency": clear}
    yield "1 clear", rgb.convert("1"), "png", {"transparency": 0}
    yield "L clear", rgb.convert("L"), "png", {"transparency": 90}
    yield "RGB clear", rgb, "png", {"transparency": tuple(int(v) for v in color[0, 0])}
    yield "I;16 clear", Image.fromarray(wide), "png", {"transparency": int(wide[0, 0])}
    for image in (rgb.convert("CMYK"), rgba, rgba.convert("LA"), palette):
        yield f"{image.mode} tif", image, "tif", {}
    yield "CMYK jpg", rgb.convert("CMYK"), "jpg", {"quality": 95}
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        for suffix in ("png", "jpg", "webp", "tif"):
            yield f"{orientation} {suffix}", rgb, suffix, {"exif": exif}


@pytest.mark.parametrize("name, image, suffix, options", [pytest.param(*p, id=p[0]) for p in pil_images()])
def test_a_pil_image_gives_what_its_file_gives(tmp_path, name, image, suffix, options):
    """The pixels that are fed equal those that the library decodes from the file, except for JPEG, which Pillow decodes
    with libjpeg-turbo."""
    path = tmp_path / f"a.{suffix}"
    image.save(path, **options)
    wanted = decoded(path)
    # Not loaded yet; loaded; and, if the file has no other data, as it was made.
    with Image.open(path) as fresh, Image.open(path) as loaded:
        loaded.load()
        sources = [fresh, loaded] + ([] if options or suffix == "jpg" else [image])
        if image.mode == "I;16" and not options:
            sources.append(image.convert("I"))
        for source in sources:
            pixels = Pixels.of(source, dimensions=3)
            assert (pixels.height, pixels.width) == wanted.shape[:2]
            got = np.frombuffer(pixels.data, np.uint8).reshape(wanted.shape)
            assert np.abs(got.astype(int) - wanted).max() <= (3 if suffix == "jpg" else 0)


def test_a_jpeg_that_pil_has_opened_is_its_file(session, picture, tmp_path):
    path = tmp_path / "a.jpg"
    Image.open(picture).convert("RGB").save(path, quality=90)
    with Image.open(path) as opened:
        assert untouched_jpeg(opened) == path.read_bytes()
        # The image can still be used, and is then no longer unmodified.
        assert opened.getpixel((0, 0)) is not None and untouched_jpeg(opened) is None
    answers = []
    for source in (path, Image.open(path)):
        session.reset()
        session.feed_image(source)
        answers.append(answer(session))
    assert answers[0] == answers[1]
    with Image.open(path) as smaller:
        smaller.draft("RGB", (8, 8))
        assert smaller.size == (60, 44) or untouched_jpeg(smaller) is None
    assert untouched_jpeg(Image.open(picture)) is None and untouched_jpeg(b"") is None


@pytest.mark.parametrize("form", ["tiff:Orientation = '6'", 'tiff:Orientation="6"', "tiff:Orientation='6'"])
def test_xmp_in_any_spelling_turns_a_pil_image(tmp_path, form):
    packet = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description {form}/></rdf:RDF></x:xmpmeta>"
    path = tmp_path / "a.webp"
    Image.fromarray(np.random.default_rng(6).integers(0, 256, (20, 30, 3), np.uint8)).save(
        path, lossless=True, xmp=packet.encode())
    with Image.open(path) as image:
        assert Pixels.of(image, dimensions=3).data == decoded(path).tobytes()
    assert decoded(path).shape == (30, 20, 3)


def test_a_pil_image_of_16_bits_where_white_is_0(tmp_path):
    path = tmp_path / "a.tif"
    wide = np.random.default_rng(5).integers(0, 65536, (44, 60), np.uint16)
    Image.fromarray(wide).save(path)
    data = bytearray(path.read_bytes())
    place = data.index(bytes([262 & 255, 1, 3, 0, 1, 0, 0, 0, 1, 0]))
    data[place + 8] = 0
    path.write_bytes(data)
    with Image.open(path) as image:
        assert Pixels.of(image, dimensions=3).data == decoded(path).tobytes()
    assert (decoded(path)[..., 0] == 255 - (wide >> 8)).all()


def test_a_premultiplied_pil_image(tmp_path):
    rgba = Image.fromarray(np.random.default_rng(6).integers(0, 256, (20, 30, 4), np.uint8))
    premultiplied = rgba.convert("RGBa")
    premultiplied.convert("RGBA").save(tmp_path / "a.png")
    assert Pixels.of(premultiplied, dimensions=3).data == decoded(tmp_path / "a.png").tobytes()


@pytest.mark.parametrize("image", [
    Image.fromarray(np.zeros((4, 4), np.float32)), Image.fromarray(np.full((4, 4), 70_000, np.int32)),
    Image.fromarray(np.full((4, 4), -1, np.int32))])
def test_samples_without_a_range_are_an_error(session, image):
    with pytest.raises(ValueError):
        session.feed_image(image)


def test_an_image_is_not_needed_after_the_call(session, picture, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(picture.read_bytes())
    session.feed_image(copy)
    copy.unlink()
    file = io.BytesIO(picture.read_bytes())
    session.feed_image(file)
    file.close()
    assert answer(session)[1] == 8


@pytest.mark.parametrize("source, error", [
    (np.zeros((4, 4), np.uint8), ValueError), (np.zeros((4, 4, 4), np.uint8), ValueError),
    (np.zeros((2, 4, 4, 3), np.uint8), ValueError), (np.zeros((4, 4, 3), np.float32), TypeError),
    (np.zeros((4, 4, 3), np.int8), TypeError), (7, TypeError), (None, TypeError), ([1, 2], TypeError)])
def test_invalid_images_are_errors(session, source, error):
    with pytest.raises(error):
        session.feed_image(source)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (1, 70_000, 3)])
def test_the_library_refuses_impossible_images(session, shape):
    with pytest.raises(lyra.LyraError) as failure:
        session.feed_image(np.zeros(shape, np.uint8))
    assert failure.value.code == lyra.Status.ARGUMENT


def test_every_source_of_a_video_gives_the_same_answer(session, videos):
    path = videos / "silent.mp4"
    answers = []
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        session.feed_video(source)
        answers.append(answer(session))
    assert answers[0][1] == 8 and all(other == answers[0] for other in answers[1:])


def test_frames_and_options_of_a_video(session, videos, pixels):
    session.feed_video(videos / "silent.mp4", max_frames=2)
    assert answer(session)[1] == 4
    session.feed_video(np.stack([pixels, pixels, pixels]))
    odd = answer(session)
    session.feed_video(np.stack([pixels] * 4))
    assert answer(session) == odd and odd[1] == 8
    session.feed_video(videos / "spoken.mp4", with_audio=True)
    assert answer(session)[1] == 8 + 300
    with pytest.raises(lyra.LyraError) as failure:
        session.feed_video(videos / "silent.mp4", with_audio=True)
    assert failure.value.code == lyra.Status.MISSING and "audio" in str(failure.value)
    with pytest.raises(TypeError):
        session.feed_video(np.stack([pixels] * 2), fps=1)
    with pytest.raises(ValueError):
        session.feed_video(pixels)


def test_every_source_of_a_sound_gives_the_same_answer(session, recording):
    answers = []
    for source in (recording, recording.read_bytes(), io.BytesIO(recording.read_bytes())):
        session.feed_sound(source)
        answers.append(answer(session))
    assert answers[0][1] == 3 and all(other == answers[0] for other in answers[1:])
    session.feed_sound(array("f", [0.0] * 16_000), 16_000)
    assert answer(session)[1] == 3
    with pytest.raises(TypeError):
        session.feed_sound(recording, 16_000)


def test_samples_of_no_channels_are_an_error(session):
    with pytest.raises(ValueError):
        session.feed_sound(np.zeros((5, 0), np.float32), 16_000)


def test_images_are_shrunk_and_refused_on_request(model, tmp_path):
    large = np.full((560, 560, 3), 90, np.uint8)
    with model.session(sampling="greedy", max_new_tokens=2, max_image_pixels=28 * 28 * 100) as few:
        few.feed_image(large)
        assert answer(few)[1] == 100
    path = tmp_path / "large.png"
    Image.fromarray(large).save(path)
    with model.session(limit_pixels=1000) as narrow, pytest.raises(lyra.LyraError) as failure:
        narrow.feed_image(path)
    assert failure.value.code == lyra.Status.MEMORY


def test_the_example_describes_a_folder(checkpoint, picture, tmp_path):
    (tmp_path / "b.png").write_bytes(picture.read_bytes())
    (tmp_path / "a.png").write_bytes(picture.read_bytes())
    (tmp_path / "text.txt").write_text("no picture")
    example = ROOT / "examples/python/describe_folder.py"
    command = [sys.executable, str(example), "--model", str(checkpoint), str(tmp_path)]
    ended = subprocess.run([*command, "--greedy", "--max-tokens", "4"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a.png", "b.png"]
    assert lines[0].split("\t")[1] == lines[1].split("\t")[1]
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    ended = subprocess.run([*command, "--greedy", "--max-tokens", "4"], capture_output=True, text=True)
    assert ended.returncode == 1 and "c.jpg" in ended.stderr and len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("kind", [os.fsdecode, bytes])
def test_paths_need_not_be_utf8(kind, checkpoint, recording, tmp_path):
    """A path is what the system takes: text as os.fsdecode gives it, or bytes."""
    folder = os.fsencode(tmp_path) + b"/dir-\xe9"
    os.mkdir(folder)
    os.symlink(os.fsencode(checkpoint), folder + b"/mod\xe8le")
    os.symlink(os.fsencode(recording), folder + b"/a\xe9.wav")
    with lyra.Model(kind(folder + b"/mod\xe8le"), towers=kind(folder)) as model, model.session() as session:
        session.feed_audio(Path(os.fsdecode(folder + b"/a\xe9.wav")))
        session.cancel()
        session.feed_text("Hello")
        list(session.answer())
        session.save(kind(folder + b"/state\xe9"))
        session.restore(kind(folder + b"/state\xe9"))
        with pytest.raises(lyra.LyraError, match=r"dir-\\xE9/no\\xE9"):
            session.feed_audio(Path(os.fsdecode(folder + b"/no\xe9")))
