"""Draws photo-like images as JPEG files, for `cargo xtask bench serve`.

usage: python photos.py FILE...

Each image has 1920 x 1280 pixels. The amplitudes of its frequencies fall as those of photographs, which are a little
blurred: as frequency^-1.35, in light and in colours. The quality is chosen so that the file has about 393 kB; it is then
about 76, as a camera's. The name of a file, such as 3.jpg, gives the seed.
"""

import io
import sys
from pathlib import Path

import numpy
from PIL import Image

WIDTH, HEIGHT = 1920, 1280
BYTES = 393_000


def noise(random):
    """Noise of mean 0 and standard deviation 1, less of the high frequencies."""
    frequency = numpy.hypot(numpy.fft.fftfreq(HEIGHT)[:, None] * HEIGHT, numpy.fft.rfftfreq(WIDTH)[None] * WIDTH)
    frequency[0, 0] = 1
    spectrum = numpy.fft.rfft2(random.standard_normal((HEIGHT, WIDTH))) / frequency**1.35
    spectrum[0, 0] = 0
    plane = numpy.fft.irfft2(spectrum, (HEIGHT, WIDTH))
    return plane / plane.std()


def image(seed):
    random = numpy.random.default_rng(seed)
    light, blue, red = noise(random), noise(random), noise(random)
    planes = [128 + 50 * light, 128 + 14 * blue, 128 + 14 * red]
    pixels = numpy.stack([plane.clip(0, 255).astype(numpy.uint8) for plane in planes], -1)
    return Image.fromarray(pixels, "YCbCr").convert("RGB")


def encoded(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


for path in map(Path, sys.argv[1:]):
    picture = image(int(path.stem))
    files = (encoded(picture, quality) for quality in range(30, 96))
    path.write_bytes(min(files, key=lambda file: abs(len(file) - BYTES)))
