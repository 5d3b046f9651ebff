"""Writes scores.json: scikit-learn's accuracy, precision, recall and F1.

Run with a Python that has scikit-learn:  python crates/trainer/tests/golden/generate_scores.py
"""

import json
import pathlib

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

random = np.random.default_rng(0)
mixed = random.integers(0, 7, 60)
CASES = {
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
}


def scores(truth, predicted, **options):
    names = ("precision", "recall", "f1")
    found = precision_recall_fscore_support(truth, predicted, zero_division=0, **options)[:3]
    return {name: np.asarray(value).tolist() for name, value in zip(names, found)}


def case(name, classes, labels, predictions):
    each = scores(labels, predictions, labels=list(range(classes)), average=None)
    return {
        "name": name,
        "classes": classes,
        "labels": labels,
        "predictions": predictions,
        "accuracy": accuracy_score(labels, predictions),
        "each": [dict(zip(each, values)) for values in zip(*each.values())],
        "average": scores(labels, predictions, average="macro"),
    }


cases = [case(name, *rest) for name, rest in CASES.items()]
path = pathlib.Path(__file__).with_name("scores.json")
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
