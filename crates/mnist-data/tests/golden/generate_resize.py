"""Writes images resized by PIL: golden data for tests/data/images.rs.

    python generate_resize.py        (needs pillow; writes beside itself)

The images are not stored: this script and the Rust tests compute them by `pixel`.
Each file is named <width>x<height>_to_<size>_<channels>.bin and contains
[size, size, channels] bytes.
"""

from pathlib import Path

from PIL import Image

CASES = [
    (28, 28, 32, 1),
    (28, 28, 96, 1),
    (28, 28, 14, 1),
    (37, 53, 32, 3),
    (64, 48, 17, 3),
    (5, 3, 32, 3),
    (200, 10, 24, 3),
    (301, 299, 28, 3),
    (1, 1, 8, 3),
    (33, 32, 32, 3),
]


def pixel(x, y, c):
    return (7 * x * x + 13 * x * y + 3 * y * y + 85 * c + (31 * x + 17 * y + 7 * c) % 23 * 9) % 256


def main():
    folder = Path(__file__).parent / "resize"
    folder.mkdir(exist_ok=True)
    for width, height, size, channels in CASES:
        data = bytes(pixel(x, y, c) for y in range(height) for x in range(width) for c in range(channels))
        image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), data)
        resized = image.resize((size, size), Image.Resampling.BILINEAR)
        (folder / f"{width}x{height}_to_{size}_{channels}.bin").write_bytes(resized.tobytes())


main()
