"""A job's reports arrive, all of them and in order, before its result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from ray.train import Result
from ray.train.v2.api.callback import UserCallback

from craft_ray.config.run import RayConfig
from craft_ray.jobs import job
from craft_ray.jobs.job import CHECKPOINT_PATH, TrainJob, run_job
from craft_ray.jobs.ray_session import ray_session

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with ray_session(RayConfig(num_cpus=1, object_store_mb=100)):
        yield


class FakeTrainer:
    """Ray Train's side: ends as soon as its last report is on the way."""

    def __init__(self, callback: UserCallback, fails: bool) -> None:
        self._callback = callback
        self._fails = fails

    def fit(self) -> str:
        for generation in range(5):
            self._callback.after_report(cast(Any, None), [{"generation": generation}], None)
        if self._fails:
            raise RuntimeError("the worker died")
        return "result"


def run(monkeypatch: pytest.MonkeyPatch, fails: bool, pause_s: float) -> tuple[list[int], Result]:
    def make_trainer(*words: Any) -> FakeTrainer:
        return FakeTrainer(words[-1], fails)

    monkeypatch.setattr(job, "_make_trainer", make_trainer)
    seen: list[int] = []

    def on_report(report: dict[str, Any]) -> None:
        time.sleep(pause_s)
        assert CHECKPOINT_PATH not in report
        seen.append(report["generation"])

    try:
        result = run_job(cast(TrainJob, None), "name", Path(), on_report)
    finally:
        assert seen == [0, 1, 2, 3, 4]
    return seen, result


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_the_end_does_not_overtake_the_last_report(
    monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    _, result = run(monkeypatch, fails=False, pause_s=pause_s)
    assert cast(str, result) == "result"


def test_a_failed_job_gives_its_reports_and_then_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError, match="the worker died"):
        run(monkeypatch, fails=True, pause_s=0.0)
