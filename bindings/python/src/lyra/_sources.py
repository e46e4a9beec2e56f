"""Converts sources of media to the library's types: float samples, RGB pixels, or a reader over a file object."""

from __future__ import annotations

import ctypes
import io
import os
import re
import sys
from array import array
from typing import Any, BinaryIO, Callable, Iterable, Optional, Union

from . import _abi

#: The value of full scale for each type of samples in a buffer.
_FULL_SCALE = {"f": 1.0, "d": 1.0, "h": 2.0**15, "i": 2.0**31}


class Samples:
    """Interleaved float samples, as ``lyra_feed_audio_pcm`` takes them."""

    def __init__(self, source: Union[Any, Iterable[float]]):
        """Takes a sequence of numbers in -1…1, or any object with a buffer of float32, float64, int16 or int32
        samples (a numpy array, an ``array``, a memoryview): of shape [frames] or [frames, channels].

        Raises TypeError for other types and ValueError for other shapes."""
        self.channels = 1
        try:
            view = memoryview(source)
        except TypeError:
            flat = array("f", source)
        else:
            flat = self._from_buffer(view)
        self.frames = len(flat) // self.channels
        # One extra element, because the library would not take the address of an empty array.
        self.pointer = (ctypes.c_float * (len(flat) + 1)).from_buffer(array("f", flat.tobytes() + bytes(4)))

    def _from_buffer(self, view: memoryview) -> array[float]:
        kind = view.format.lstrip("@=<" if sys.byteorder == "little" else "@=>")
        if kind == "l" and view.itemsize == 4:
            kind = "i"
        if kind not in _FULL_SCALE:
            raise TypeError(f"samples of type {view.format!r}; they can be float32, float64, int16 or int32")
        if view.ndim not in (1, 2):
            raise ValueError(f"samples of {view.ndim} dimensions; they can be [frames] or [frames, channels]")
        if view.ndim == 2:
            self.channels = view.shape[1]
        if self.channels == 0:
            raise ValueError("samples of 0 channels; they can have 1 or more")
        if kind == "f":
            return array("f", view.tobytes())
        scale = _FULL_SCALE[kind]
        return array("f", (value / scale for value in array(kind, view.tobytes())))


class Pixels:
    """8-bit RGB images without gaps, as ``lyra_feed_image_rgb8`` and ``lyra_feed_video_frames`` take them."""

    def __init__(self, data: bytes, count: int, height: int, width: int):
        self.data, self.count, self.height, self.width = data, count, height, width

    @classmethod
    def of(cls, source: Any, dimensions: int) -> Optional[Pixels]:
        """The pixels of a PIL image as its file would give them, or of a buffer of uint8 of shape
        [..., height, width, 3] with ``dimensions`` dimensions; None for a path, bytes or a file object.

        Raises TypeError for other types of elements, and ValueError for other shapes and for PIL images whose samples
        have an unknown range."""
        if isinstance(source, (str, os.PathLike, bytes, bytearray)):
            return None
        if dimensions == 3 and hasattr(source, "convert") and hasattr(source, "tobytes"):
            image = upright_rgb(source)
            return cls(image.tobytes(), 1, image.height, image.width)
        try:
            view = memoryview(source)
        except TypeError:
            if hasattr(source, "read"):
                return None
            raise TypeError("a path, bytes, a binary file object or uint8 pixels are needed") from None
        if view.format.lstrip("@=<>!") != "B":
            raise TypeError(f"pixels of type {view.format!r}; they can be uint8")
        shape = view.shape
        if view.ndim != dimensions or shape[-1] != 3:
            what = "[height, width, 3]" if dimensions == 3 else "[frames, height, width, 3]"
            raise ValueError(f"pixels of shape {list(shape or ())}; they can be {what}")
        # tobytes puts a view of any strides, even negative ones, in order.
        return cls(view.tobytes(), shape[0] if dimensions == 4 else 1, shape[-3], shape[-2])


#: Formats whose pixels differ between Pillow and the library by up to 3 of 255: each JPEG decoder rounds differently.
_ROUNDED = {"JPEG", "MPO"}


def untouched_jpeg(source: Any) -> Optional[bytes]:
    """The file's bytes of a PIL image that is a JPEG and not loaded yet, so that its pixels are unchanged. None for
    every other source."""
    file = getattr(source, "fp", None)
    if getattr(source, "format", None) not in _ROUNDED or not getattr(source, "tile", None) or file is None:
        return None
    # The caller chose another frame or a smaller image.
    if getattr(source, "tell", lambda: 0)() != 0 or getattr(source, "decoderconfig", ()) not in ((), None):
        return None
    from PIL import Image

    try:
        here = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(here)
        # If the orientation was changed or removed in the image, the file's bytes would be wrong.
        with Image.open(io.BytesIO(data)) as stored:
            is_same = stored.getexif().get(0x0112) == source.getexif().get(0x0112)
    except (AttributeError, OSError, ValueError):
        return None
    return bytes(data) if is_same else None


