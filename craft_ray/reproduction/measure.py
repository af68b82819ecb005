"""What a cell measures: a fine-tuning of one sample, tested once at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.classifier import Classifier, TemplateClassifier
from craft_ray.classifiers.earlier_prompt import earlier_prompt
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.score import Score
from craft_ray.config.data import ShiftedName
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset, check_testable
from craft_ray.files.remote import Place
from craft_ray.jobs.driver_oracle import driver_oracle
from craft_ray.jobs.job import JobStoppedError, Reporter
from craft_ray.jobs.tuned import Tuned, read_selected
from craft_ray.jobs.tuning import tune
from craft_ray.metering.journal import open_journal
from craft_ray.metering.ledger import Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.pool.address import PoolAddress
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.places import cell_folder, worker_folder
from craft_ray.reproduction.shifted import load_shifted
from craft_ray.reproduction.verified import verify_once
from craft_ray.reproduction.zero_shot import ZeroShot
from craft_ray.task.preparation import classification_task, load_data, prepare
from craft_ray.task.provenance import data_summary, versions
from craft_ray.tuners.feature_probe import fit_linear_probe

CLASSIFIER_FOLDER = "classifier"


def measure_cell(
    cell: Cell,
    config: RunConfig,
    shifted: Sequence[ShiftedName],
    zero_shot: ZeroShot | None,
    grid: Place,
    pool: PoolAddress,
    reporter: Reporter,
) -> dict[str, Any]:
    """Tune, then test on the data set's test split and on the shifted sets; the cell's result.

    Args:
        cell: which.
        config: its settings.
        shifted: data sets beside its own, for one of ImageNet.
        zero_shot: what is measured beside it; None: nothing.
        grid: folder of the reproduction.
        pool: whom to ask.
        reporter: hears of the fine-tuning.

    Raises:
        JobStoppedError: it was told to stop; what was paid for is on record.
    """
    with driver_oracle(config, pool, cell_folder(grid, cell)) as oracle:
        return _measure(cell, config, shifted, zero_shot, grid, pool, oracle, reporter)


def _measure(
    cell: Cell,
    config: RunConfig,
    shifted: Sequence[ShiftedName],
    zero_shot: ZeroShot | None,
    grid: Place,
    pool: PoolAddress,
    oracle: MeteredOracle,
    reporter: Reporter,
) -> dict[str, Any]:
    started = time.monotonic()
    data = load_data(config, lambda items: verify_once(items, grid))
    check_testable(data.dataset)
    task = classification_task(config, data)
    start = earlier_prompt(config, task, oracle.describe())
    prepared = prepare(config, data, oracle, start)
    examiner = Examiner(oracle, prepared, data)
    classifier: Classifier
    validation: Score | None
    tuned: Tuned | None = None
    tuning_started = time.monotonic()
    if cell.method == "linear_probe":
        classifier, validation = fit_linear_probe(oracle, prepared)
    else:
        prepared, _ = examiner.validate_zero_shot()
        worker = worker_folder(grid, cell)
        with open_journal(worker) as journal:
            tuned = tune(config, prepared, pool, worker, journal, reporter)
        if tuned.outcome == "stopped early":  # half of it is no number of a table
            raise JobStoppedError
        selected = read_selected(worker)
        classifier, validation = selected.classifier, selected.validation
        ids = prepared.oracle_id, prepared.weights_id
        artifact = Artifact(
            selected.classifier,
            task,
            *ids,
            config.oracle,
            logit_scale=prepared.logit_scale,
            decoding=data.dataset.decoding,
        )
        artifact.save(cell_folder(grid, cell) / CLASSIFIER_FOLDER)
    tuning_seconds = time.monotonic() - tuning_started
    tested: dict[str, Classifier] = {"tuned": classifier}
    if zero_shot is not None:
        tested["zero_shot"] = examiner.zero_shot
        if zero_shot.hand_crafted is not None:
            tested["hand_crafted"] = TemplateClassifier(zero_shot.hand_crafted)

    def test(on: Dataset | None = None) -> dict[str, dict[str, Any]]:
        scores = examiner.test(list(tested.values()), on)
        return {name: asdict(score) for name, score in zip(tested, scores, strict=True)}

    own = test()
    shifts = {}
    if cell.dataset == "imagenet":
        shifts = {name: test(load_shifted(config, name)) for name in shifted}
    untuned = None
    if zero_shot is not None:
        by_hand = None
        if zero_shot.hand_crafted is not None:
            by_hand = {"template": zero_shot.hand_crafted, "test": own["hand_crafted"]}
        untuned = {"test": own["zero_shot"], "hand_crafted": by_hand}
    spent = Spending() if tuned is None else tuned.spent
    return {
        "outcome": "finished" if tuned is None else tuned.outcome,
        **asdict(cell),
        "zero_shot": untuned,
        "tuned": {"validation": validation and asdict(validation), "test": own["tuned"]},
        "shifted": shifts,
        "curve": [] if tuned is None else tuned.curve,
        "ledger": (spent + examiner.spent).as_dict(),
        "tuning_seconds": round(tuning_seconds, 3),
        "seconds": round(time.monotonic() - started, 3),
        "data": data_summary(data),
        "oracle_id": prepared.oracle_id,
        "versions": versions(),
        "settings": config.model_dump(mode="json"),
    }
