"""How many flipped labels does `craft-ray data check --labels` find, and how many right ones does
it doubt?

    python -m benchmarks.wrong_labels --seeds 1 2 3 4 5

So many images of each class of the embedded data set are drawn from all splits, and a share of
their labels becomes another class, each as likely. What the embedded model answers is asked once;
the head is fitted to the flipped labels, as the command does it. Means over seeds. "First 20" is
the precision of those that the command prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.record import commit, write_result
from craft_ray.config.data import EmbeddedSource
from craft_ray.config.loading import load_run_config
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.data.report import SHOWN_AT_MOST
from craft_ray.data.sources import load_dataset
from craft_ray.inference.label_check import (
    ChosenImages,
    ask,
    choose_images,
    find_wrong,
    names_asked,
)
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.loaded import load_here

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)
IMAGES_A_CLASS = (20, 50, 100)
FOLDS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args(arguments)
    commit_id = commit()
    config = load_run_config(DEFAULT_RUN)
    dataset = load_dataset(EmbeddedSource())
    every = choose_images(dataset, max(IMAGES_A_CLASS), config.seed)
    task = ClassificationTask(names_asked(config, dataset, every), config.data.template)
    oracle = MeteredOracle(load_here(config.oracle, Path("runs")), QueryLedger(0))
    logits_NF = ask(oracle, task, every)
    rows = [
        _mean([_measure(every, logits_NF, per_class, share, seed) for seed in options.seeds])
        for per_class in IMAGES_A_CLASS
        for share in SHARES
    ]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    Console().print(table)
    path = write_result("wrong_labels", commit_id, {"seeds": options.seeds, "rows": rows})
    Console().print(str(path))


def _measure(
    every: ChosenImages, logits_NF: FloatArray, per_class: int, share: float, seed: int
) -> dict[str, float]:
    """One set of images with one set of flips."""
    rng = np.random.default_rng(seed)
    num_classes = len(every.classes)
    own = [rng.permutation(np.flatnonzero(every.places == place)) for place in range(num_classes)]
    rows = np.sort(np.concatenate([members[:per_class] for members in own]))
    is_flipped = rng.random(len(rows)) < share
    shifts = rng.integers(1, num_classes, len(rows)) * is_flipped
    images = []
    for row, shift in zip(rows.tolist(), shifts.tolist(), strict=True):
        split, item = every.images[row]
        images.append((split, replace(item, label=(item.label + shift) % num_classes)))
    flipped = replace(every, images=tuple(images))
    found = find_wrong(logits_NF[rows], flipped, FOLDS, seed)
    wrong = {item.name for (_, item), bad in zip(images, is_flipped, strict=True) if bad}
    hits = [issue.image[1].name in wrong for issue in found]
    return {
        "images a class": per_class,
        "flipped": share,
        "wrong": len(wrong),
        "found": len(found),
        "precision": float(np.mean(hits)) if hits else 0.0,
        "recall": sum(hits) / len(wrong) if wrong else 0.0,
        "first 20": float(np.mean(hits[:SHOWN_AT_MOST])) if hits else 0.0,
    }


def _mean(measured: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {key: float(np.mean([each[key] for each in measured])) for key in measured[0]}


if __name__ == "__main__":
    main()
