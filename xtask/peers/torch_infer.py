"""Measures PyTorch for `cargo xtask bench infer`: eager, channels-last, float32."""

import torch
import torchvision
from protocol import arguments, network, serve

options = arguments("model", "image_size", "batch", "threads")
torch.manual_seed(0)
torch.set_num_threads(options.threads)
build = getattr(torchvision.models, network(options.model))
model = build(weights=None, num_classes=10).eval().to(memory_format=torch.channels_last)
images = torch.randn(options.batch, 3, options.image_size, options.image_size)
images = images.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def steps(count):
    for _ in range(count):
        model(images)


serve(steps)
