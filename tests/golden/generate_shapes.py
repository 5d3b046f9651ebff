"""Writes tests/golden/shapes.json: the shapes of other implementations' parameters.

    cargo xtask golden --python PYTHON      # PYTHON has torch, torchvision and timm

Two of the implementations are no packages. Their shapes are updated only if REFERENCE_SOURCES names a folder
with their `mobilenetv3.py` as kuan_wang.py (github.com/kuan-wang/pytorch-mobilenet-v3) and d_li14.py
(github.com/d-li14/mobilenetv3.pytorch). Otherwise their lines are kept.
"""

import importlib.util
import json
import os
import pathlib
import sys

import timm.models.mobilenetv3
import torchvision

FILE = pathlib.Path(__file__).resolve().parent / "shapes.json"
WIDTHS = (0.5, 0.75, 1.0, 1.4)
SIZES = ("large", "small")


def case(design, model, width, network):
    shapes = [list(p.shape) for p in network.parameters()]
    parameters = sum(p.numel() for p in network.parameters())
    # Biases and normalisations are compared only by the number of parameters. A fully connected layer equals a 1x1
    # convolution.
    weights = [shape for shape in shapes if len(shape) > 1]
    for shape in weights:
        while len(shape) > 2 and shape[-1] == 1:
            shape.pop()
    return {"design": design, "model": model, "width": width, "parameters": parameters, "weights": weights}


def packages(width):
    for size in SIZES:
        model = f"mobilenet_v3_{size}"
        yield case("torchvision", model, width, getattr(torchvision.models, model)(weights=None, width_mult=width))
        build = timm.models.mobilenetv3._gen_mobilenet_v3
        yield case("timm", model, width, build(f"mobilenetv3_{size}_100", width))
    network = torchvision.models.mobilenet_v2(weights=None, width_mult=width)
    yield case("torchvision", "mobilenet_v2", width, network)


def sources(folder, width):
    for name in ("kuan_wang", "d_li14"):
        spec = importlib.util.spec_from_file_location(name, pathlib.Path(folder) / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for size in SIZES:
            if name == "kuan_wang":
                network = module.MobileNetV3(n_class=1000, mode=size, width_mult=width)
            else:
                network = getattr(module, f"mobilenetv3_{size}")(width_mult=width)
            yield case(name.replace("_", "-"), f"mobilenet_v3_{size}", width, network)


def main():
    cases = [case for width in WIDTHS for case in packages(width)]
    folder = os.environ.get("REFERENCE_SOURCES")
    if folder:
        cases += [case for width in WIDTHS for case in sources(folder, width)]
    else:
        print("shapes.json: kuan-wang's and d-li14's lines are kept", file=sys.stderr)
        cases += [case for case in json.loads(FILE.read_text()) if case["design"] not in ("torchvision", "timm")]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
