"""Measures torchvision for `cargo xtask bench data`: whole epochs of ImageFolder and DataLoader.

The workers are kept between epochs, so that their start is not measured.
"""

import argparse

import torch
from protocol import serve
from torchvision import transforms
from torchvision.datasets import ImageFolder

parser = argparse.ArgumentParser()
parser.add_argument("--root", required=True)
parser.add_argument("--image-size", type=int, required=True)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--limit", type=int)
arguments = parser.parse_args()


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    size = (arguments.image_size, arguments.image_size)
    data = ImageFolder(arguments.root, transforms.Compose([transforms.Resize(size), transforms.ToTensor()]))
    if arguments.limit is not None:
        chosen = torch.randperm(len(data))[: arguments.limit]
        data = torch.utils.data.Subset(data, chosen.tolist())
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=arguments.batch,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )

    def steps(count):
        for _ in range(count):
            epoch(loader)

    steps(1)  # starts the workers
    serve(steps)


def epoch(loader):
    images = sum(len(labels) for _, labels in loader)
    assert images == len(loader.dataset), f"{images} images of {len(loader.dataset)}"


if __name__ == "__main__":
    main()
