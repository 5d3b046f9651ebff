"""Writes the valid files of the folders image, idx and gzip_idx, which `cargo xtask fuzz` mutates. Needs pillow and
numpy."""

import gzip
import io
import random
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE / "../../crates/mnist-data/tests/golden"))
from decode_cases import KINDS, images, picture, saved  # noqa: E402

SUFFIX = {"jpeg baseline": "jpg", "jpeg progressive": "jpg", "tiff": "tif"}


def image_files():
    """Small files of every kind, and features that decode_cases does not write."""
    for kind in KINDS:
        rng = random.Random(kind)
        for number, file in enumerate(images(rng, kind, 8, 20)):
            yield f"{kind.replace(' ', '_')}_{number}.{SUFFIX.get(kind, kind)}", file
    rng = random.Random(1)
    rgb = picture(rng, 9, 7, "RGB")
    gray, palette = rgb.convert("L"), rgb.quantize(16)
    rgba = rgb.copy()
    rgba.putalpha(gray)
    frames = [rgba.rotate(90), rgba.rotate(180)]
    yield "stored.png", saved(rgb, "PNG", compress_level=0)
    yield "stored_gray16.png", saved(gray.convert("I;16"), "PNG", compress_level=0)
    yield "animated.png", saved(rgba, "PNG", save_all=True, append_images=frames)
    yield "animated.gif", saved(palette, "GIF", save_all=True, append_images=[palette.rotate(90)])
    yield "animated.webp", saved(rgba, "WEBP", save_all=True, append_images=frames)
    yield "lossy_alpha.webp", saved(rgba, "WEBP", quality=50)
    yield "lossy.webp", saved(rgb, "WEBP", quality=50)
    yield "lossless_alpha.webp", saved(rgba, "WEBP", lossless=True)
    for compression in ["tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"]:
        image = rgb.convert("1") if compression == "group4" else rgb
        yield f"{compression}.tif", saved(image, "TIFF", compression=compression)
    yield "gray16.tif", saved(gray.convert("I;16"), "TIFF")
    yield "big.tif", saved(rgb, "TIFF", big_tiff=True)
    yield "run_lengths.bmp", run_length_bitmap()


def run_length_bitmap():
    """A bitmap of 4 × 2 pixels with run-length encoding, which Pillow does not write."""
    palette = bytes(range(4 * 4))
    data = bytes([3, 1, 1, 2, 0, 0, 0, 4, 1, 2, 3, 0, 0, 1])
    offset = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(data), 0, 0, 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def idx_files():
    """Four images, and their labels."""
    yield "images", struct.pack(">IIII", 0x803, 4, 2, 3) + bytes(range(24))
    yield "labels", struct.pack(">II", 0x801, 4) + bytes([0, 2, 1, 0])
    yield "one_image", struct.pack(">IIII", 0x803, 1, 5, 5) + bytes(25)
    yield "no_labels", struct.pack(">II", 0x801, 0)


def compressed(file, level):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as stream:
        stream.write(file)
    return out.getvalue()


def main():
    for name, file in image_files():
        (HERE / "image").mkdir(exist_ok=True)
        (HERE / "image" / name).write_bytes(file)
    for folder in ["idx", "gzip_idx"]:
        (HERE / folder).mkdir(exist_ok=True)
    for name, file in idx_files():
        (HERE / "idx" / name).write_bytes(file)
        # In a stored block, a mutated byte leaves the rest readable.
        (HERE / "gzip_idx" / f"{name}.gz").write_bytes(compressed(file, 9))
        (HERE / "gzip_idx" / f"{name}_stored.gz").write_bytes(compressed(file, 0))


main()
