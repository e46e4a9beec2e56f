"""What can be fed, made into what the library takes: float samples, RGB pixels, or a reader over a file object."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from array import array
from typing import Any, BinaryIO, Callable, Iterable, Optional, Union

from . import _abi

#: Types of samples in a buffer, and what a full-scale one is.
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
        # One element more, since an array of none has no address that the library would take.
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
            raise ValueError("samples of 0 channels")
        if kind == "f":
            return array("f", view.tobytes())
        scale = _FULL_SCALE[kind]
        return array("f", (value / scale for value in array(kind, view.tobytes())))


class Pixels:
    """RGB pictures of 8 bits without gaps, as ``lyra_feed_image_rgb8`` and ``lyra_feed_video_frames`` take them."""

    def __init__(self, data: bytes, count: int, height: int, width: int):
        self.data, self.count, self.height, self.width = data, count, height, width

    @classmethod
    def of(cls, source: Any, dimensions: int) -> Optional[Pixels]:
        """The pixels of a PIL image, or of a buffer of uint8 of shape [..., height, width, 3] and so many dimensions;
        None for a path, bytes or a file object.

        Raises TypeError for other types of elements and ValueError for other shapes."""
        if isinstance(source, (str, os.PathLike, bytes, bytearray)):
            return None
        if dimensions == 3 and hasattr(source, "convert") and hasattr(source, "tobytes"):
            image = source.convert("RGB")
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
        # A view of any strides, negative ones too, comes out in order.
        return cls(view.tobytes(), shape[0] if dimensions == 4 else 1, shape[-3], shape[-2])


class FileReader:
    """A seekable binary file object as a ``lyra_reader``.

    The library calls it until ``closed`` is set. An exception of the file object is kept in ``failure``, and the
    library is told that the function failed.
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
                raise OSError("the file object gave more bytes than it was asked for")
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
