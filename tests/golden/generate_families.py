"""Writes the results of the families' own projects: tests/golden/family_*.safetensors.

    cargo xtask golden --python PYTHON           # all families
    python generate_families.py FAMILY...        # some of them

PYTHON has torch, torchvision, timm, pretrainedmodels, efficientnet-pytorch and pycls (the last three with
`pip install --no-deps`, and six, yacs, iopath, simplejson and munch). family_cases.py beside this file lists the
networks. As in generate.py, this script and the Rust tests compute weights and images by one formula, and only
results are stored, computed in float64 and rounded once. README.md describes fills and contents, and has the table
that this script prints.
"""

import contextlib
import copy
import hashlib
import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from torchvision.ops import StochasticDepth

from generate import PROJECTIONS, around, hashes, images, labels
from family_cases import FAMILIES

HERE = pathlib.Path(__file__).resolve().parent
CLASSES = 5
BATCH = 2  # images in eval mode
STEPS = 10
LEARNING_RATE = 1e-4
WANTED = 1.0  # the approximate std of the features
# The norms' bias in training; `Family.norm_weight` is their weight. ReLU's input is 0.9 +- 0.45, so few elements are so
# near the kink that rounding moves them across; each one changes gradients by up to 1e-2.
TRAINED_BIAS = (0.9, 0.1)


def fill(name, shape, gain, norm_weight=None, norm_bias=False):
    """One tensor of a network, by its name and shape. In training, `norm_weight` is the centre of the norms' weights, and
    `norm_bias` says whether the tensor is the bias of a norm."""
    leaf, count = name.rsplit(".", 1)[-1], math.prod(shape)
    if leaf == "running_var":
        centre, spread = 1.0, 0.5
    elif leaf == "running_mean":
        centre, spread = 0.0, 0.04
    elif leaf in ("gamma", "layer_scale"):
        centre, spread = 0.5, 0.2
    elif leaf == "bias":
        centre, spread = TRAINED_BIAS if norm_bias else (0.0, 0.02)
    elif leaf == "relative_position_bias_table":
        centre, spread = 0.0, 0.5
    elif len(shape) == 1:
        centre = norm_weight or 1.0
        spread = 0.2 * centre
    else:
        centre, spread = 0.0, math.sqrt(gain / math.prod(shape[1:]))
    return around(centre, spread, name, count).reshape(shape)


def is_filled(name, tensor):
    """Whether the formula fills a tensor of the state. Counters are 0; indices and masks keep their values."""
    return tensor.is_floating_point() and not name.endswith(("attn_mask", "relative_coords_table"))


def has_gain(name, tensor):
    """Whether the gain scales a tensor."""
    leaf = name.rsplit(".", 1)[-1]
    return is_filled(name, tensor) and tensor.dim() > 1 and leaf == "weight"


class Filled:
    """A network of the table, filled by the formula, in one precision."""

    def __init__(self, case, gain, dtype, norm_weight=None):
        with contextlib.redirect_stdout(sys.stderr):
            self.model = case.build(CLASSES)
        self.case = case
        state = self.model.state_dict()
        for name, tensor in state.items():
            foreign = case.rename(name)
            if foreign is not None and is_filled(name, tensor):
                weight = state.get(name.removesuffix("bias") + "weight")
                in_norm = weight is not None and weight.dim() == 1
                norm_bias = norm_weight is not None and name.endswith("bias") and in_norm
                filled = fill(foreign, tuple(tensor.shape), gain, norm_weight, norm_bias)
                state[name] = torch.from_numpy(filled)
        self.model.load_state_dict(state, strict=True)
        self.model = self.model.to(dtype).eval()
        for module in self.model.modules():
            if isinstance(module, (torch.nn.modules.dropout._DropoutNd, StochasticDepth)):
                module.p = 0.0

    def state(self):
        """Every tensor that a weights file has, as `name shape`, sorted."""
        tensors = self.model.state_dict().items()
        named = [(self.case.rename(name), list(tensor.shape)) for name, tensor in tensors]
        return sorted(f"{name} {shape}" for name, shape in named if name is not None)

    def features(self, x):
        """The input of the last fully connected layer."""
        seen = []
        last = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.no_grad():
            self.model(x)
        hook.remove()
        return seen[0]

    def logits(self, x):
        with torch.no_grad():
            return self.model.eval()(x.flip(1) if self.case.bgr else x)


def fitting_gain(case):
    """Finds by bisection a gain at which the features are neither tiny nor huge."""
    low, high = 0.05, 12.0
    x = images("input", BATCH, case.side)
    filled = Filled(case, 1.0, torch.float32)
    weights = [value for name, value in filled.model.state_dict().items() if has_gain(name, value)]
    plain = [value.clone() for value in weights]
    for _ in range(9):
        middle = math.sqrt(low * high)
        for value, unit in zip(weights, plain):
            value.copy_(unit * math.sqrt(middle))
        spread = float(filled.features(x).std())
        low, high = (middle, high) if spread < WANTED else (low, middle)
    return round(low, 3)


