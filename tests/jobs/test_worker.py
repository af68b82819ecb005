"""What a Ray Train worker reports, from the start and after it was taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import ray.train
import torch

from craft_ray.jobs import worker
from craft_ray.jobs.job import TrainJob
from craft_ray.jobs.worker import train_worker
from craft_ray.pool.metrics import ClientTotals
from craft_ray.tuners.state import LAST_REPORT, load_state
from tests.support.fake_oracle import FakeOracle
from tests.support.recording import RecordingOracle
from tests.support.world import BOTH_ANSWERS, make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
NUM_REPORTS = 3


class FakePool(RecordingOracle):
    """A pool of one, which loses no chunk."""

    totals = ClientTotals()


class FakeRayTrain:
    """Keeps what a worker reports; the next one starts from the checkpoint that is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start_from: Path | None = None
        self.reports: list[dict[str, Any]] = []
        self.checkpoints: list[Path] = []

    def get_checkpoint(self) -> ray.train.Checkpoint | None:
        return None if self.start_from is None else ray.train.Checkpoint(str(self.start_from))

    def report(self, metrics: dict[str, Any], checkpoint: ray.train.Checkpoint) -> None:
        kept = self.folder / f"checkpoint_{len(self.checkpoints)}"
        shutil.copytree(checkpoint.path, kept)
        self.checkpoints.append(kept)
        self.reports.append(metrics)


@pytest.fixture
def ray_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRayTrain:
    fake = FakeRayTrain(tmp_path)
    monkeypatch.setattr(ray.train, "get_checkpoint", fake.get_checkpoint)
    monkeypatch.setattr(ray.train, "report", fake.report)
    # A worker has its process to itself; here others would go on with its single thread.
    monkeypatch.setattr(worker, "threadpool_limits", lambda limit: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return fake


def work(fake: FakeRayTrain, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a worker to its end; returns the number of its questions."""
    pool = FakePool(FakeOracle(answers=BOTH_ANSWERS))
    world = make_world(run_config(max_queries=40), data=DATA, oracle=pool)
    monkeypatch.setattr(worker, "PoolOracle", lambda *words: pool)
    before = len(pool.questions)
    train_worker(TrainJob(world.config, world.prepared, cast(Any, None), fake.folder))
    return len(pool.questions) - before


def test_each_report_comes_with_a_checkpoint_that_holds_it(
    ray_train: FakeRayTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(ray_train, monkeypatch)
    assert [report["outcome"] for report in ray_train.reports] == ["running"] * 2 + ["finished"]
    for report, checkpoint in zip(ray_train.reports, ray_train.checkpoints, strict=True):
        assert load_state(checkpoint).values[LAST_REPORT] == report


def test_the_last_report_is_repeated_to_who_did_not_hear_it(
    ray_train: FakeRayTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(ray_train, monkeypatch)
    ray_train.start_from = ray_train.checkpoints[-1]
    assert work(ray_train, monkeypatch) == 0
    assert ray_train.reports[NUM_REPORTS:] == ray_train.reports[NUM_REPORTS - 1 : NUM_REPORTS]
    again, first = load_state(ray_train.checkpoints[-1]), load_state(ray_train.start_from)
    assert again.values == first.values
    assert again.arrays.keys() == first.arrays.keys()


def test_one_that_goes_on_repeats_no_report(
    ray_train: FakeRayTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(ray_train, monkeypatch)
    ray_train.start_from = ray_train.checkpoints[0]
    work(ray_train, monkeypatch)
    generations = [report["generation"] for report in ray_train.reports]
    assert generations == [2, 4, 5, 4, 5]


def test_one_that_goes_on_knows_the_curve_from_the_start(
    ray_train: FakeRayTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(ray_train, monkeypatch)
    whole = load_state(ray_train.checkpoints[-1]).values["curve"]
    assert [queries for queries, _ in whole] == [16, 32, 40]
    ray_train.start_from = ray_train.checkpoints[1]
    work(ray_train, monkeypatch)
    assert load_state(ray_train.checkpoints[-1]).values["curve"] == whole


def test_points_that_nobody_may_have_heard_are_handed_over_again_as_they_were(
    ray_train: FakeRayTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(ray_train, monkeypatch)
    unheard = ray_train.reports[1]["points"]
    ray_train.start_from = ray_train.checkpoints[1]
    work(ray_train, monkeypatch)
    points = ray_train.reports[NUM_REPORTS]["points"]
    assert points[: len(unheard)] == unheard
    assert [point["generation"] for point in points] == [3, 4, 5]
