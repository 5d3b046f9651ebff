"""Fits temperatures with torch: the golden data of `measure/temperature.rs`."""

import json
from pathlib import Path

import torch

torch.manual_seed(0)


def fitted(logits, labels):
    """The temperature of the smallest mean cross-entropy, in f64."""
    logits = torch.tensor(logits, dtype=torch.float32).double()
    labels = torch.tensor(labels)
    inverse = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [inverse], max_iter=1000, tolerance_grad=1e-15, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits * inverse, labels)
        value.backward()
        return value

    optimizer.step(loss)
    return 1 / inverse.item()


def case(name, images, classes, scale, share_right):
    labels = torch.randint(classes, (images,))
    logits = torch.randn(images, classes)
    right = torch.rand(images) < share_right
    logits[torch.arange(images), labels] += 2.0 * right
    logits = (logits * scale * 1000).round() / 1000
    rows = [[round(value, 3) for value in row] for row in logits.tolist()]
    return {
        "name": name,
        "classes": classes,
        "logits": rows,
        "labels": labels.tolist(),
        "temperature": fitted(rows, labels.tolist()),
    }


cases = [
    case("binary", 40, 2, 1.0, 0.8),
    case("too sure", 60, 10, 4.0, 0.8),
    case("not sure enough", 60, 5, 0.2, 0.95),
    case("mostly wrong", 30, 3, 1.0, 0.4),
    case("large logits", 50, 4, 20.0, 0.9),
]
path = Path(__file__).with_name("temperatures.json")
path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
