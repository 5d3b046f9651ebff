"""Writes torchvision's results: tests/golden/mobilenet_v3_*.safetensors and mobilenet_v2_*.safetensors.

    cargo xtask golden --python PYTHON      # PYTHON has torch and torchvision

Weights, images and labels are not stored. This script and the Rust tests compute
them with the formula below, which README.md describes. Only PyTorch's results are
stored. They are computed in float64 from the float32 fills and rounded to float32
once, so they are more exact than any float32 implementation. The script prints the
errors of PyTorch's own float32, as the table for README.md.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
VARIANTS = ("mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v2")
# Image side and batch. At 32 px the last maps are 1x1, so a batch norm has one value per sample. With 16 samples, its
# variance is well above zero.
BATCH = {224: 2, 32: 16}
CLASSES = (10, 1000)
PROJECTIONS = 8
WHOLE_GRADIENT = 64  # gradients of at most this many elements are stored whole
CURVE_STEPS = 20
CURVE_LEARNING_RATE = 1e-4  # at a rate of 1e-3, even PyTorch's float32 differs from the curve by 1e-3 or more
# A fill is centre + spread * uniform. At 224 px an activation has millions of elements, and some are within a rounding
# error of ReLU's kink. Each one that rounding moves across the kink changes a gradient by up to 1e-2. So at 224 px the
# batch norms of MobileNetV3 give 0.9 +- 0.3, three deviations away from every kink. At 32 px they give 0 +- 1, which
# covers all parts of every activation. MobileNetV2's ReLU6 has a second kink; its batch norms give 3 +- 0.8 and 2 +-
# 1.5.
V3_NORM = {
    224: {"weight": (0.3, 0.06), "bias": (0.9, 0.06), "running_mean": (0.0, 0.2), "running_var": (0.09, 0.045)},
    32: {"weight": (1.0, 0.2), "bias": (0.0, 0.2), "running_mean": (0.0, 0.2), "running_var": (1.0, 0.5)},
}
V2_NORM = {
    224: {"weight": (0.8, 0.16), "bias": (3.0, 0.16), "running_mean": (0.0, 0.2), "running_var": (0.64, 0.32)},
    32: {"weight": (1.5, 0.3), "bias": (2.0, 0.5), "running_mean": (0.0, 0.2), "running_var": (2.25, 1.1)},
}
NORM = {"mobilenet_v3_large": V3_NORM, "mobilenet_v3_small": V3_NORM, "mobilenet_v2": V2_NORM}
# Weights have variance gain / fan_in / 3. In eval mode nothing renormalises the activations. With a slightly lower gain
# of the convolutions, differences between images vanish in the logits; with a slightly higher gain, they explode.
CONV_GAIN = {
    "mobilenet_v3_large": {224: 3.5, 32: 4.75},
    "mobilenet_v3_small": {224: 4.0, 32: 5.75},
    "mobilenet_v2": {224: 6.0, 32: 6.0},
}
LINEAR_GAIN = 3.0


def fnv1a(text):
    """FNV-1a, 32 bits, of the text's UTF-8 bytes."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def hashes(name, count):
    """hash(fnv1a(name), i) for i in 0..count, as uint32; every operation wraps."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
    x ^= np.uint32(fnv1a(name))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def uniform(name, count):
    """float32 in [-1, 1) on a grid of 2^-23: exact in Python and in Rust."""
    grid = (hashes(name, count) >> np.uint32(8)).astype(np.float32)
    return grid * np.float32(2.0**-23) - np.float32(1.0)


def around(centre, spread, name, count):
    """Centre and spread are rounded to float32 once; the product and the sum are float32 operations."""
    return np.float32(centre) + np.float32(spread) * uniform(name, count)


def fill(name, shape, in_norm, variant, side):
    """One parameter or running statistic; `in_norm` says whether it belongs to a batch norm."""
    leaf, count = name.rsplit(".", 1)[1], math.prod(shape)
    if in_norm:
        centre, spread = NORM[variant][side][leaf]
    elif leaf == "bias":
        centre, spread = 0.0, 0.1
    else:
        gain = CONV_GAIN[variant][side] if len(shape) == 4 else LINEAR_GAIN
        centre, spread = 0.0, math.sqrt(gain / math.prod(shape[1:]))
    return around(centre, spread, name, count).reshape(shape)


def images(name, batch, side):
    shape = (batch, 3, side, side)
    return torch.from_numpy(around(0.0, 2.0, name, math.prod(shape)).reshape(shape))


def labels(name, batch, classes):
    return torch.from_numpy((hashes(name, batch) % np.uint32(classes)).astype(np.int64))


def network(variant, side, classes, dtype):
    build = getattr(torchvision.models, variant)
    model = build(weights=None, num_classes=classes, dropout=0.0)
    norms = {name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros_like(tensor)
            continue
        in_norm = name.rsplit(".", 1)[0] in norms
        state[name] = torch.from_numpy(fill(name, tuple(tensor.shape), in_norm, variant, side))
    model.load_state_dict(state, strict=True)
    return model.to(dtype)


def running(model, leaf):
    """A running statistic of all batch norms, concatenated in module order."""
    return torch.cat([value for name, value in model.named_buffers() if name.endswith(leaf)])


def one_step(variant, side, batch, classes, dtype):
    """All results of one case that the Rust tests compare, in one precision."""
    x = images("input", batch, side).to(dtype)
    y = labels("label", batch, classes)
    model = network(variant, side, classes, dtype)
    with torch.no_grad():
        answers = {"eval.logits": model.eval()(x)}
    logits = model.train()(x)
    loss = torch.nn.functional.cross_entropy(logits, y)
    loss.backward()
    answers["train.logits"] = logits.detach()
    answers["train.loss"] = loss.detach().reshape(1)
    answers["train.running_mean"] = running(model, "running_mean")
    answers["train.running_var"] = running(model, "running_var")
    return answers, {name: p.grad.reshape(-1) for name, p in model.named_parameters()}


def summary(gradient):
    """The L2 norm of a gradient, then its dot products with the eight Rademacher vectors: element i
    of vector j is +1 where bit j of hash(fnv1a("projection"), i) is set, else -1."""
    bits = hashes("projection", gradient.numel())
    dots = []
    for j in range(PROJECTIONS):
        signs = ((bits >> np.uint32(j)) & np.uint32(1)).astype(np.float64) * 2 - 1
        dots.append(float(gradient.numpy() @ signs))
    return [float(gradient.norm()), *dots]


def curve(variant, side, batch, dtype):
    """The losses of Adam steps (PyTorch's defaults) on the case's one batch, each
    before its update. The loss falls far, so a wrong optimizer is noticed."""
    model = network(variant, side, 10, dtype).train()
    x, y = images("input", batch, side).to(dtype), labels("label", batch, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=CURVE_LEARNING_RATE)
    losses = []
    for _ in range(CURVE_STEPS):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def relative(got, want):
    return float((got.double() - want).norm() / want.norm())


def write_case(variant, side, batch, classes):
    answers, gradients = one_step(variant, side, batch, classes, torch.float64)
    single, single_gradients = one_step(variant, side, batch, classes, torch.float32)
    tensors = {name: value.numpy().astype(np.float32) for name, value in answers.items()}
    tensors["gradient.summary"] = np.array([summary(g) for g in gradients.values()], np.float32)
    for name, gradient in gradients.items():
        if gradient.numel() <= WHOLE_GRADIENT:
            tensors[f"gradient.{name}"] = gradient.numpy().astype(np.float32)
    # If the output of a batch norm is read only by another batch norm, after a linear convolution, its bias has no
    # influence. Its gradient is 0 apart from rounding.
    total = math.sqrt(sum(float(g.norm()) ** 2 for g in gradients.values()))
    zero = [name for name, g in gradients.items() if float(g.norm()) < 1e-12 * total]
    noise = max(float(single_gradients[name].norm()) for name in zero) / total
    deviation = {name: relative(single_gradients[name], g) for name, g in gradients.items() if name not in zero}
    worst = max(deviation, key=deviation.get)
    row = [f"{(single['eval.logits'].double() - answers['eval.logits']).abs().max():.1e}"]
    for key in ("train.logits", "train.running_mean", "train.running_var"):
        row.append(f"{relative(single[key], answers[key]):.1e}")
    row.append(f"{deviation[worst]:.1e} (`{worst}`)")
    row.append(f"{noise:.1e}")
    if side == 32 and classes == 10:
        losses = curve(variant, side, batch, torch.float64)
        single_losses = curve(variant, side, batch, torch.float32)
        tensors["curve.losses"] = losses.astype(np.float32)
        row.append(f"{np.max(np.abs(single_losses - losses) / losses):.1e}")
    else:
        row.append("")
    case = {
        "parameters": list(gradients),
        "zero_gradients": zero,
        "batch": batch,
        "image_size": side,
        "classes": classes,
        "learning_rate": CURVE_LEARNING_RATE,
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    file = f"{variant}_{side}_{classes}.safetensors"
    # The metadata has one key, because safetensors writes several keys in a different order in each run.
    save_file(tensors, HERE / file, {"case": json.dumps(case)})
    (HERE / file).chmod(0o644)
    span = float(answers["eval.logits"].abs().max())
    spread = float(answers["eval.logits"].std(0).mean())
    least = min(float(g.norm()) for name, g in gradients.items() if name not in zero)
    print(f"| `{file}` | {' | '.join(row)} |")
    print(f"  eval logits to {span:.3g}, {spread:.2g} apart; loss {float(answers['train.loss']):.4g}; "
          f"gradient norm {total:.3g}, its smallest part {least:.2g}", file=sys.stderr)


def main():
    torch.set_num_threads(1)  # one order of summation, so that a second run writes the same bytes
    for variant in VARIANTS:
        for side, batch in BATCH.items():
            for classes in CLASSES:
                write_case(variant, side, batch, classes)


if __name__ == "__main__":
    main()
