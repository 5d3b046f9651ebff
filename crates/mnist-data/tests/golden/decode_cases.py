"""Small image files of every kind, whole and damaged, and Pillow's results for them: for
generate_decode_verdicts.py, which makes golden data of some, and fuzz_decode.py, which compares many."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

# An end marker. Pillow refuses a JPEG without it, even if all data is present.
END = b"\xff\xd9"


def picture(rng, width, height, mode):
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        127 + 127 * np.sin(x * rng.uniform(0.02, 1.5) + rng.uniform(0, 6)) * np.cos(y * rng.uniform(0.02, 1.5))
        for _ in range(3)
    ]
    noise = np.random.RandomState(rng.randrange(1 << 30)).normal(0, rng.choice([0, 5, 40]), (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)).convert(mode)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def frame_header(data):
    """The offsets of fields in a JPEG's frame header: height, width, number of colours, colours."""
    at = 2
    while not 0xC0 <= data[at + 1] <= 0xC2:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 5


SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "gray", "cmyk", "ycck"]


def jpeg(rng, sampling, progressive, largest=70):
    """A JPEG of random size. Pillow writes no 4:4:0 and 4:1:1: their headers are put before the data of 4:2:2
    and 4:2:0, which has as many blocks in as many groups; the pictures come out in pieces."""
    width, height = rng.randint(1, largest), rng.randint(1, largest)
    options = {"quality": rng.choice([5, 30, 50, 75, 90, 95, 100]), "progressive": progressive}
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = rng.randint(1, 7)
    if sampling in ("4:4:0", "4:1:1") and progressive:
        width, height = 16 * max(1, width // 16), 16 * max(1, height // 16)
    mode = {"gray": "L", "cmyk": "CMYK", "ycck": "CMYK"}.get(sampling, "RGB")
    if mode == "RGB":
        options["subsampling"] = {"4:4:0": "4:2:2", "4:1:1": "4:2:0"}.get(sampling, sampling)
    data = bytearray(saved(picture(rng, width, height, mode), "JPEG", **options))
    at = frame_header(data)
    if sampling == "4:4:0":
        data[at : at + 4] = struct.pack(">HH", width, height)
        data[at + 6] = 0x12
    if sampling == "4:1:1":
        across, down = -(-width // 16), -(-height // 16)
        width = 32 * across if progressive else rng.randint(32 * across - 31, 32 * across)
        height = 8 * down if progressive else rng.randint(8 * down - 7, 8 * down)
        data[at : at + 4] = struct.pack(">HH", height, width)
        data[at + 6] = 0x41
    if sampling == "ycck":
        data[2:2] = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x02"
    return bytes(data)


def images(rng, kind, count, largest):
    """Undamaged files of one kind."""
    if kind.startswith("jpeg"):
        progressive = kind == "jpeg progressive"
        return [jpeg(rng, SAMPLINGS[i % len(SAMPLINGS)], progressive, largest) for i in range(count)]
    files = []
    while len(files) < count:
        width, height = rng.randint(1, largest), rng.randint(1, largest)
        rgb = picture(rng, width, height, "RGB")
        gray, palette = rgb.convert("L"), rgb.quantize(rng.choice([2, 5, 16, 200]))
        bits, rgba, gray_alpha = gray.convert("1"), rgb.copy(), gray.copy()
        rgba.putalpha(gray)
        gray_alpha.putalpha(gray)
        if kind == "png":
            files += [saved(image, "PNG") for image in (rgb, gray, palette, rgba, gray_alpha, bits)]
            files.append(saved(palette, "PNG", transparency=0))
            files.append(interlaced_png(rng, rgb))
        if kind == "bmp":
            files += [saved(image, "BMP") for image in (rgb, gray, palette, bits, rgba)]
        if kind == "gif":
            files += [saved(image, "GIF", interlace=rng.random() < 0.5) for image in (rgb, gray, palette)]
            files.append(saved(palette, "GIF", transparency=1))
            files.append(gif_on_canvas(palette))
        if kind == "tiff":
            for image in (rgb, gray, palette, rgba, bits, rgb.convert("CMYK")):
                files.append(saved(image, "TIFF", compression=rng.choice([None, "tiff_lzw", "tiff_deflate", "packbits"])))
            orientation = Image.Exif()
            orientation[0x0112] = rng.randint(1, 8)
            files.append(saved(rgb, "TIFF", exif=orientation))
        if kind == "webp":
            for image in (rgb, rgba):
                files.append(saved(image, "WEBP", lossless=rng.random() < 0.5, quality=rng.choice([20, 75, 95])))
        if kind == "pnm":
            files += [saved(image, "PPM") for image in (rgb, gray, bits)] + list(plain_pnm(rng, width, height))
    return files[:count]


def interlaced_png(rng, image):
    """An interlaced PNG, made here since Pillow writes none."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = np.asarray(image)
    rows = b""
    for x, y, across, down in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for row in pixels[y::down, x::across]:
            rows += bytes([rng.randrange(5)]) + row.tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif_on_canvas(image):
    """A GIF whose frame is smaller than its canvas and has a transparent colour."""
    data = bytearray(saved(image, "GIF", transparency=1))
    at = data.index(b"\x2c", 13 + (3 << ((data[10] & 7) + 1)))
    data[at + 1 : at + 5] = struct.pack("<HH", 2, 3)
    data[6:10] = struct.pack("<HH", image.width + 5, image.height + 4)
    return bytes(data)


def plain_pnm(rng, width, height):
    def numbers(count, largest):
        return b" ".join(b"%d" % rng.randint(0, largest) for _ in range(count))

    yield b"P3 %d %d 100\n# a comment\n%s\n" % (width, height, numbers(3 * width * height, 100))
    yield b"P2\n%d\n%d\n255\n%s" % (width, height, numbers(width * height, 255))
    yield b"P1 %d %d\n" % (width, height) + b"".join(b"%d" % rng.randint(0, 1) for _ in range(width * height))
    yield b"P5 %d %d 31\n" % (width, height) + bytes(rng.randint(0, 40) for _ in range(width * height))
    values = [rng.randint(0, 1100) for _ in range(3 * width * height)]
    yield b"P6 %d %d 1000\n" % (width, height) + struct.pack(f">{len(values)}H", *values)


def mutated(rng, file):
    """A copy of a file with some bytes flipped, replaced, inserted or removed, or truncated."""
    data = bytearray(file)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if not data:
            break
        at = rng.randrange(len(data) if rng.random() < 0.6 else min(len(data), 100))
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice([0, 255, rng.randrange(256)])
            case 2:
                del data[rng.randrange(len(data)) :]
            case 3:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
            case 4:
                del data[at : at + rng.randint(1, 4)]
            case 5:
                del data[-rng.randint(1, 12) :]
    return bytes(data)


def pillow(file):
    """The pixels `[height, width, 3]`, or Pillow's error. A JPEG that lacks only its end marker gets one."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            if image.mode.startswith("I;16") or image.mode in ("I", "F"):
                return None  # clipped by Pillow, scaled by us
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # any exception
        return error


KINDS = ["jpeg baseline", "jpeg progressive", "png", "gif", "bmp", "pnm", "tiff", "webp"]
