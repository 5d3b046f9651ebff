"""Writes loss.json: torch's losses and their gradients, in float64.

Run with a Python that has torch:  python crates/trainer/tests/golden/generate_loss.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
CLASSES = 5
BATCHES = {
    "ordinary": ((torch.randn(7, CLASSES, dtype=torch.float64) * 3).float(), [0, 1, 2, 3, 4, 2, 2]),
    # Logits at which f32 exponentials overflow, of images classified confidently right or wrong.
    "extreme": (
        torch.tensor([[1e4, -1e4, 0, 1, 2], [-1e4, 1e4, 1e4, 3, 4], [1e4, 0, 0, 0, -1e4], [88, -88, 17, -1e4, 20]]),
        [0, 0, 1, 0],
    ),
    # All images are of one class.
    "one class": ((torch.randn(4, CLASSES, dtype=torch.float64) * 2).float(), [3, 3, 3, 3]),
    "one image": (torch.tensor([[0.25, -1.5, 3.0, 0.0, 20.0]]), [4]),
}
CLASS_WEIGHTS = [0.5, 1.0, 2.0, 0.25, 1.5]
# The weights of a batch's images, in order.
IMAGE_WEIGHTS = [1.0, 0.5, 3.0, 0.0, 1.0, 2.0, 0.25]


def rows(tensor):
    return [[float(f"{v:.9g}") for v in row] for row in tensor.tolist()]


def focal(x, y, gamma, alpha):
    """The focal loss of Lin et al., 2017. 1 - p is a sum over the other classes, which loses no digits."""
    log_p = F.log_softmax(x, 1)
    own = F.one_hot(y, CLASSES).bool()
    log_rest = torch.logsumexp(log_p.masked_fill(own, -torch.inf), 1)
    each = -alpha[y] * torch.exp(gamma * log_rest) * log_p[own]
    return each.sum() / alpha[y].sum()


def binary(x, y, smoothing, weight):
    off = smoothing / CLASSES
    target = torch.full_like(x, off).scatter(1, y[:, None], 1 - smoothing + off)
    return F.binary_cross_entropy_with_logits(x, target, weight=weight)


def mixed(x, y, share, weight, smoothing=0.0):
    """Cross-entropy of mixed one-hot targets, as in torchvision's references for MixUp."""
    hot = F.one_hot(y, CLASSES).double()
    target = share * hot + (1 - share) * hot.roll(1, 0)
    return F.cross_entropy(x, target, weight=weight, label_smoothing=smoothing)


def weighted(x, y, images, weight, smoothing):
    """Cross-entropy with a weight per image: the weighted sum divided by the sum of all weights."""
    each = F.cross_entropy(x, y, weight=weight, label_smoothing=smoothing, reduction="none")
    return (images * each).sum() / (images * weight[y]).sum()


def distilled(x, y, temperature, share):
    teacher = x.detach().flip(1) * 0.5
    soft = F.kl_div(
        F.log_softmax(x / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - share) * F.cross_entropy(x, y) + share * temperature**2 * soft


def settings():
    for smoothing in (0.0, 0.1, 0.3):
        for weights in ("none", CLASS_WEIGHTS):
            loss = dict(type="cross_entropy", label_smoothing=smoothing, class_weights=weights)
            yield dict(loss=loss), lambda x, y, w, s=smoothing: F.cross_entropy(x, y, weight=w, label_smoothing=s)
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0):
        for weights in ("none", CLASS_WEIGHTS):
            loss = dict(type="focal", gamma=gamma, alpha=weights)
            yield dict(loss=loss), lambda x, y, w, g=gamma: focal(x, y, g, w)
    for smoothing in (0.0, 0.2):
        for weights in ("none", CLASS_WEIGHTS):
            loss = dict(type="binary_cross_entropy", label_smoothing=smoothing, class_weights=weights)
            yield dict(loss=loss), lambda x, y, w, s=smoothing: binary(x, y, s, w)
    plain = dict(type="cross_entropy")
    for share in (0.0, 0.3, 1.0):
        yield dict(loss=plain, mixed=share), lambda x, y, w, s=share: mixed(x, y, s, w)
    for smoothing in (0.0, 0.2):
        loss = dict(type="cross_entropy", label_smoothing=smoothing, class_weights=CLASS_WEIGHTS)
        # The number is the same in f32 and in f64.
        share = 0.375
        yield dict(loss=loss, mixed=share), lambda x, y, w, s=smoothing: mixed(x, y, share, w, s)
        yield (
            dict(loss=loss, image_weights=IMAGE_WEIGHTS),
            lambda x, y, w, s=smoothing: weighted(x, y, torch.tensor(IMAGE_WEIGHTS)[: len(y)].double(), w, s),
        )
    for temperature, share in ((1.0, 0.5), (4.0, 0.9), (2.0, 1.0)):
        yield (
            dict(loss=plain, temperature=temperature, teacher=share),
            lambda x, y, w, t=temperature, s=share: distilled(x, y, t, s),
        )


batches = []
for name, (logits, labels) in BATCHES.items():
    cases = []
    for setting, loss_of in settings():
        x = logits.double().requires_grad_()
        key = "alpha" if setting["loss"]["type"] == "focal" else "class_weights"
        weights = setting["loss"].get(key, "none")
        weights = torch.tensor([1.0] * CLASSES if weights == "none" else weights, dtype=torch.float64)
        loss = loss_of(x, torch.tensor(labels), weights)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(x.grad).all(), (name, setting, loss)
        cases.append(dict(**setting, value=loss.item(), gradient=rows(x.grad)))
    batches.append(dict(name=name, logits=rows(logits), labels=labels, cases=cases))

path = pathlib.Path(__file__).with_name("loss.json")
lines = []
for batch in batches:
    cases = ",\n  ".join(json.dumps(case) for case in batch.pop("cases"))
    lines.append(json.dumps(batch)[:-1] + f', "cases": [\n  {cases}\n]}}')
path.write_text('{"torch": "%s", "batches": [\n' % torch.__version__ + ",\n".join(lines) + "\n]}\n")
print("wrote", path)
