"""A search without Ray: its trials one after the other, in this process."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.tune.result import TRAINING_ITERATION
from rich.console import Console

from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs import fine_tuning, tuning
from craft_ray.jobs.experiment import Experiment
from craft_ray.jobs.run_clock import RunClock
from craft_ray.jobs.worker import run
from craft_ray.pool.address import PoolAddress
from craft_ray.search import run as search_run
from craft_ray.search.optuna_search import make_search
from craft_ray.search.record import SearchKeys
from craft_ray.search.results import read_results
from craft_ray.search.sharing import shared_probes
from craft_ray.search.trial import SearchJob
from craft_ray.task.preparation import FewShotData, prepare
from craft_ray.tracking.base import NullTracker
from tests.support.fake_pool import FakePool
from tests.support.reporters import SilentReporter
from tests.support.world import metered


class Clock:
    """In place of the module `time`: the same in every search."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def monotonic(self) -> float:
        return float(next(self._ticks))

    def time_ns(self) -> int:
        return next(self._ticks)


class OneProcessSearch:
    """What Ray carries from one part of a search to another is handed over."""

    def __init__(
        self, space: SpaceConfig, folder: Path, data: FewShotData, patch: pytest.MonkeyPatch
    ) -> None:
        self.space = space
        self.folder = folder
        self.pool = FakePool()
        self.console = Console(width=80, file=io.StringIO())
        clock = Clock()
        patch.setattr(tuning, "PoolOracle", lambda *words: self.pool)
        patch.setattr(fine_tuning, "ray", SimpleNamespace(get=lambda reference: reference))
        patch.setattr(tuning, "time", clock)
        driver = metered(self.pool)
        examiner = Examiner(driver, prepare(space.base, data, driver), data)
        prepared, zero_shot = examiner.validate_zero_shot()
        self.experiment = Experiment(
            config=space.base,
            data=data,
            folder=folder,
            console=self.console,
            tracker=NullTracker(),
            slots=cast(Any, None),
            pool=PoolAddress("", ""),
            keeper=cast(Any, SimpleNamespace(stats=lambda timeout_s: {})),
            prepared=prepared,
            zero_shot=zero_shot,
            examiner=examiner,
            clock=RunClock(folder, clock.monotonic),
            startup_s=0.0,
        )

        shared = shared_probes(space, prepared, folder)
        self.job = SearchJob(
            space,
            replace(prepared, shared_probes=shared),
            self.experiment.pool,
            cast(Any, None),
            folder,
        )

    def run_trial(self, number: int, params: dict[str, Any]) -> SilentReporter:
        """What it reported."""
        reporter = SilentReporter()
        run(self.job.fine_tuning(number, params), reporter, lambda: True)
        return reporter

    def run(self) -> None:
        """All trials that the sampler suggests, and the end."""
        search = make_search(self.space, self.experiment.data.size, self.folder)
        ended: dict[int, str] = {}
        for number in range(1, self.space.trials + 1):
            params = search.suggest(str(number))
            reporter = self.run_trial(number, cast(Any, params))
            for step, report in sorted(reporter.reports.items()):
                search.on_trial_result(str(number), {**report, TRAINING_ITERATION: step + 1})
            search.on_trial_complete(str(number), report)
            ended[number] = report["outcome"]
        assert not self.pool.passing, "test images wait until the choice is made"
        self.conclude(ended)

    def conclude(self, ended: dict[int, str]) -> None:
        """Compare the trials and test the best."""
        results = read_results(self.folder, ended, {})
        search_run._conclude(self.space, results, self.experiment, SearchKeys("search"))
