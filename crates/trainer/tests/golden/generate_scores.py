"""Writes scores.json, curves.json and temperature.json: the scores of scikit-learn, scipy, numpy and torch.

Run with a Python that has scikit-learn and torch:  python crates/trainer/tests/golden/generate_scores.py

A score that scikit-learn leaves undefined (it warns and returns nan) is null, and the means leave it out. The average
precision of a class without images is null too: scikit-learn warns and returns 0.

The expected calibration error is that of Guo et al., 2017, since scikit-learn has none: 15 bins of equal width of the
largest probability, each with its upper edge; the mean over the images of |accuracy - mean probability| of their bin.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
BOOTSTRAP_SAMPLES = 20_000
random = np.random.default_rng(0)
mixed = random.integers(0, 7, 60)
COUNTED = {
    # Each case: name, number of classes, labels, predictions.
    "all right, one class neither among the images nor predicted": (3, [0, 0, 1, 1], [0, 0, 1, 1]),
    "a class without images that is predicted": (3, [0, 0, 1, 1], [0, 2, 1, 1]),
    "a class never predicted, another one that does not occur": (
        4,
        [0, 0, 0, 1, 1, 2, 2, 2, 2],
        [0, 2, 0, 0, 2, 2, 2, 0, 2],
    ),
    "one class alone": (5, [2, 2, 2], [2, 2, 2]),
    "all wrong": (3, [0, 0], [1, 1]),
    "two classes, of which none is the positive one": (2, [0, 0, 0, 1], [0, 0, 0, 0]),
    "every class occurs": (7, mixed.tolist(), np.where(random.random(60) < 0.6, mixed, (mixed + 3) % 7).tolist()),
    "one image, right": (4, [1], [1]),
    "one image, wrong": (2, [0], [1]),
    "one class among the images, several predicted": (3, [1, 1, 1, 1], [1, 0, 2, 1]),
}


def rows_for(predictions, classes, scale):
    """Random probabilities (whole numbers of `scale`, each row with this sum) whose first largest one is predicted."""
    rows = []
    for predicted in predictions:
        row = random.multinomial(scale, random.dirichlet(np.ones(classes)))
        best = int(np.argmax(row))
        row[[best, predicted]] = row[[predicted, best]]
        if np.argmax(row) != predicted:  # an earlier class is as probable
            row[int(np.argmax(row))] -= 1
            row[predicted] += 1
        rows.append(row.tolist())
    return rows


def drawn(name, classes, images, scale, skill, present=None):
    """A case whose predictions follow from random probabilities that know something of the labels."""
    labels = random.choice(present or classes, images)
    rows = []
    for label in labels:
        share = random.dirichlet(np.full(classes, 0.5))
        share[label] += skill * random.random()
        rows.append(random.multinomial(scale, share / share.sum()).tolist())
    return name, classes, labels.tolist(), np.argmax(rows, axis=1).tolist(), rows, scale


def defined(value):
    return None if value is None or math.isnan(value) else float(value)


def mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def scores(truth, predicted, **options):
    names = ("precision", "recall", "f1")
    found = precision_recall_fscore_support(truth, predicted, zero_division=0, **options)[:3]
    return {name: np.asarray(value).tolist() for name, value in zip(names, found)}


def expected_calibration_error(truth, probabilities):
    probabilities = probabilities.astype(np.float64)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.digitize(confidence, np.arange(1, 15) / 15, right=True)
    each = [(bins == b) for b in range(15)]
    gaps = [b.sum() * abs(right[b].mean() - confidence[b].mean()) for b in each if b.any()]
    return float(sum(gaps) / len(truth))


def macro_f1(matrices):
    """The macro F1 of confusion matrices [n, classes, classes] over the classes that occur in each."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    ends = matrices.sum(axis=1) + matrices.sum(axis=2)
    f1 = 2 * hits / np.maximum(ends, 1)
    return f1.sum(axis=1) / (ends > 0).sum(axis=1)


def bootstrap(truth, predicted, classes):
    matrix = confusion_matrix(truth, predicted, labels=range(classes))
    whole = macro_f1(matrix[None])[0]
    assert abs(whole - f1_score(truth, predicted, average="macro", zero_division=0)) < 1e-12
    samples = random.multinomial(len(truth), matrix.ravel() / len(truth), size=BOOTSTRAP_SAMPLES)
    found = macro_f1(samples.reshape(-1, classes, classes))
    low, high = np.percentile(found, [2.5, 97.5])
    return {"low": low, "high": high, "std": found.std()}


