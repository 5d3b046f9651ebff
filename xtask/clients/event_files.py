"""Compares the event files of a run with its metrics.jsonl, through TensorBoard's own reader.

usage: python event_files.py RUN
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "loss/train": "train_loss",
    "loss/validation": "val_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "val_accuracy",
    "macro_f1/validation": "val_macro_f1",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


def main(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    if missing := TAGS.keys() - set(tags["scalars"]):
        return f"no scalars for {sorted(missing)}; there are {tags['scalars']}"
    for tag, key in TAGS.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        # Event files hold f32.
        expected = [(r["epoch"], struct.unpack("f", struct.pack("f", r[key]))[0]) for r in reports]
        if found != expected:
            return f"{tag}: TensorBoard has {found}, metrics.jsonl {expected}"
    images = events.Images("images/train") if "images/train" in tags["images"] else []
    if len(images) != 1 or not images[0].encoded_image_string.startswith(b"\x89PNG"):
        return f"{len(images)} pictures of training images, expected one PNG"
    print(f"{len(TAGS)} scalars of {len(reports)} epochs equal metrics.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
