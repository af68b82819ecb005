"""A whole fine-tuning in a Ray Train worker, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from craft_ray.classifiers.selection import Selected
from craft_ray.files.folders import place_of
from craft_ray.files.remote import Place
from craft_ray.jobs.job import TrainJob, run_job
from craft_ray.metering.ledger import Spending
from craft_ray.tuners.state import LAST_REPORT, load_state, selected_in


@dataclass(frozen=True)
class FineTuned:
    """The end of a fine-tuning."""

    selected: Selected
    spent: Spending
    """By the worker."""
    retried_chunks: int
    """Chunks that were sent again after they were lost; they are paid for once."""
    diverged: bool
    curve: list[tuple[int, float]]
    """Candidate queries and validation accuracy, from the start, however often it was taken up."""


def fine_tune(
    job: TrainJob, name: str, storage_path: Place, on_report: Callable[[dict[str, Any]], None]
) -> FineTuned:
    """Run `job` to its end, or take it up where it was left. See `run_job`."""
    result = run_job(job, name, storage_path, on_report)
    assert result.checkpoint is not None  # the last generation always reports one
    state = load_state(place_of(result.checkpoint.path, storage_path))
    return FineTuned(
        selected=selected_in(state),
        spent=Spending.from_dict(state.values["spent"]),
        retried_chunks=int(state.values[LAST_REPORT]["retried_chunks"]),
        diverged=bool(state.values["diverged"]),
        curve=state.values["curve"],
    )
