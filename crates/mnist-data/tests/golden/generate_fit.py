"""Writes images fitted to a size by PIL and torchvision: golden data for tests/data/fit.rs.

    python generate_fit.py        (needs pillow and torchvision; writes fit/cases.json and fit/answers.bin)

This script and the Rust tests compute the images by `pixel` of generate_resize.py. Of each result, one row is kept,
and the sum of all pixels for each channel. A crop is torchvision's Resize and CenterCrop (bilinear) or timm's
(bicubic, the same two transforms); a letterbox is Ultralytics' LetterBox with PIL's resize in OpenCV's place.
"""

import json
import math
from pathlib import Path

from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
SIDES = [
    (1, 1), (1, 500), (500, 1), (501, 3), (3, 501), (2, 2), (7, 5), (5, 7), (28, 28), (32, 32), (31, 33), (33, 31),
    (36, 36), (37, 36), (36, 37), (39, 36), (96, 96), (95, 97), (100, 75), (75, 100), (109, 109), (110, 109),
    (109, 112), (224, 224), (225, 223), (223, 225), (224, 200), (256, 256), (257, 256), (259, 256), (256, 261),
    (300, 256), (256, 300), (320, 240), (240, 320), (333, 250), (250, 333), (341, 256), (256, 341), (400, 300),
    (300, 401), (640, 480), (480, 640), (640, 96), (17, 900), (900, 17), (3000, 17), (17, 3000), (511, 383), (383, 511),
]
SIZES = [32, 96, 224]


def pixel(x, y, c):
    return (7 * x * x + 13 * x * y + 3 * y * y + 85 * c + (31 * x + 17 * y + 7 * c) % 23 * 9) % 256


def drawn(width, height, channels):
    data = bytes(pixel(x, y, c) for y in range(height) for x in range(width) for c in range(channels))
    return Image.frombytes("L" if channels == 1 else "RGB", (width, height), data)


def crop(image, size, share, mode):
    resized = Resize(math.floor(size / share), interpolation=MODES[mode])(image)
    return CenterCrop(size)(resized)


def letterbox(image, size, mode):
    width, height = image.size
    scale = min(size / height, size / width)
    new = max(round(width * scale), 1), max(round(height * scale), 1)
    resized = image.resize(new, Image.Resampling[mode.upper()])
    left, top = round((size - new[0]) / 2 - 0.1), round((size - new[1]) / 2 - 0.1)
    canvas = Image.new(image.mode, (size, size), 114 if image.mode == "L" else (114, 114, 114))
    canvas.paste(resized, (left, top))
    return canvas


def squash(image, size, mode):
    return image.resize((size, size), Image.Resampling[mode.upper()])


def main():
    folder = Path(__file__).parent / "fit"
    folder.mkdir(exist_ok=True)
    cases, answers = [], bytearray()
    for number, (width, height) in enumerate(SIDES):
        # Sizes, fits and channels take turns, so each image is tested with a few combinations.
        channels = 1 if number % 3 == 0 else 3
        image = drawn(width, height, channels)
        ways = [("crop", "bilinear", 0.875), ("crop", "bicubic", 0.875)]
        ways.append([("letterbox", "bilinear", 0.875), ("letterbox", "bicubic", 0.875),
                     ("squash", "bicubic", 0.875), ("crop", "bilinear", 1.0), ("crop", "bicubic", 0.95)][number % 5])
        for offset, (fit, mode, share) in enumerate(ways):
            size = SIZES[(number + offset) % 3]
            # Resized to cover 256 pixels, these images have millions of pixels, which is slow in a debug build.
            size = min(size, 96) if max(width, height) > 800 else size
            if fit == "crop":
                answer = crop(image, size, share, mode)
            else:
                answer = (letterbox if fit == "letterbox" else squash)(image, size, mode)
            assert answer.size == (size, size)
            data = answer.tobytes()
            row = size // 2 if fit == "letterbox" else (number * 37 + offset * 11) % size
            stride = size * channels
            answers += data[row * stride:(row + 1) * stride]
            cases.append({
                "width": width, "height": height, "channels": channels, "size": size, "fit": fit,
                "interpolation": mode, "crop_pct": share, "row": row,
                "sums": [sum(data[c::channels]) for c in range(channels)],
            })
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
    (folder / "answers.bin").write_bytes(answers)
    print(len(cases), "cases,", len(answers), "bytes")


main()
