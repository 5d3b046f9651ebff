"""Predicts one image with onnxruntime and prints a line of CSV, for `cargo xtask bench startup`."""

import argparse
import os

import numpy
import onnxruntime
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--onnx", required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--out", required=True)
parser.add_argument("image")
options = parser.parse_args()

settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = options.threads
session = onnxruntime.InferenceSession(options.onnx, settings, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
size = entry.shape[2]
image = Image.open(options.image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
pixels = (numpy.asarray(image, dtype=numpy.float32) / 255 - 0.5) / 0.5
logits = session.run(None, {entry.name: pixels.transpose(2, 0, 1)[None]})[0][0]
shares = numpy.exp(logits - logits.max())
label = int(logits.argmax())
os.makedirs(options.out, exist_ok=True)
with open(os.path.join(options.out, "predictions.csv"), "w") as file:
    file.write("image_id,label,probability\n")
    file.write(f"{os.path.basename(options.image)},{label},{shares[label] / shares.sum()}\n")
