"""Writes images with an EXIF orientation, and ImageOps.exif_transpose's results: golden data for tests/data/exif.rs.

    python generate_exif.py        (needs pillow; writes exif/)

Writes the images <name>.<format>. answers.json has for each image width, height and a checksum of the RGB bytes
(FNV-1a, 64 bits).
"""

import io
import json
import struct
from pathlib import Path

from PIL import Image, ImageOps

FORMATS = {"jpg": dict(format="JPEG", quality=90), "png": dict(format="PNG"), "webp": dict(format="WEBP", lossless=True)}


def picture():
    data = bytes((29 * x + 53 * y + 85 * c + x * y) % 256 for y in range(5) for x in range(8) for c in range(3))
    return Image.frombytes("RGB", (8, 5), data)


def entry(order, tag, kind, count, value):
    return struct.pack(order + "HHL", tag, kind, count) + value


def exif(orientation, order=">", kind=3, count=1, first=b"", value=None, offset=8, entries=None):
    pack = {3: "H2x", 8: "h2x", 4: "L", 9: "l", 1: "B3x", 6: "b3x"}
    value = value if value is not None else struct.pack(order + pack[kind], orientation)
    head = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(order + "L", offset)
    body = first + entry(order, 0x0112, kind, count, value)
    entries = entries if entries is not None else len(body) // 12
    return head + struct.pack(order + "H", entries) + body + b"\0\0\0\0"


# Unusual EXIF data. If Pillow finds an orientation in them, it is 6.
ODD = {
    "little": exif(6, order="<"),
    "long": exif(6, kind=4),
    "signed": exif(6, kind=9),
    "three_values": exif(6, count=3, value=struct.pack(">L", 2), first=entry(">", 0x0100, 3, 1, struct.pack(">H2x", 8))),
    "values_outside": exif(6, count=3, value=struct.pack(">L", 4000)),
    "no_value": exif(6, count=0),
    "byte": exif(6, kind=1),
    "signed_byte": exif(6, kind=6),
    "two_values": exif(6, count=2, value=struct.pack(">HH", 6, 6)),
    "zero": exif(0),
    "nine": exif(9),
    "second_entry": exif(6, first=entry(">", 0x0100, 3, 1, struct.pack(">H2x", 8))),
    "twice": exif(6, first=entry(">", 0x0112, 3, 1, struct.pack(">H2x", 3))),
    "twice_first_unknown": exif(6, first=entry(">", 0x0112, 99, 1, struct.pack(">H2x", 3))),
    "more_entries_than_there_are": exif(6, entries=9),
    "directory_outside": exif(6, offset=4000),
    "cut_in_its_entry": exif(6)[:16],
    "no_end": exif(6)[:-4],
    "empty": b"",
    "name_twice": b"Exif\0\0" + exif(6),
}


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def main():
    folder = Path(__file__).parent / "exif"
    folder.mkdir(exist_ok=True)
    answers = {}
    cases = {f"turn_{turn}": exif(turn) for turn in range(1, 9)} | ODD
    for name, data in cases.items():
        for ending, options in FORMATS.items():
            if ending != "jpg" and name in ODD and name not in ("little", "empty", "name_twice"):
                continue
            out = io.BytesIO()
            picture().save(out, exif=b"Exif\0\0" + data if ending == "jpg" else data, **options)
            file = out.getvalue()
            path = folder / f"{name}.{ending}"
            path.write_bytes(file)
            image = Image.open(io.BytesIO(file))
            turned = ImageOps.exif_transpose(image).convert("RGB")
            answers[path.name] = [turned.width, turned.height, fnv(turned.tobytes())]
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items())
    (folder / "answers.json").write_text("{\n" + lines + "\n}\n")
    print(len(answers), "files,", sum(path.stat().st_size for path in folder.iterdir()), "bytes")


main()
