"""Features and names are compared seed by seed."""

from __future__ import annotations

from typing import Any

from benchmarks.features import CENTRED, HEADS, PROBE, STANDARDISED, summarise


def rows(seed: int, features: float, names: float) -> list[dict[str, Any]]:
    accuracies = dict.fromkeys((*HEADS, PROBE), 0.5) | {"features": features, "500 names": names}
    found: list[dict[str, Any]] = [
        {"task": "t", "shots": 1, "seed": seed, "head": head, "accuracy": accuracy}
        for head, accuracy in accuracies.items()
    ]
    found[-1] |= {CENTRED: 0.7, STANDARDISED: 0.6}
    return found


def test_a_difference_that_is_the_same_for_every_seed_has_no_interval() -> None:
    (row,) = summarise([*rows(1, 0.8, 0.7), *rows(2, 0.6, 0.5)])
    assert (row["features"], row["500 names"]) == (70.0, 60.0)
    assert (row["features - 500 names"], row["95 %"]) == (10.0, 0.0)
    assert (row[CENTRED], row[STANDARDISED]) == (70.0, 60.0)


def test_one_that_differs_has_one() -> None:
    (row,) = summarise([*rows(1, 0.8, 0.7), *rows(2, 0.6, 0.6)])
    assert row["features - 500 names"] == 5.0
    assert row["95 %"] > 10
