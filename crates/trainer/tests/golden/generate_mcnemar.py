"""Writes mcnemar.json: statsmodels' McNemar test, exact below 25 discordant pairs, else corrected chi-square.

Run with a Python that has statsmodels:  python crates/trainer/tests/golden/generate_mcnemar.py
"""

import json
import pathlib

from statsmodels.stats.contingency_tables import mcnemar

PAIRS = [
    (0, 0), (0, 1), (1, 1), (0, 5), (2, 12), (7, 8), (12, 12), (0, 24), (1, 23), (11, 13),
    (0, 25), (12, 13), (13, 13), (1, 24), (20, 21), (30, 50), (100, 100), (64, 121), (400, 520), (5000, 5300), (0, 300),
]


def case(first, second):
    exact = first + second < 25
    test = mcnemar([[0, first], [second, 0]], exact=exact, correction=True)
    return {"only_first": first, "only_second": second, "is_exact": exact, "p_value": float(test.pvalue)}


path = pathlib.Path(__file__).parent / "mcnemar.json"
lines = ",\n".join(json.dumps(case(*pair)) for pair in PAIRS)
path.write_text(f"[\n{lines}\n]\n")
