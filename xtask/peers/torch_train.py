"""PyTorch's side of `cargo xtask bench train`: whole training steps on synthetic data.

Prints `ready`; then, for each line `run K` on stdin, takes K steps (forward,
cross-entropy, backward, Adam) and prints the seconds they took; `quit` ends it.
Channels-last and float32, PyTorch's fastest eager setting on a CPU.
"""

import argparse
import sys
import time

import torch
import torchvision

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=("large", "small"), required=True)
parser.add_argument("--image-size", type=int, required=True)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
arguments = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(arguments.threads)
build = getattr(torchvision.models, f"mobilenet_v3_{arguments.model}")
model = build(weights=None, num_classes=10).train().to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
images = torch.randn(arguments.batch, 3, arguments.image_size, arguments.image_size)
images = images.contiguous(memory_format=torch.channels_last)
labels = torch.arange(arguments.batch) % 10


def step():
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


print("ready", flush=True)
for line in sys.stdin:
    match line.split():
        case ["run", count]:
            started = time.perf_counter()
            for _ in range(int(count)):
                step()
            print(time.perf_counter() - started, flush=True)
        case ["quit"]:
            break
        case _:
            sys.exit(f"{line!r}; expected `run K` or `quit`")