def evaluated(case, gain):
    """The logits in eval mode, the case, and the error of float32."""
    x = images("input", BATCH, case.side)
    filled = Filled(case, gain, torch.float32)
    single = filled.logits(x)
    filled.model.double()
    logits = filled.logits(x.double())
    largest = float(logits.abs().max())
    off = float((single.double() - logits).abs().max()) / largest
    apart = float((logits[0] - logits[1]).abs().max()) / largest
    assert off < 3e-5 and apart > 1e-2, f"{case.variant} {case.scheme}: error {off:.1e}, difference {apart:.1e}"
    state = filled.state()
    record = {
        "variant": case.variant,
        "scheme": case.scheme,
        "side": case.side,
        "gain": gain,
        "tensorflow": case.tensorflow,
        "tensors": len(state),
        "names": hashlib.sha256("\n".join(state).encode()).hexdigest(),
    }
    return logits, record, (largest, apart, off)


def summary(gradient):
    """The norm and the projections of one gradient."""
    flat = gradient.detach().reshape(-1).numpy().astype(np.float64)
    bits = hashes("projection", flat.size)
    signs = [np.where((bits >> np.uint32(j)) & np.uint32(1), 1.0, -1.0) for j in range(PROJECTIONS)]
    return [float(np.linalg.norm(flat))] + [float(flat @ sign) for sign in signs]


def trained(case, gain, batch, norm_weight, dtype):
    """The logits and gradients of the first step, the losses of 10 Adam steps, and the logits in eval mode with the
    running statistics of the first batch alone."""
    model = Filled(case, gain, dtype, norm_weight).model.train()
    x, y = images("input", batch, case.side).to(dtype), labels("label", batch, CLASSES)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses, first = [], None
    for _ in range(STEPS):
        adam.zero_grad()
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        loss.backward()
        losses.append(float(loss.detach()))
        if first is None:
            gradients = {name: summary(value.grad) for name, value in model.named_parameters()}
            with torch.no_grad():
                after = model.eval()(x[:BATCH])
            model.train()
            first = logits.detach().clone(), gradients, after
        adam.step()
    return *first, losses


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def trained_case(case, gain, batch, norm_weight):
    """The tensors of a training, its record, and the errors of float32."""
    logits, gradients, after, losses = trained(case, gain, batch, norm_weight, torch.float64)
    off_logits, off_gradients, off_after, off_losses = trained(case, gain, batch, norm_weight, torch.float32)
    total = math.sqrt(sum(row[0] ** 2 for row in gradients.values()))
    # A bias before a batch norm has no effect, so its gradient is zero.
    zero = sorted(name for name, row in gradients.items() if row[0] < 1e-9 * total)
    names = sorted(gradients)
    # The errors of small gradients count relative to a thousandth of the whole.
    errors = {}
    for name in names:
        apart = np.subtract(off_gradients[name][1:], gradients[name][1:])
        length = math.sqrt(np.mean(apart**2))
        errors[name] = length / max(gradients[name][0], 1e-3 * total)
    worst = max(errors, key=errors.get)
    off = [
        relative(off_logits, logits),
        errors[worst],
        max(abs(a / b - 1) for a, b in zip(off_losses, losses)),
        float((off_after - after).abs().max() / after.abs().max()),
    ]
    prefix = case.variant
    tensors = {
        f"{prefix}.train.logits": logits.numpy(),
        f"{prefix}.train.gradient": np.array([gradients[name] for name in names]),
        f"{prefix}.train.losses": np.array(losses),
        f"{prefix}.train.after": after.numpy(),
    }
    record = {
        "variant": case.variant,
        "side": case.side,
        "batch": batch,
        "gain": gain,
        "norm_weight": norm_weight,
        "learning_rate": LEARNING_RATE,
        "zero_gradients": zero,
    }
    return tensors, record, off, worst


def case_name(record):
    name = f"{record['variant']}.{record['scheme']}"
    return f"{name}.tensorflow" if record["tensorflow"] else name


def write(name, family):
    tensors, cases, trainings, gains = {}, [], [], {}
    for case in family.cases:
        known = family.gain or (gains.get(case.variant) if family.one_gain else None)
        gain = known or fitting_gain(case)
        gains.setdefault(case.variant, gain)
        logits, record, (largest, apart, off) = evaluated(case, gain)
        tensors[f"{case_name(record)}.logits"] = logits.numpy()
        cases.append(record)
        print(f"| {case.variant} | {case.scheme} | {gain} | {largest:.2g} | {apart:.2g} | {off:.1e} |", flush=True)
    for twin, of in family.twins.items():
        record = next(record for record in cases if (record["variant"], record["scheme"]) == of)
        own = record | {"variant": twin}
        tensors[f"{case_name(own)}.logits"] = tensors[f"{case_name(record)}.logits"]
        cases.append(own)
    for variant, batch in family.trained.items():
        case = next(case for case in family.cases if case.variant == variant)
        case = copy.copy(case)
        case.side = family.train_side
        more, record, off, worst = trained_case(case, gains[variant], batch, family.norm_weight)
        tensors |= more
        trainings.append(record)
        figures = " | ".join(f"{value:.1e}" for value in off)
        print(f"train | {variant} | {figures} | `{worst}` |", flush=True)
        assert off[0] < 3e-5 and off[1] < 3e-4 and off[2] < 3e-4 and off[3] < 3e-4, variant
    case = {"family": name, "classes": CLASSES, "cases": cases, "trainings": trainings}
    tensors = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in tensors.items()}
    path = HERE / f"family_{name}.safetensors"
    save_file(tensors, path, {"case": json.dumps(case)})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes", flush=True)


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FAMILIES:
        write(name, FAMILIES[name])


if __name__ == "__main__":
    main()
