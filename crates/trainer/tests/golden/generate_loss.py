"""Writes loss.json: torch's cross-entropy and its gradient for a few settings.

Run with a Python that has torch:  python crates/trainer/tests/golden/generate_loss.py
"""

import json
import pathlib

import torch

torch.manual_seed(0)
CLASSES = 5
logits = (torch.randn(7, CLASSES, dtype=torch.float64) * 3).float()
labels = torch.tensor([0, 1, 2, 3, 4, 2, 2])
weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5])

cases = []
for smoothing in (0.0, 0.1, 0.3):
    for weighted in (False, True):
        x = logits.double().requires_grad_()
        loss = torch.nn.functional.cross_entropy(
            x,
            labels,
            weight=weights.double() if weighted else None,
            label_smoothing=smoothing,
        )
        loss.backward()
        cases.append(
            {
                "label_smoothing": smoothing,
                "class_weights": weights.tolist() if weighted else [1.0] * CLASSES,
                "loss": loss.item(),
                "gradient": [[float(f"{v:.9g}") for v in row] for row in x.grad.tolist()],
            }
        )

out = {
    "logits": [[float(f"{v:.9g}") for v in row] for row in logits.tolist()],
    "labels": labels.tolist(),
    "cases": cases,
}
path = pathlib.Path(__file__).with_name("loss.json")
path.write_text(json.dumps(out, indent=1) + "\n")
print("wrote", path)
