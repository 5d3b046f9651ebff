"""Measures PyTorch for `cargo xtask bench train`: whole training steps on synthetic data.

A step is forward, cross-entropy, backward and Adam. Tensors are channels-last and
float32, the fastest eager setting of PyTorch on a CPU. `--compile` adds torch.compile.
"""

import torch
import torchvision
from protocol import arguments, network, serve

options = arguments(
    "model", "image_size", "batch", "threads", compile="compile the network with torch.compile"
)
torch.manual_seed(0)
torch.set_num_threads(options.threads)
build = getattr(torchvision.models, network(options.model))
model = build(weights=None, num_classes=10).train().to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
images = torch.randn(options.batch, 3, options.image_size, options.image_size)
images = images.contiguous(memory_format=torch.channels_last)
labels = torch.arange(options.batch) % 10
forward = torch.compile(model) if options.compile else model


def steps(count):
    for _ in range(count):
        loss = torch.nn.functional.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


serve(steps)
