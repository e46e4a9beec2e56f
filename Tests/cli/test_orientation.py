"""Images are turned upright by EXIF of any integer type, or else by XMP, in every format that supports them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from picture_files import HEIGHT, WIDTH, Tiff, check, decoded, png, smooth


def exif(value, kind=3, big_endian=False):
    order, mark = (">", b"MM") if big_endian else ("<", b"II")
    code = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}[kind]
    body = struct.pack(order + code, value)
    # A text tag comes first, as in files of cameras.
    return mark + struct.pack(order + "HIHHHI4s", 42, 8, 2, 0x10f, 2, 4, b"abc\0") + struct.pack(
        order + "HHI", 0x112, kind, 1) + body + bytes(4 - len(body)) + bytes(4)


def xmp(value, form):
    text = {"attribute": f"<rdf:Description tiff:Orientation=\"{value}\"/>",
            "single": f"<rdf:Description tiff:Orientation = '{value}'/>",
            "element": f"<rdf:Description><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>"}[form]
    return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>{text}</rdf:RDF></x:xmpmeta>".encode()


def jpeg(*segments):
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "JPEG", quality=95)
    data = file.getvalue()
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + data[2:]


def webp(*chunks):
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "WEBP", lossless=True)
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    extended = b"VP8X" + struct.pack("<II", 10, 0x0c) + size
    body = extended + file.getvalue()[12:]
    for name, data in chunks:
        body += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def plain_png(*chunks):
    return png(WIDTH, HEIGHT, 8, 2, [row.tobytes() for row in smooth()], *chunks)


def wrapped(kind, data):
    """-> a file of a kind with EXIF data"""
    if kind == "jpg":
        return jpeg(b"Exif\0\0" + data)
    if kind == "png":
        return plain_png((b"eXIf", data))
    return webp((b"EXIF", data))


@pytest.fixture(scope="module")
def upright(tmp_path_factory):
    """The pixels of each kind without an orientation."""
    folder = tmp_path_factory.mktemp("upright")
    pictures = {}
    for kind, data in (("jpg", jpeg()), ("png", plain_png()), ("webp", webp())):
        (folder / f"a.{kind}").write_bytes(data)
        pictures[kind] = decoded(folder / f"a.{kind}")
    return pictures


def is_turned(tmp_path, kind, data, upright, turned=True):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    check(path, np.rot90(upright[kind], -1) if turned else upright[kind])


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_orientations_of_any_integer(tmp_path, kind, big_endian, upright):
    for number in (1, 3, 4, 6, 8, 9, 13):
        is_turned(tmp_path, kind, wrapped(kind, exif(6, number, big_endian)), upright)
    is_turned(tmp_path, kind, wrapped(kind, exif(-6, 8, big_endian)), upright, turned=False)
    if kind != "jpg":
        is_turned(tmp_path, kind, wrapped(kind, b"Exif\0\0" + exif(6, 3, big_endian)), upright)


@pytest.mark.parametrize("form", ["attribute", "single", "element"])
def test_xmp_is_used_without_an_exif_orientation(tmp_path, form, upright):
    packet = xmp(6, form)
    name = b"http://ns.adobe.com/xap/1.0/\0"
    other = exif(6).replace(struct.pack("<H", 0x112), struct.pack("<H", 0x113))
    is_turned(tmp_path, "jpg", jpeg(name + packet), upright)
    is_turned(tmp_path, "jpg", jpeg(b"Exif\0\0" + other, name + packet), upright)
    is_turned(tmp_path, "jpg", jpeg(name + packet, b"Exif\0\0" + exif(1)), upright, turned=False)
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    is_turned(tmp_path, "png", plain_png((b"iTXt", text)), upright)
    is_turned(tmp_path, "png", plain_png((b"iTXt", text), (b"eXIf", exif(1))), upright, turned=False)
    packed = (b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0a name\0" + zlib.compress(packet))
    is_turned(tmp_path, "png", plain_png(packed), upright)
    is_turned(tmp_path, "png", plain_png(packed, (b"eXIf", exif(1))), upright, turned=False)
    is_turned(tmp_path, "webp", webp((b"XMP ", packet)), upright)
    is_turned(tmp_path, "webp", webp((b"EXIF", exif(1)), (b"XMP ", packet)), upright, turned=False)
    path = tmp_path / "a.tif"
    Tiff().write(path, smooth(), tags=[(700, 1, list(packet))])
    check(path, np.rot90(smooth(), -1))


def test_exif_in_several_segments(tmp_path, upright):
    data = exif(6)
    is_turned(tmp_path, "jpg", jpeg(b"Exif\0\0" + data[:20], b"Exif\0\0" + data[20:]), upright)


def test_exif_as_text_of_a_png(tmp_path, upright):
    data = b"Exif\0\0" + exif(6)
    text = f"\nexif\n{len(data):8}\n{data.hex()[:72]}\n{data.hex()[72:]}\n".encode()
    is_turned(tmp_path, "png", plain_png((b"tEXt", b"Raw profile type exif\0" + text)), upright)
    is_turned(tmp_path, "png", plain_png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))), upright)
