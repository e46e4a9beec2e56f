"""Images are decoded as by Pillow: TIFF, BMP, transparent colors of PNG, and inks."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from picture_files import HEIGHT, WIDTH, Tiff, check, decoded, noise, png, smooth
from support import fails, lyra


# MARK: TIFF


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16), (32, 48), (64, 64)])
def test_tiles_and_planes(tmp_path, tile, planar, deflate):
    pixels = noise(HEIGHT, WIDTH, 3)
    Tiff().write(tmp_path / "a.tif", pixels, tile=tile, planar=planar, deflate=deflate)
    check(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
def test_byte_orders_and_16_bits(tmp_path, big_endian, big):
    pixels = noise(HEIGHT, WIDTH, 3, high=65536, dtype=np.uint16)
    for tile, planar in ((None, False), ((16, 32), True)):
        Tiff(big_endian, big).write(tmp_path / "a.tif", pixels, bits=16, tile=tile, planar=planar)
        check(tmp_path / "a.tif", (pixels >> 8).astype(np.uint8))


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_greys(tmp_path, bits, photometric):
    grey = noise(HEIGHT, WIDTH, 1, high=1 << bits, dtype=np.uint16)
    for tile in (None, (16, 16)):
        Tiff().write(tmp_path / "a.tif", grey, bits=bits, photometric=photometric, tile=tile)
        wanted = grey >> (bits - 8) if bits > 8 else grey * 255 // ((1 << bits) - 1)
        wanted = 255 - wanted if photometric == 0 else wanted
        check(tmp_path / "a.tif", np.repeat(wanted, 3, -1).astype(np.uint8))
        if bits <= 8:
            check(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(tmp_path, bits):
    indices = noise(HEIGHT, WIDTH, 1, high=1 << bits, dtype=np.uint16)
    colors = noise(3, 1 << bits, high=65536, dtype=np.uint16, seed=2)
    colors[0, 0] = 40_000
    for tile in (None, (16, 16)):
        tags = [(320, 3, colors.reshape(-1).tolist())]
        Tiff().write(tmp_path / "a.tif", indices, bits=bits, photometric=3, tile=tile, tags=tags)
        check(tmp_path / "a.tif")
        check(tmp_path / "a.tif", (colors >> 8).astype(np.uint8)[:, indices[:, :, 0]].transpose(1, 2, 0))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("extra", [None, 0, 1, 2])
@pytest.mark.parametrize("colors", [1, 3])
def test_extra_samples(tmp_path, colors, extra, planar, bits):
    """Unspecified samples are ignored; premultiplied alpha is divided out; an untagged 4th sample of RGB is alpha."""
    if extra is None and colors == 1:
        pytest.skip("the meaning of the sample is undefined")
    samples = noise(HEIGHT, WIDTH, colors + 1, high=1 << bits, dtype=np.uint16)
    if extra == 1:
        samples[:, :, :-1] = samples[:, :, :-1].astype(np.uint32) * samples[:, :, -1:] // ((1 << bits) - 1)
    tags = [] if extra is None else [(338, 3, [extra])]
    path = tmp_path / "a.tif"
    Tiff().write(path, samples, bits=bits, photometric=2 if colors == 3 else 1, planar=planar, tags=tags)
    values = (samples >> (bits - 8)).astype(np.uint32)
    color, alpha = values[:, :, :-1], values[:, :, -1:]
    if extra == 0:
        wanted = color
    else:
        if extra == 1:
            color = np.where(alpha == 0, 0, np.minimum(255, color * 255 // np.maximum(alpha, 1)))
        wanted = (2 * (color * alpha + 255 * (255 - alpha)) + 255) // 510
    check(path, np.broadcast_to(wanted, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    # Pillow reads premultiplied grey, but cannot convert it.
    if not planar and (colors == 3 or bits == 8 and extra != 1):
        check(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_inks(tmp_path, tile, bits):
    inks = noise(HEIGHT, WIDTH, 4, high=1 << bits, dtype=np.uint16)
    Tiff().write(tmp_path / "a.tif", inks, bits=bits, photometric=5, tile=tile)
    check(tmp_path / "a.tif", np.asarray(Image.fromarray((inks >> (bits - 8)).astype(np.uint8), "CMYK").convert("RGB")))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"])
def test_compressions(tmp_path, compression):
    image = Image.fromarray(smooth())
    options = {"tiffinfo": {317: 2}} if compression in ("tiff_lzw", "tiff_adobe_deflate") else {}
    path = tmp_path / "a.tif"
    image.save(path, compression=compression, **options)
    check(path)
    for mode in ("L", "CMYK"):
        image.convert(mode).save(path, compression=compression)
        check(path)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "packbits"])
def test_bilevel_compressions(tmp_path, compression):
    Image.fromarray(smooth()).convert("1").save(tmp_path / "a.tif", compression=compression)
    check(tmp_path / "a.tif")


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_is_of_full_range(tmp_path, subsampling, deflate):
    """Black, white and the colours at the corners of the range; chroma is that of BT.601."""
    across, down = subsampling
    width, height = 32, 16
    levels = np.linspace(0, 255, width).astype(np.uint8)
    luma = np.repeat(levels[None], height, 0)
    blue = np.full((height, width), 90, np.uint8)
    red = np.full((height, width), 160, np.uint8)
    units = b""
    for y in range(0, height, down):
        for x in range(0, width, across):
            units += luma[y:y + down, x:x + across].tobytes() + bytes([blue[y, x], red[y, x]])
    data = zlib.compress(units) if deflate else units
    entries = [(256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [8 if deflate else 1]),
               (262, 3, [6]), (273, 4, [8]), (277, 3, [3]), (278, 4, [height]), (279, 4, [len(data)]),
               (530, 3, [across, down]),
               (532, 5, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])]
    Tiff().assemble(tmp_path / "a.tif", data, entries)
    y, cb, cr = luma.astype(float), blue - 128.0, red - 128.0
    wanted = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255).round()
    check(tmp_path / "a.tif", wanted, tolerance=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_is_turned_upright(tmp_path, deflate, orientation):
    """libtiff's conversion applies the orientation itself."""
    values = noise(16, 32, 3, seed=orientation)
    data = zlib.compress(values.tobytes()) if deflate else values.tobytes()
    entries = [(256, 4, [32]), (257, 4, [16]), (258, 3, [8, 8, 8]), (259, 3, [8 if deflate else 1]), (262, 3, [6]),
               (273, 4, [8]), (274, 3, [orientation]), (277, 3, [3]), (278, 4, [16]), (279, 4, [len(data)]),
               (530, 3, [1, 1]), (532, 5, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])]
    Tiff().assemble(tmp_path / "a.tif", data, entries)
    upright = [entry if entry[0] != 274 else (274, 3, [1]) for entry in entries]
    Tiff().assemble(tmp_path / "b.tif", data, upright)
    turned = Image.fromarray(decoded(tmp_path / "b.tif"))
    turned.getexif()[0x112] = orientation
    check(tmp_path / "a.tif", np.asarray(ImageOps.exif_transpose(turned)))


