"""Measures how far `classify serve --decode fast` differs from `--decode exact`.

usage: python decode_difference.py CLASSIFY WEIGHTS FILE...

Sends each JPEG file to a server of each kind. Prints the differences between the images that the network sees, in grey
levels, and the share of files with the same label. docs/serve.md has figures for photos of Debian's packages
mate-backgrounds and lomiri-wallpapers.
"""

import base64
import io
import json
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import numpy
from PIL import Image


@contextmanager
def server(classify, weights, decode):
    command = [classify, "serve", "--port", "0", "--decode", decode, "--weights", weights]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()


def answer(address, path, file):
    request = urllib.request.Request(address + path, file, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as found:
        return json.load(found)


def seen(address, file):
    """The image that the network sees."""
    text = answer(address, "/v1/explain", file)["seen"]
    image = Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))
    return numpy.asarray(image.convert("RGB"), dtype=int)


def main(classify, weights, files):
    means, largest, changes, others = [], [], [], []
    with server(classify, weights, "exact") as exact, server(classify, weights, "fast") as fast:
        for path in files:
            with open(path, "rb") as opened:
                file = opened.read()
            difference = abs(seen(exact, file) - seen(fast, file))
            means.append(difference.mean())
            largest.append(difference.max())
            one, other = (answer(address, "/v1/predict", file) for address in (exact, fast))
            if one["label"] == other["label"]:
                changes.append(abs(one["score"] - other["score"]))
            else:
                others.append(one["score"])
    print(f"{len(files)} files")
    print(f"grey levels: mean difference {numpy.mean(means):.2f}, of the worst file {max(means):.2f}")
    print(f"largest difference of a pixel {max(largest)}, median over the files {numpy.median(largest):.0f}")
    print(f"same label: {len(changes)} of {len(files)}; the highest score of another's {max(others, default=0):.2f}")
    print(f"score of the same label: mean difference {numpy.mean(changes):.4f}, largest {max(changes):.4f}")


main(sys.argv[1], sys.argv[2], sys.argv[3:])
