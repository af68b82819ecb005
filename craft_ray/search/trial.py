"""A trial as Ray Tune knows it: hands its job to a slot, and the job's reports to the scheduler.

Light: it waits, and one process serves many trials, one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.tune
from ray.tune.result import DONE

from craft_ray.config.distributions import Scalar
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import POINTS, REPORTS, Message, Report, repeated, take_up_result
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.search.objectives import as_compared
from craft_ray.search.sharing import with_answers
from craft_ray.search.trials_on_disk import trial_folder

ERROR = "error"
"""Key of the report of a trial that has failed: why, in words."""


@dataclass(frozen=True)
class SearchJob:
    """What all trials share.

    Attributes:
        space: the search.
        prepared: Ray's reference to the `PreparedTask`.
        pool: whom to ask.
        board: the actor that has jobs done.
        folder: of the search.
    """

    space: SpaceConfig
    prepared: Any
    pool: PoolAddress
    board: Any
    folder: Place

    def fine_tuning(self, number: int, params: Mapping[str, Scalar]) -> FineTuning:
        """The job of a trial."""
        return FineTuning(
            name=str(number),
            config=with_answers(self.space.resolve(params), self.folder),
            prepared=self.prepared,
            pool=self.pool,
            place=trial_folder(self.folder, number),
        )


def trial_resources(config: RunConfig) -> ray.tune.PlacementGroupFactory:
    """Of the process that waits for a slot, and where; one for all trials, so that they can share
    processes."""
    selector = place_trials(config, cluster_nodes()).selector
    selectors = {"bundle_label_selector": [selector]} if selector else {}
    return ray.tune.PlacementGroupFactory([{"CPU": config.ray.cpus_per_trial}], **selectors)


class Trial(ray.tune.Trainable):
    """Fine-tunes once with the sampled parameters; a step is a report.

    A trial of an earlier part of the search, which has a result on disk, repeats its reports from
    there: sampler, scheduler and monitor learn them in no other way than the first time.
    """

    def setup(self, config: dict[str, Any], job: SearchJob) -> None:
        """Once a process."""
        self._job = job
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial of this process."""
        self._begin(new_config)
        return True

    def step(self) -> Report:
        """The next report. The last one says how the trial ended: what has failed would fail again,
        and is no error for Tune to retry."""
        report = next(self._reports)
        try:
            report = dict(as_compared(report))
        except ValueError as error:
            report = {"outcome": "failed", ERROR: str(error)}
        return {**report, DONE: report["outcome"] != "running"}

    def _begin(self, params: dict[str, Any]) -> None:
        number = int(self.trial_name)
        job = self._job.fine_tuning(number, params)
        result = take_up_result(job)
        if result is not None and result[REPORTS]:
            *reports, last = repeated(result[REPORTS], result[POINTS])
            self._reports = iter([*reports, {**last, "outcome": result["outcome"]}])
            return
        ray.get(self._job.board.submit.remote(job))
        self._reports = self._follow(job.id)

    def _follow(self, job_id: str) -> Iterator[Report]:
        index = 0
        while True:
            message: Message = ray.get(self._job.board.next_message.remote(job_id, index))
            if message.end is not None:
                yield {"outcome": message.end.outcome, ERROR: message.end.error}
                return
            assert message.report is not None
            yield message.report
            index += 1
