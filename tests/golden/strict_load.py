"""Loads files of untrained networks, as this project writes them, into the projects' own networks with strict=True.

    cargo build -p mobilenet --example new_weights
    python strict_load.py target/debug/examples/new_weights [FAMILY...]

Python needs the packages of generate_families.py; family_cases.py has the networks. Tensors that are not learned, such
as torchvision's relative_position_index, must equal the project's own.
"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

from family_cases import FAMILIES

CLASSES = 5


def check(case, program, path):
    command = [program, case.variant, case.scheme, str(CLASSES), str(path)]
    subprocess.run(command, check=True)
    state = load_file(path)
    with contextlib.redirect_stdout(sys.stderr):
        model = case.build(CLASSES)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # The file has the scheme's names.
    state = {name: state.pop(case.rename(name)) for name in before} | state
    model.load_state_dict(state, strict=True)
    for name, tensor in before.items():
        learned = tensor.is_floating_point() and not name.endswith("attn_mask")
        assert learned or torch.equal(tensor, state[name]), f"{name} differs"
        assert tensor.dtype == state[name].dtype, f"{name} is {state[name].dtype}"
    return len(state)


def main():
    program, *families = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "weights.safetensors"
        for family in families or FAMILIES:
            for case in FAMILIES[family].cases:
                try:
                    result = f"{check(case, program, path)} tensors"
                except Exception as error:
                    failed += 1
                    result = f"FAILED: {error}"
                print(f"{case.variant} {case.scheme}: {result}", flush=True)
    sys.exit(f"{failed} failed" if failed else None)


if __name__ == "__main__":
    main()
