"""Writes the valid files of the folders image, idx, gzip_idx and state, which `cargo xtask fuzz` mutates. Needs pillow and
numpy."""

import gzip
import hashlib
import io
import json
import math
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


def states():
    """States of a run in the middle of an epoch and at its end, with a few small tensors."""
    scores = {"loss": 0.5, "accuracy": 0.9, "macro_f1": 0.875}
    best = {"epoch": 1, "score": 0.9, "scores": scores, "file": "mobilenet_v3_small_e1_0.90000.safetensors"}
    times = dict.fromkeys(["data", "forward", "backward", "optimizer", "validation", "other"], 0.25)
    report = {
        "epoch": 1, "train_loss": 2.5, "train_accuracy": 0.25, "val_loss": 0.5, "val_accuracy": 0.9,
        "val_macro_f1": 0.875, "learning_rate": 0.001, "images_per_second": 100.0, "seconds": 1.5, "times": times,
        "ema": scores, "unreadable": {"train": {"cat": 1}},
    }
    counts = {"tracked": 10, "since_restart": 5}
    record = {
        "version": 1,
        "origin": {"version": "0.1.0", "device": "cpu", "instructions": "avx2", "threads": 2},
        "place": {"epoch": 2, "batch": 3}, "ending": None, "batches": 13, "steps": 13, "left_out_in_a_row": 0,
        "model": {
            "name": "mobilenet_v3_small", "classes": 2, "width": 0.25, "head": "torchvision", "dropout": 0.2,
            "batch_norm_momentum": 0.1, "batch_norm_epsilon": 0.001, "stem_stride": 2, "padding": "symmetric",
            "design": "torchvision",
        },
        "counts": counts, "fresh_statistics": True, "unsettled": False, "epochs_without_gain": 0,
        "optimizer": {"optimizer": "adamw", "groups": [{"name": "head", "steps": 13, "frozen": False}]},
        "schedule": {
            "epoch": 1, "step": 3,
            "plateau": {"learning_rate": 0.001, "best": 0.9, "num_bad_epochs": 0, "cooldown_counter": 0},
        },
        "loss_scaler": {"scale": 65536.0, "good_steps": 13},
        "tracks": [
            {"updates": None, "best": best, "kept": best, "counts": counts},
            {"updates": [13, 13], "best": best, "kept": None, "counts": counts},
        ],
        "best": best,
        "epoch": {
            "confusion": {"cells": [[0, 5], [3, 7]], "loss_sum": 6.5, "weight_sum": 12.0},
            "learning_rate": 0.001, "times": times,
        },
        "reports": [report], "unreadable": [[[3, "it is cut off"]], []], "images": "0" * 64,
        "files": {"distillation.teacher": "f" * 64},
    }
    yield "within_an_epoch", state(record)
    end = {"place": {"epoch": 3, "batch": 0}, "ending": "completed", "epoch": None, "loss_scaler": None}
    yield "at_the_end", state(record | end)


def state(record):
    """The file of a state, as in the module `state::file` of the trainer."""
    shapes = {"weights/features.0.0.weight": [2, 3, 3, 3], "weights/classifier.3.bias": [2], "best.0/classifier.3.bias": [2]}
    header, offset = {"__metadata__": {"checksum": "0" * 64, "state": json.dumps(record, separators=(",", ":"))}}, 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"data_offsets": [offset, end], "dtype": "F32", "shape": shape}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    numbers = struct.pack(f"<{offset // 4}f", *(index / 8 for index in range(offset // 4)))
    file = struct.pack("<Q", len(text)) + text + numbers
    checksum = hashlib.sha256(file).hexdigest()
    return file.replace(b"0" * 64, checksum.encode(), 1)


def compressed(file, level):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as stream:
        stream.write(file)
    return out.getvalue()


def main():
    for name, file in image_files():
        (HERE / "image").mkdir(exist_ok=True)
        (HERE / "image" / name).write_bytes(file)
    (HERE / "state").mkdir(exist_ok=True)
    for name, file in states():
        (HERE / "state" / f"{name}.safetensors").write_bytes(file)
    for folder in ["idx", "gzip_idx"]:
        (HERE / folder).mkdir(exist_ok=True)
    for name, file in idx_files():
        (HERE / "idx" / name).write_bytes(file)
        # In a stored block, a mutated byte leaves the rest readable.
        (HERE / "gzip_idx" / f"{name}.gz").write_bytes(compressed(file, 9))
        (HERE / "gzip_idx" / f"{name}_stored.gz").write_bytes(compressed(file, 0))


main()
