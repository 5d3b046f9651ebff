"""Writes torchvision's network as an ONNX file with a fixed batch size, for programs that read ONNX."""

import os

import torch
import torchvision
from protocol import arguments, network

options = arguments("model", "image_size", "batch", "threads", "out")
torch.manual_seed(0)
torch.set_num_threads(options.threads)
build = getattr(torchvision.models, network(options.model))
model = build(weights=None, num_classes=10).eval()
images = torch.randn(options.batch, 3, options.image_size, options.image_size)
unfinished = options.out + ".unfinished"
# One file that includes the weights. The other programs are tested with the exporter's default
# opset.
torch.onnx.export(model, (images,), unfinished, input_names=["images"], output_names=["logits"], external_data=False)
os.replace(unfinished, options.out)
