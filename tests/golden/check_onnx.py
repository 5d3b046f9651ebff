"""Checks exports with the programs that they are for.

    python check_onnx.py CLASSIFY [FAMILY...] [--all]

Builds each family's smallest network in its own project (with --all, every network), filled as the golden data are, and
saves its weights. CLASSIFY, the program, exports them. Then

- onnxruntime runs the ONNX file, as it is and with folded normalisations, and
- torchvision and timm load the other files with the Python code that the program prints, strictly,

and the logits must be those of the project, to 1e-4 of the largest. Needs onnxruntime besides the packages of
generate_families.py.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from family_cases import FAMILIES
from generate import images
from generate_families import BATCH, Filled, fitting_gain

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-4
# Factors of the golden data's gains. Those of EfficientNet suit one image size: in others, the values of the large
# networks grow from layer to layer, and rounding with them, up to a hundredth of the logits.
CALMER = {"efficientnet": 0.85}


def gains(family):
    """The gain of each case of a family, from its golden data if there are any."""
    path = HERE / f"family_{family}.safetensors"
    if not path.exists():
        return {}
    with safe_open(path, "np") as file:
        records = json.loads(file.metadata()["case"])["cases"]
    return {(record["variant"], record["scheme"]): record["gain"] for record in records}


def export(classify, case, weights, to, out, *more):
    """What the program prints, or None if the project has no such network."""
    size = ["--image-size", str(case.side)]
    tensorflow = ["--tensorflow"] if case.tensorflow else []
    command = [classify, "export", "--weights", weights, "--to", to, "--out", out, *size, *tensorflow, *more]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if run.returncode and "has no such" in run.stderr:
        return None
    assert run.returncode == 0, f"{case.variant}: {run.stderr}"
    return run.stdout


def difference(found, expected):
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())


def python_model(text):
    """The model that the printed code builds, or None if the project has no function for it."""
    if "in Python\n" not in text:
        return None
    lines = text.split("in Python\n", 1)[1].rstrip().splitlines()
    names = {}
    exec("\n".join(line.removeprefix("    ") for line in lines), names)
    return names["model"].eval()


def check(classify, case, gain, folder):
    filled = Filled(case, gain, torch.float32)
    state = {case.rename(name): tensor.contiguous().clone() for name, tensor in filled.model.state_dict().items()}
    weights = folder / "weights.safetensors"
    save_file({name: tensor for name, tensor in state.items() if name is not None}, weights)
    x = images("input", BATCH, case.side)
    filled.model.double()
    expected = filled.logits(x.double()).numpy()
    found = {}
    for fold in ([], ["--fold-batch-norm"]):
        out = folder / "model.onnx"
        export(classify, case, weights, "onnx", out, *fold)
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        found["onnxruntime" + " folded" * len(fold)] = session.run(["logits"], {"images": x.numpy()})[0]
    for project in ("torchvision", "timm"):
        # timm's Swin takes images of one size.
        if project == "timm" and case.variant.startswith("swin_") and case.side != 224:
            continue
        text = export(classify, case, weights, project, folder / f"{project}.safetensors")
        model = None if text is None else python_model(text)
        # TensorFlow's padding is a remark of torchvision's code, not a part of it.
        if model is not None and "and TensorFlow's padding" not in text:
            with torch.no_grad():
                found[project] = model(x).numpy()
    errors = {program: difference(logits, expected) for program, logits in found.items()}
    print(case.variant, case.scheme, *(f"{program} {error:.1e}" for program, error in errors.items()), flush=True)
    return all(error < TOLERANCE for error in errors.values())


def main():
    words = sys.argv[1:]
    everything = "--all" in words
    classify, *chosen = [word for word in words if word != "--all"]
    right = True
    for family in chosen or FAMILIES:
        table = FAMILIES[family]
        gain = gains(family)
        seen = set()
        for case in table.cases:
            if case.variant in seen or not (everything or case.variant in table.trained):
                continue
            # Images of projects that load with OpenCV have other colours, and their weights are turned on loading.
            if case.bgr:
                continue
            seen.add(case.variant)
            fill = gain.get((case.variant, case.scheme)) or fitting_gain(case)
            fill *= CALMER.get(family, 1.0)
            with tempfile.TemporaryDirectory() as folder:
                right &= check(classify, case, fill, pathlib.Path(folder))
    sys.exit(0 if right else "logits differ")


if __name__ == "__main__":
    main()
