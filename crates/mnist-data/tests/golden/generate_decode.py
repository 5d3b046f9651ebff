"""Writes image files of many kinds, and their RGB bytes according to PIL:
golden data for tests/data/images.rs.

    python generate_decode.py        (needs pillow; writes beside itself)

For each decode/<name>.<extension> there is decode/<name>.rgb with
[9, 13, 3] bytes.
"""

import struct
import zlib
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 13, 9
FOLDER = Path(__file__).parent / "decode"


def colour(x, y):
    return (20 * x, 28 * y, 255 - 10 * x - 14 * y)


def picture():
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([colour(x, y) for y in range(HEIGHT) for x in range(WIDTH)])
    return image


def alpha():
    image = Image.new("L", (WIDTH, HEIGHT))
    image.putdata([(40 * x + 50 * y) % 256 for y in range(HEIGHT) for x in range(WIDTH)])
    return image


def save(name, image, extension, **options):
    path = FOLDER / f"{name}.{extension}"
    image.save(path, **options)
    with Image.open(path) as again:
        (FOLDER / f"{name}.rgb").write_bytes(again.convert("RGB").tobytes())


def save_png16(name, samples, colour_type):
    """PIL cannot write 16-bit colours. It clips 16-bit grays when it reads them: of
    these the expected bytes are the values scaled from 65535 to 255."""
    channels = {0: 1, 2: 3}[colour_type]
    rows = [samples[i : i + WIDTH * channels] for i in range(0, len(samples), WIDTH * channels)]
    raw = b"".join(b"\0" + struct.pack(f">{len(row)}H", *row) for row in rows)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (FOLDER / f"{name}.png").write_bytes(png)
    if channels == 1:
        expected = bytes(round(sample * 255 / 65535) for sample in samples for _ in range(3))
    else:
        with Image.open(FOLDER / f"{name}.png") as again:
            expected = again.convert("RGB").tobytes()
    (FOLDER / f"{name}.rgb").write_bytes(expected)


def save_frame_of_another_size(name, image, **options):
    """The header of the frame gives a smaller size than its pixels have. Pillow takes the pixels' size."""
    save(name, image, "webp", save_all=True, append_images=[image.rotate(180)], **options)
    path = FOLDER / f"{name}.webp"
    file = bytearray(path.read_bytes())
    at = file.index(b"ANMF") + 14
    file[at], file[at + 3] = WIDTH - 3, HEIGHT - 3
    path.write_bytes(file)
    with Image.open(path) as again:
        (FOLDER / f"{name}.rgb").write_bytes(again.convert("RGB").tobytes())


def main():
    FOLDER.mkdir(exist_ok=True)
    rgb, gray = picture(), picture().convert("L")
    with_alpha = rgb.copy()
    with_alpha.putalpha(alpha())
    gray_with_alpha = gray.copy()
    gray_with_alpha.putalpha(alpha())
    palette = rgb.quantize(16)

    save("rgb", rgb, "png")
    save("rgba", with_alpha, "png")
    save("gray", gray, "png")
    save("gray_alpha", gray_with_alpha, "png")
    save("black_and_white", gray.convert("1"), "png")
    save("palette", palette, "png")
    save("palette_transparent", palette, "png", transparency=3)
    save("bmp", rgb, "bmp")
    save("bmp_palette", palette, "bmp")
    save("tiff", rgb, "tiff", compression="tiff_lzw")
    save("tif_gray", gray, "tif")
    save("tif_big_palette", palette, "tif", big_tiff=True)
    save("webp_lossless", with_alpha, "webp", lossless=True, exact=True)
    save_frame_of_another_size("webp_frame_of_another_size", with_alpha)
    save_frame_of_another_size("webp_lossless_frame_of_another_size", rgb, lossless=True)
    save("jpeg", rgb, "jpeg", quality=95, subsampling=0)
    save("jpeg_gray", gray, "jpg", quality=95)
    save("jpeg_progressive", rgb, "jpg", quality=95, subsampling=0, progressive=True)
    save("jpeg_cmyk", rgb.convert("CMYK"), "jpg", quality=95)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    save("jpeg_rotated_by_exif", rgb, "jpg", quality=95, subsampling=0, exif=rotated)

    def sample(x, y, c):
        return (x * 5000 + y * 700 + c * 9001) % 65536

    everywhere = [(x, y) for y in range(HEIGHT) for x in range(WIDTH)]
    save_png16("gray16", [sample(x, y, 0) for x, y in everywhere], 0)
    save_png16("rgb16", [sample(x, y, c) for x, y in everywhere for c in range(3)], 2)


main()
