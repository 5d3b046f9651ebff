"""Writes Grad-CAM maps (Selvaraju et al. 2017) of torchvision's networks: tests/golden/grad_cam_*.safetensors.

    cargo xtask golden --python PYTHON      # PYTHON has torch and torchvision

Weights and images are those of generate.py, in eval mode. README.md describes the files. Everything is computed in
float64 and rounded to float32 once. The script prints the table for README.md.
"""

import json

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file

from generate import HERE, VARIANTS, images, network

IMAGES = 2
CLASSES = 10
EXPLAINED = 3  # the first classes
LEAST_SIDE = 7


def explained_layer(model, x):
    """The last child of `features` with a map of at least 7 x 7, or else the first."""
    chosen = 0
    with torch.no_grad():
        for index, layer in enumerate(model.features):
            x = layer(x)
            if min(x.shape[2:]) >= LEAST_SIDE:
                chosen = index
    return chosen


def grad_cam(model, layer, x):
    """The logits, and the sums before ReLU of the first classes [class, image, row, column]. Hooks catch the map and its gradient."""
    caught = {}

    def keep(_module, _inputs, output):
        output.retain_grad()
        caught["map"] = output

    hook = model.features[layer].register_forward_hook(keep)
    sums = []
    for label in range(EXPLAINED):
        logits = model(x)
        logits[:, label].sum().backward()
        a, gradient = caught["map"], caught["map"].grad
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        sums.append((weights * a).sum(1).detach())
    hook.remove()
    return logits.detach(), torch.stack(sums)


def normalised(sums):
    """The positive part of each map, divided by its maximum; without a positive part, zeros."""
    positive = torch.relu(sums)
    largest = positive.amax(dim=(2, 3), keepdim=True)
    return torch.where(largest > 0, positive / torch.where(largest > 0, largest, 1), 0)


def write_case(variant, side):
    found = {}
    for dtype in (torch.float64, torch.float32):
        model = network(variant, side, CLASSES, dtype).eval()
        x = images("input", IMAGES, side).to(dtype)
        layer = explained_layer(model, x)
        logits, sums = grad_cam(model, layer, x.requires_grad_())
        found[dtype] = logits, normalised(sums)
    logits, maps = found[torch.float64]
    error = float((found[torch.float32][1].double() - maps).abs().max())
    blank = int((maps.amax(dim=(2, 3)) == 0).sum())
    tensors = {"logits": logits, "maps": maps}
    tensors = {name: value.numpy().astype(np.float32) for name, value in tensors.items()}
    case = {
        "layer": f"features.{layer}",
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    file = f"grad_cam_{variant}_{side}.safetensors"
    save_file(tensors, HERE / file, {"case": json.dumps(case)})
    (HERE / file).chmod(0o644)
    shape = " x ".join(str(size) for size in maps.shape[2:])
    spread = float(maps.std(dim=(2, 3)).mean())
    print(f"| `{file}` | `features.{layer}` | {shape} | {blank} of {IMAGES * EXPLAINED} | {spread:.2f} | {error:.1e} |")


def main():
    torch.set_num_threads(1)  # one order of summation, so that a second run writes the same bytes
    for variant in VARIANTS:
        for side in (224, 32):
            write_case(variant, side)


if __name__ == "__main__":
    main()