def test_the_size_of_a_tile_is_bounded(tmp_path):
    path = tmp_path / "a.tif"
    entries = [(256, 4, [16]), (257, 4, [16]), (258, 3, [8]), (259, 3, [8]), (262, 3, [1]), (277, 3, [1]),
               (322, 4, [16384]), (323, 4, [8192]), (324, 4, [8]), (325, 4, [4])]
    Tiff().assemble(path, zlib.compress(b"")[:4], entries)
    fails(lyra("features", path, "--out", tmp_path / "o"), "tiles of 16384 × 8192")


def test_the_first_page_is_used(tmp_path):
    pages = [Image.fromarray(noise(9, 11, 3, seed=i)) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    check(tmp_path / "a.tif", np.asarray(pages[0]))


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("big_endian", [False, True])
def test_tiffs_are_turned_upright(tmp_path, kind, big_endian):
    pixels = noise(HEIGHT, WIDTH, 3)
    Tiff(big_endian).write(tmp_path / "a.tif", pixels, tags=[(274, kind, [6])])
    check(tmp_path / "a.tif", np.rot90(pixels, -1))


def test_unsupported_photometrics_are_refused_by_name(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(noise(9, 11).astype(np.float32)).save(path)
    fails(lyra("features", path, "--out", tmp_path / "o"), "floating-point")
    Image.fromarray(noise(9, 11).astype(np.int32)).save(path)
    fails(lyra("features", path, "--out", tmp_path / "o"), "signed samples")
    for photometric, name in ((8, "L*a*b*"), (32_845, "LogLuv"), (32_803, "color filter array"), (4, "mask")):
        Tiff().write(path, noise(9, 11, 3), photometric=photometric)
        fails(lyra("features", path, "--out", tmp_path / "o"), name)


def test_damaged_tiffs_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    Tiff().write(path, noise(HEIGHT, WIDTH, 3), tile=(16, 16), deflate=True)
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)
    fails(lyra("features", path, "--out", tmp_path / "o"), "cannot be decoded")


# MARK: BMP


def bitmap(rows, bits, size=40, compression=0, palette=b"", masks=b"", width=None, height=None, reserved=b"\0\0\0\0",
           behind=b""):
    """-> a file: a header of `size` bytes, masks in it or after it, a palette, data"""
    fields = struct.pack("<IHHHH", 12, width, height, 1, bits) if size == 12 else struct.pack(
        "<IiiHHIIiiII", size, width, height, 1, bits, compression, len(rows), 2835, 2835,
        len(palette) // 4 if bits <= 8 else 0, 0)
    header = (fields + masks)[:size].ljust(size, b"\0")
    start = 14 + len(header) + len(behind) + len(palette)
    first = b"BM" + struct.pack("<I", start + len(rows)) + reserved + struct.pack("<I", start)
    return first + header + behind + palette + rows


def stored(values, bits):
    """-> rows from the bottom, each padded to 4 bytes; values: [height, width] of words"""
    lines = []
    for row in values[::-1]:
        if bits <= 8:
            binary = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
            line = np.packbits(binary.astype(np.uint8).reshape(-1)).tobytes()
        else:
            line = b"".join(int(v).to_bytes(bits // 8, "little") for v in row)
        lines.append(line + bytes(-len(line) % 4))
    return b"".join(lines)


@pytest.mark.parametrize("size", [12, 16, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 24])
def test_bitmaps_of_every_header(tmp_path, bits, size):
    words = noise(HEIGHT, WIDTH, high=1 << bits, dtype=np.uint32)
    colors = noise(min(1 << bits, 256), 3, seed=3)
    palette = b"".join(bytes(c[::-1]) + (b"" if size == 12 else b"\0") for c in colors) if bits <= 8 else b""
    path = tmp_path / "a.bmp"
    path.write_bytes(bitmap(
        stored(words, bits), bits, size, 0, palette, width=WIDTH, height=HEIGHT, reserved=b"\1\2\3\4"))
    wanted = np.stack([words >> 16, words >> 8 & 255, words & 255], -1) if bits == 24 else colors[words]
    check(path, wanted.astype(np.uint8))
    if size != 16 and bits != 2:
        check(path)


def test_bitmaps_from_the_top(tmp_path):
    words = noise(HEIGHT, WIDTH, high=1 << 24, dtype=np.uint32)
    path = tmp_path / "a.bmp"
    path.write_bytes(bitmap(stored(words[::-1], 24), 24, width=WIDTH, height=-HEIGHT))
    check(path, np.stack([words >> 16, words >> 8 & 255, words & 255], -1).astype(np.uint8))
    check(path)


MASKS = {
    "555": (16, [0x7c00, 0x3e0, 0x1f]), "565": (16, [0xf800, 0x7e0, 0x1f]), "444": (16, [0xf00, 0xf0, 0xf]),
    "1555": (16, [0x7c00, 0x3e0, 0x1f, 0x8000]), "xrgb": (32, [0xff0000, 0xff00, 0xff]),
    "argb": (32, [0xff0000, 0xff00, 0xff, 0xff000000]), "rgba": (32, [0xff000000, 0xff0000, 0xff00, 0xff]),
    "bgrx": (32, [0xff00, 0xff0000, 0xff000000]), "1010102": (32, [0x3ff00000, 0xffc00, 0x3ff]),
}


@pytest.mark.parametrize("size", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("name", MASKS)
def test_masks_of_bitmaps(tmp_path, name, size):
    bits, masks = MASKS[name]
    if len(masks) == 4 and size == 52:
        pytest.skip("a header of 52 bytes has no mask of alpha")
    words = noise(HEIGHT, WIDTH, high=1 << bits, dtype=np.uint32 if bits == 16 else np.int64)
    packed = struct.pack(f"<{len(masks)}I", *masks)
    compression = 6 if size == 40 and len(masks) == 4 else 3
    data = bitmap(stored(words, bits), bits, size, compression, masks=packed, width=WIDTH, height=HEIGHT,
                  behind=packed if size == 40 else b"")
    path = tmp_path / "a.bmp"
    path.write_bytes(data)

    def channel(mask):
        shift = (mask & -mask).bit_length() - 1
        return ((words & mask) >> shift).astype(np.int64) * 255 // (mask >> shift)

    wanted = np.stack([channel(mask) for mask in masks[:3]], -1)
    if len(masks) == 4:
        alpha = channel(masks[3])[:, :, None]
        wanted = (2 * (wanted * alpha + 255 * (255 - alpha)) + 255) // 510
    check(path, wanted.astype(np.uint8))
    if name in ("555", "565", "xrgb", "argb") and not (size == 40 and len(masks) == 4):
        check(path)


@pytest.mark.parametrize("size", [40, 108, 124])
def test_the_fourth_byte_of_plain_32_bits_is_not_alpha(tmp_path, size):
    words = noise(HEIGHT, WIDTH, high=1 << 32, dtype=np.int64)
    path = tmp_path / "a.bmp"
    # A mask of alpha is used only together with other masks.
    masks = struct.pack("<4I", 0xff0000, 0xff00, 0xff, 0xff000000) if size > 40 else b""
    path.write_bytes(bitmap(stored(words, 32), 32, size, 0, masks=masks, width=WIDTH, height=HEIGHT))
    check(path, np.stack([words >> 16 & 255, words >> 8 & 255, words & 255], -1).astype(np.uint8))
    check(path)


@pytest.mark.parametrize("size", [40, 64, 124])
def test_run_lengths(tmp_path, size):
    colors = noise(256, 3, seed=3)
    path = tmp_path / "a.bmp"
    palette = b"".join(bytes(c[::-1]) + b"\0" for c in colors)
    # Rows from the bottom: a run and stored pixels; a jump; a run that is too long.
    eight = bytes([5, 7, 0, 3, 1, 2, 3, 0, 0, 0]) + bytes([0, 2, 3, 1]) + bytes([5, 9, 0, 0]) + bytes([20, 4, 0, 1])
    path.write_bytes(bitmap(eight, 8, size, 1, palette, width=8, height=4))
    rows = [[7, 7, 7, 7, 7, 1, 2, 3], [0] * 8, [0, 0, 0, 9, 9, 9, 9, 9], [4] * 8]
    check(path, colors[np.array(rows[::-1])])
    four = bytes([5, 0x7a, 0, 3, 0x12, 0x30, 0, 0]) + bytes([8, 0xbc, 0, 1])
    path.write_bytes(bitmap(four, 4, size, 2, palette[:64], width=8, height=3))
    rows = [[7, 10, 7, 10, 7, 1, 2, 3], [11, 12] * 4, [0] * 8]
    check(path, colors[np.array(rows[::-1])])


@pytest.mark.parametrize("bits", [8, 24])
def test_pixels_follow_the_headers_if_no_offset_is_stated(tmp_path, bits):
    words = noise(HEIGHT, WIDTH, high=1 << bits, dtype=np.uint32)
    palette = b"".join(bytes(c) + b"\0" for c in noise(256, 3, seed=3)) if bits == 8 else b""
    path = tmp_path / "a.bmp"
    whole = bytearray(bitmap(stored(words, bits), bits, 40, 0, palette, width=WIDTH, height=HEIGHT))
    path.write_bytes(whole)
    wanted = decoded(path)
    whole[10:14] = bytes(4)
    path.write_bytes(whole)
    check(path, wanted)
    whole[10:14] = struct.pack("<I", 30)
    path.write_bytes(whole)
    fails(lyra("features", path, "--out", tmp_path / "o"), "begin at byte 30")


def test_truncated_runs_are_refused(tmp_path):
    palette = b"".join(bytes(c) + b"\0" for c in noise(256, 3, seed=3))
    runs = bytes([8, 1, 0, 0, 8, 2, 0, 0, 8, 3])
    path = tmp_path / "a.bmp"
    path.write_bytes(bitmap(runs, 8, 40, 1, palette, width=8, height=3))
    whole = decoded(path)
    path.write_bytes(bitmap(runs + bytes([0, 1]), 8, 40, 1, palette, width=8, height=3))
    check(path, whole)
    for end in (2, 4, 6, 8):
        path.write_bytes(bitmap(runs[:end], 8, 40, 1, palette, width=8, height=3))
        fails(lyra("features", path, "--out", tmp_path / "o"), "the data end")


def test_bitmaps_of_other_compressions_are_refused_by_name(tmp_path):
    path = tmp_path / "a.bmp"
    for code, size, bits, name in ((4, 40, 24, "JPEG"), (5, 40, 24, "PNG"), (3, 64, 1, "Huffman")):
        path.write_bytes(bitmap(bytes(64), bits, size, code, width=4, height=4))
        fails(lyra("features", path, "--out", tmp_path / "o"), name)
    path.write_bytes(bitmap(bytes(64), 24, width=40, height=40))
    fails(lyra("features", path, "--out", tmp_path / "o"), "the data end")


# MARK: PNG


@pytest.mark.parametrize("clear", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey(tmp_path, depth, clear):
    grey = noise(HEIGHT, WIDTH, high=1 << depth, dtype=np.uint16)
    clear = clear if depth < 16 else int(grey[3, 3])
    writer = Tiff(big_endian=True)
    rows = [writer.pack(row[None, :, None], depth) for row in grey]
    path = tmp_path / "a.png"
    path.write_bytes(png(WIDTH, HEIGHT, depth, 0, rows, (b"tRNS", struct.pack(">H", clear))))
    shown = grey >> 8 if depth == 16 else grey * 255 // ((1 << depth) - 1)
    wanted = np.where(grey == clear, 255, shown).astype(np.uint8)
    check(path, np.repeat(wanted[:, :, None], 3, -1))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour(tmp_path, depth):
    pixels = noise(HEIGHT, WIDTH, 3, high=1 << depth, dtype=np.uint16)
    pixels[5:9, 5:20] = pixels[0, 0]
    rows = [row.astype(f">u{depth // 8}").tobytes() for row in pixels]
    path = tmp_path / "a.png"
    path.write_bytes(png(WIDTH, HEIGHT, depth, 2, rows, (b"tRNS", struct.pack(">3H", *pixels[0, 0]))))
    is_clear = (pixels == pixels[0, 0]).all(-1, keepdims=True)
    check(path, np.where(is_clear, 255, pixels >> (depth - 8)).astype(np.uint8))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_entries_of_a_palette(tmp_path, depth):
    indices = noise(HEIGHT, WIDTH, high=1 << depth, dtype=np.uint16)
    rows = [Tiff().pack(row[None, :, None], depth) for row in indices]
    path = tmp_path / "a.png"
    for alpha in (b"\0", b"\xff\x40", b"\x80"):
        chunks = [(b"PLTE", noise(1 << depth, 3, seed=4).tobytes()), (b"tRNS", alpha)]
        path.write_bytes(png(WIDTH, HEIGHT, depth, 3, rows, *chunks))
        check(path)


# MARK: Upright


# MARK: Inks of JPEG


@pytest.mark.parametrize("quality, subsampling", [(100, 0), (90, 0)])
def test_jpegs_of_inks(tmp_path, quality, subsampling):
    # Pillow decodes with libjpeg-turbo, whose transform rounds differently.
    inks = np.dstack([smooth(), noise(HEIGHT, WIDTH, high=60)])
    path = tmp_path / "a.jpg"
    Image.fromarray(inks, "CMYK").save(path, quality=quality, subsampling=subsampling)
    check(path, tolerance=3)
    data = path.read_bytes()
    # Without Adobe's marker, and with a marker that declares Y'CbCr.
    at = data.index(b"Adobe")
    path.write_bytes(data[:at] + b"Other" + data[at + 5:])
    check(path, tolerance=3)
    path.write_bytes(data[:at + 11] + b"\2" + data[at + 12:])
    check(path, tolerance=3)