#: EXIF's orientations other than upright, as names of PIL's transpositions.
_TRANSPOSITIONS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def upright_rgb(image: Any) -> Any:
    """A PIL image as the library decodes its file: upright, transparent pixels on white, the high bytes of 16 bits.

    Raises ValueError for 32-bit samples, whose range is unknown."""
    from PIL import Image

    stored = _stored_mode(image)
    image.load()
    # After load, since PIL turns some formats upright itself.
    orientation = image.getexif().get(0x0112) if hasattr(image, "getexif") else None
    if isinstance(orientation, bytes) and len(orientation) == 1:
        orientation = orientation[0]
    if orientation is None:
        orientation = _xmp_orientation(image)
    alpha = None
    if image.mode == "I" or image.mode == "F" or image.mode.startswith("I;"):
        rgb, alpha = _high_bytes(image, 4 if stored == "I;12" else 0)
    elif getattr(image, "has_transparency_data", image.mode in ("RGBA", "LA", "PA", "RGBa", "La")) or (
        "transparency" in image.info
    ):
        rgb, alpha = _color_and_alpha(image, {"L;2": 85, "L;4": 17}.get(stored, 1))
    else:
        rgb = image.convert("RGB")
    if alpha is not None:
        white = Image.new("RGB", rgb.size, "white")
        white.paste(rgb, mask=alpha)
        rgb = white
    name = _TRANSPOSITIONS.get(orientation)
    # PIL before 9.1 has no Transpose.
    return rgb.transpose(getattr(getattr(Image, "Transpose", Image), name)) if name else rgb


def _xmp_orientation(image: Any) -> Optional[int]:
    """The orientation in an image's XMP. The library reads more spellings than Pillow, so this does too."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    found = re.search(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9]{1,3})", packet)
    return int(found[1]) if found else None


def _stored_mode(image: Any) -> str:
    """PIL's name for the file's sample layout, which PIL forgets when it loads the image; "" if unknown."""
    try:
        arguments = image.tile[0][3]
        return arguments if isinstance(arguments, str) else str(arguments[0])
    except (AttributeError, IndexError, TypeError):
        return ""


def _color_and_alpha(image: Any, scale: int) -> Any:
    """RGB and alpha. PIL has multiplied grey samples by `scale`, but not the value of the transparent grey."""
    from PIL import Image

    if image.mode == "La":
        # PIL converts La to LA only, so the premultiplied greys go through RGBa.
        grey, alpha = image.split()
        image = Image.frombytes("RGBa", image.size, Image.merge("RGBA", (grey, grey, grey, alpha)).tobytes())
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # PIL keeps the high bytes of 16-bit samples.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif image.mode == "L" and isinstance(clear, int) and scale > 1:
        image = image.copy()
        image.info["transparency"] = clear * scale
    full = image.convert("RGBA")
    return full.convert("RGB"), full.getchannel("A")


def _high_bytes(image: Any, shift: int) -> Any:
    """16-bit grey, shifted left by `shift`, as RGB; and alpha if a grey is transparent, else None."""
    from PIL import Image, ImageChops

    data = image.tobytes()
    if image.mode in ("I", "F"):
        low, high = image.getextrema() if image.mode == "I" else (-1, -1)
        if low < 0 or high > 65_535 or image.format == "TIFF":
            raise ValueError(f"a PIL image of mode {image.mode}, whose range is not known; convert it to L or RGB")
        words = array("i", data)
        if words.itemsize != 4:
            raise ValueError("a PIL image of mode I; convert it to L or RGB")
        data, is_big = array("H", words).tobytes(), sys.byteorder == "big"
    else:
        is_big = image.mode == "I;16B" or image.mode == "I;16N" and sys.byteorder == "big"
    if shift:
        words = array("H", data)
        data = array("H", (value << shift for value in words)).tobytes()
    low_bytes, high_bytes = (data[1::2], data[0::2]) if is_big else (data[0::2], data[1::2])
    grey = Image.frombytes("L", image.size, high_bytes)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0:
        # White is 0; Pillow inverts 8-bit greys only.
        grey = ImageChops.invert(grey)
    alpha = None
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        hidden = bytes(
            0 if high << 8 | low == clear else 255 for high, low in zip(high_bytes, low_bytes)
        )
        alpha = Image.frombytes("L", image.size, hidden)
    return grey.convert("RGB"), alpha


class FileReader:
    """A seekable binary file object as a ``lyra_reader``.

    The library calls its functions until ``closed`` is set. If the file object raises an exception, ``failure`` keeps
    it, and the function reports a failure to the library.
    """

    def __init__(self, file: BinaryIO):
        self.closed = False
        self.failure: list[BaseException] = []
        self._file = file
        self.struct = _abi.Reader(
            size=ctypes.sizeof(_abi.Reader),
            read=_abi.ReadFunction(self._read),
            seek=_abi.SeekFunction(self._seek),
            length=_abi.LengthFunction(self._length),
            close=_abi.CloseFunction(self._close),
        )

    def _guarded(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except BaseException as error:
            self.failure.append(error)
            return -1

    def _read(self, _: Any, buffer: int, count: int) -> int:
        def work() -> int:
            data = self._file.read(count)
            if len(data) > count:
                raise OSError("the file object returned more bytes than requested")
            ctypes.memmove(buffer, data, len(data))
            return len(data)

        return self._guarded(work)

    def _seek(self, _: Any, offset: int) -> int:
        return self._guarded(lambda: self._file.seek(offset))

    def _length(self, _: Any) -> int:
        def work() -> int:
            here = self._file.tell()
            end = self._file.seek(0, io.SEEK_END)
            self._file.seek(here)
            return end

        return self._guarded(work)

    def _close(self, _: Any) -> None:
        self.closed = True