def case(name, classes, labels, predictions, rows, scale):
    truth, predicted = np.array(labels), np.array(predictions)
    probabilities = (np.array(rows) / scale).astype(np.float32)
    assert (probabilities.argmax(axis=1) == predicted).all()
    every = range(classes)
    each = scores(labels, predictions, labels=list(every), average=None)
    each = [dict(zip(each, values)) for values in zip(*each.values())]
    for label, entry in enumerate(each):
        own, taken = truth == label, predicted == label
        entry["specificity"] = float((~taken)[~own].mean()) if (~own).any() else None
        entry["roc_auc"] = defined(roc_auc_score(own, probabilities[:, label])) if own.any() and not own.all() else None
        found = average_precision_score(own, probabilities[:, label])
        entry["average_precision"] = float(found) if own.any() else None
    macro_auc = mean(entry["roc_auc"] for entry in each)
    if classes > 2 and set(labels) == set(every):
        theirs = roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
        assert abs(theirs - macro_auc) < 1e-12
    interval = binomtest(int((truth == predicted).sum()), len(truth)).proportion_ci(method="wilson")
    top = {k: top_k_accuracy_score(truth, probabilities, k=k, labels=list(every)) for k in (2, 3, 5) if k < classes}
    return {
        "name": name,
        "classes": classes,
        "labels": labels,
        "predictions": predictions,
        "probabilities": rows,
        "scale": scale,
        "accuracy": accuracy_score(labels, predictions),
        "interval": [interval.low, interval.high],
        "balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "cohen_kappa": defined(cohen_kappa_score(truth, predicted, labels=list(every))),
        "top_k": top,
        "expected_error": expected_calibration_error(truth, probabilities),
        "macro_roc_auc": macro_auc,
        "macro_average_precision": mean(entry["average_precision"] for entry in each),
        "each": each,
        "average": scores(labels, predictions, average="macro"),
        "macro_f1_interval": bootstrap(truth, predicted, classes),
    }


def curve(labels, values, scale):
    probabilities = (np.array(values) / scale).astype(np.float32)
    fpr, tpr, _ = roc_curve(labels, probabilities, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(labels, probabilities, drop_intermediate=False)
    return {
        "labels": [bool(label) for label in labels],
        "probabilities": list(map(int, values)),
        "scale": scale,
        "roc": np.stack([fpr, tpr], axis=1).tolist(),
        "precision_recall": np.stack([recall, precision], axis=1)[::-1].tolist(),
    }


def temperature(name, labels, logits):
    """The temperature of the smallest mean cross-entropy in 0.05 to 20, as the zero of its slope by 1/T in f64."""
    logits = np.asarray(logits, dtype=np.float32)
    values, targets = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)

    def slope(factor):
        factor = torch.tensor(factor, dtype=torch.float64, requires_grad=True)
        torch.nn.functional.cross_entropy(values * factor, targets).backward()
        return factor.grad.item()

    low, high = 1 / 20, 1 / 0.05
    if slope(low) > 0:
        factor = low
    elif slope(high) < 0:
        factor = high
    else:
        factor = brentq(slope, low, high, xtol=1e-15, rtol=4 * np.finfo(float).eps, maxiter=1000)
    return {
        "name": name,
        "labels": list(map(int, labels)),
        "logits": [[float(str(value)) for value in row] for row in logits],
        "temperature": 1 / factor,
    }


def of_network(images, classes, sureness, error):
    """Rounded logits of a network that errs in a share of the images, and is this sure of all its answers."""
    labels = random.integers(0, classes, images)
    answers = np.where(random.random(images) < error, random.integers(0, classes, images), labels)
    logits = random.normal(size=(images, classes)) + sureness * np.eye(classes)[answers]
    return labels, np.round(logits, 3)


def write(name, cases):
    text = "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n"
    (HERE / name).write_text(text)


cases = [case(name, *rest, rows_for(rest[2], rest[0], 512), 512) for name, rest in COUNTED.items()]
for given in [
    drawn("two classes", 2, 80, 4096, 1.5),
    drawn("two classes with many ties", 2, 60, 4, 1.0),
    drawn("six classes with ties", 6, 70, 16, 2.0),
    drawn("six classes without ties", 6, 70, 1 << 20, 2.0),
    drawn("twelve classes, of which four have images", 12, 50, 1024, 3.0, [1, 2, 7, 11]),
    drawn("ten classes, sure answers", 10, 90, 1 << 16, 30.0),
    drawn("four classes, guessing", 4, 60, 256, 0.0),
]:
    cases.append(case(*given))
everywhere = [[1, 1, 1, 1]] * 6
cases.append(case("every probability equal", 4, [0, 1, 2, 3, 3, 0], [0] * 6, everywhere, 4))
write("scores.json", cases)

few = random.integers(0, 2, 30)
write(
    "curves.json",
    [
        curve(few, random.multinomial(1, [0.5, 0.5], 30)[:, 0] * 2 + few, 4),
        curve(few, np.clip(random.integers(0, 3000, 30) + 900 * few, 0, 4096), 4096),
        curve([1, 0], [3, 3], 4),
    ],
)
right = random.integers(0, 5, 12)
write(
    "temperature.json",
    [
        temperature("too sure", *of_network(60, 10, 9, 0.2)),
        temperature("not sure enough", *of_network(60, 10, 2.5, 0.0)),
        temperature("two classes", *of_network(50, 2, 4, 0.3)),
        temperature("much too sure", *of_network(40, 4, 60, 0.4)),
        temperature("all right", right, np.eye(5)[right] * 3),
        temperature("all wrong", (right + 1) % 5, np.eye(5)[right] * 3),
        temperature("one image, right", [1], [[0.25, 0.5, 0.0]]),
        temperature("small logits", right, np.round(np.eye(5)[(right + random.integers(0, 2, 12)) % 5] * 0.02, 3)),
    ],
)
