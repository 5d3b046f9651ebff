"""Compares our decoder with Pillow on damaged image files.

    cargo build -p mnist-data --example verdicts
    python fuzz_decode.py ../../../../target/debug/examples/verdicts 2500 [seed]

prints for each kind of file how many damaged files only our decoder reads, how many only Pillow reads, and how many
both read with different pixels. Needs pillow and numpy. generate_decode_verdicts.py makes test data with a fixed seed.
"""

import random
import struct
import subprocess
import sys

import numpy as np
from decode_cases import END, KINDS, images, mutated, pillow


def ours(program, files):
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    out = subprocess.run([program], input=data, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    for _ in files:
        accepted = out[at]
        at += 1
        if not accepted:
            yield None
            continue
        width, height = struct.unpack_from("<II", out, at)
        yield np.frombuffer(out, np.uint8, width * height * 3, at + 8).reshape(height, width, 3)
        at += 8 + width * height * 3


def main(program, count, seed=1):
    for kind in KINDS:
        rng = random.Random(f"{kind} {seed}")
        whole = images(rng, kind, 80, 40)
        files = whole + [mutated(rng, rng.choice(whole)) for _ in range(int(count))]
        counts = dict.fromkeys(["read", "refused", "lacks only its end marker", "accepted wrongly", "refused wrongly", "another size"], 0)
        counts |= {"by 1 level": 0, "by more": 0}
        for file, pixels in zip(files, ours(program, files)):
            theirs = pillow(file)
            if theirs is None:
                continue
            if isinstance(theirs, Exception):
                if pixels is None:
                    counts["refused"] += 1
                    continue
                theirs = pillow(file + END) if kind.startswith("jpeg") else None
                same = isinstance(theirs, np.ndarray) and np.array_equal(theirs, pixels)
                counts["lacks only its end marker" if same else "accepted wrongly"] += 1
            elif pixels is None:
                counts["refused wrongly"] += 1
            elif pixels.shape != theirs.shape:
                counts["another size"] += 1
            else:
                worst = np.abs(pixels.astype(int) - theirs).max()
                counts["read" if worst == 0 else "by 1 level" if worst == 1 else "by more"] += 1
        print(f"{kind}:", ", ".join(f"{value} {name}" for name, value in counts.items()), flush=True)


main(*sys.argv[1:])
