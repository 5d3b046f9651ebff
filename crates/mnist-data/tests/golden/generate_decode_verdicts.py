"""Writes whole and damaged image files, and Pillow's pixels or refusal: golden data for
tests/data/verdicts.rs.

    python generate_decode_verdicts.py        (needs pillow and numpy; writes beside itself)

verdicts/<kind>.bin, compressed by zlib, has for each file its length as u32 (little-endian), its contents, and a byte:
0 if Pillow refuses the file, 1 if Pillow reads it, 2 if it is a JPEG that Pillow reads after an end marker is added.
For 1 and 2, width and height follow as u32, then the CRC-32 of [height, width, 3] bytes.

decode_cases.py makes the files; fuzz_decode.py compares thousands more of them with the example `verdicts`.
"""

import random
import struct
import zlib
from pathlib import Path

from decode_cases import END, KINDS, images, mutated, pillow

FOLDER = Path(__file__).parent / "verdicts"
LARGEST = 32768  # the most pixels per side that our decoder accepts
# For some damaged TIFF and WebP files, our libraries and Pillow's disagree. So of these formats only truncated files
# are kept.
ONLY_CUT = {"tiff", "webp"}


def entry(file, kind):
    pixels, verdict = pillow(file), 1
    if pixels is None or max(getattr(pixels, "shape", (0,))) > LARGEST:
        return b""
    if isinstance(pixels, Exception) and kind.startswith("jpeg") and "truncated" in str(pixels):
        pixels, verdict = pillow(file + END), 2
        # Data is also missing if pixels depend on bits after the end.
        if isinstance(pixels, Exception) or cut_changes(file, pixels):
            pixels, verdict = OSError(), 0
    data = struct.pack("<I", len(file)) + file
    if isinstance(pixels, Exception):
        return data + b"\0"
    height, width, _ = pixels.shape
    return data + struct.pack("<BIII", verdict, width, height, zlib.crc32(pixels.tobytes()))


def cut_changes(file, pixels):
    """Whether pixels depend on bits after the end: ones instead of zeros give other pixels."""
    data = file.removesuffix(b"\xff")  # half of an end marker
    others = [pillow(data + more + END) for more in (b"\xff\0" * 40, b"\x55" * 40, b"\xaa" * 40)]
    return any(isinstance(other, Exception) or (other != pixels).any() for other in others)


def main():
    FOLDER.mkdir(exist_ok=True)
    for number, kind in enumerate(KINDS):
        rng = random.Random(number)
        whole = images(rng, kind, 16, 40 if kind.startswith("jpeg") else 12)
        small = images(rng, kind, 16, 8)
        cases = whole + [file[: len(file) * share // 100] for file in small[:6] for share in (50, 98, 99)]
        cases += [file[: len(file) - count] for file in small[:6] for count in (1, 2, 8)]
        if kind not in ONLY_CUT:
            cases += [mutated(rng, rng.choice(small)) for _ in range(24)]
        (FOLDER / f"{kind.replace(' ', '_')}.bin").write_bytes(zlib.compress(b"".join(entry(file, kind) for file in cases), 9))


main()
