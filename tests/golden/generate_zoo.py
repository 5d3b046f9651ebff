"""Writes the features of the backbones of candle-transformers: tests/golden/zoo_*.safetensors.

    cargo xtask golden --python PYTHON      # PYTHON has torch and timm

As in generate.py, this script and the Rust tests compute weights and images, and only results are
stored, computed in float64 and rounded once. README.md says how tensors are filled. A backbone's file
lists its tensors and their shapes, since the Rust code has no table of them.

    python generate_zoo.py FOLDER NAME...   # other backbones, written to another folder
"""

import json
import math
import pathlib
import sys

import timm
import torch
from safetensors.numpy import save_file

from generate import around, images

HERE = pathlib.Path(__file__).resolve().parent
# One backbone of each family.
NAMES = (
    "mobileone_s1",
    "repvgg_a0",
    "fastvit_t8",
)
SIDE, BATCH = 64, 2
WANTED = 1.0  # the approximate std of the features


def build(name):
    """The backbone without its classifier: it returns the classifier's input."""
    model = timm.create_model(name, num_classes=0)
    return model.eval()


def fill(name, shape, gain):
    """One tensor of a backbone. Tensors with one dimension belong to batch and layer norms."""
    leaf, count = name.rsplit(".", 1)[1], math.prod(shape)
    if leaf == "running_var":
        centre, spread = 1.0, 0.5
    elif leaf == "running_mean":
        centre, spread = 0.0, 0.04
    elif leaf == "gamma":
        centre, spread = 0.5, 0.2
    elif leaf == "bias":
        centre, spread = 0.0, 0.02
    elif len(shape) == 1:
        centre, spread = 1.0, 0.2
    else:
        centre, spread = 0.0, math.sqrt(gain / math.prod(shape[1:]))
    return around(centre, spread, name, count).reshape(shape)


def answer(name, gain, dtype):
    model = build(name)
    state = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    shapes = {key: list(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for key, shape in shapes.items():
        state[key] = torch.from_numpy(fill(key, shape, gain))
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        return model.to(dtype)(images("input", BATCH, SIDE).to(dtype)), shapes


def fitting_gain(name):
    """Finds by bisection a gain at which the features are neither tiny nor huge."""
    low, high = 0.05, 12.0
    for _ in range(12):
        middle = math.sqrt(low * high)
        spread = float(answer(name, middle, torch.float32)[0].std())
        low, high = (middle, high) if spread < WANTED else (low, middle)
    return round(low, 3)


def write(folder, name):
    gain = fitting_gain(name)
    features, shapes = answer(name, gain, torch.float64)
    single, _ = answer(name, gain, torch.float32)
    case = {
        "name": name,
        "image_size": SIDE,
        "gain": gain,
        "tensors": [[key, shape] for key, shape in shapes.items()],
        "torch": torch.__version__.split("+")[0],
        "timm": timm.__version__,
    }
    path = folder / f"zoo_{name}.safetensors"
    save_file({"features": features.numpy().astype("float32")}, path, {"case": json.dumps(case)})
    path.chmod(0o644)
    apart = float((features[0] - features[1]).abs().mean())
    off = float((single.double() - features).abs().max())
    print(f"| `{path.name}` | {gain} | {float(features.std()):.2g} | {apart:.2g} | {off:.1e} |", flush=True)


def main():
    torch.set_num_threads(1)
    folder, names = (pathlib.Path(sys.argv[1]), sys.argv[2:]) if len(sys.argv) > 2 else (HERE, NAMES)
    for name in names:
        write(folder, name)


if __name__ == "__main__":
    main()
