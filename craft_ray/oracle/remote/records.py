"""Where the requests and answers of an endpoint are put on record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.oracle.remote.adapters import endpoint_id

BILL_FILE = "bill.db"
"""In a run's folder: every request, and whether it was or may have been billed."""
ANSWERS_FOLDER = "answers"
"""Beside the runs: answers that were paid for."""
BILLS_FOLDER = "bills"
"""In it: the bills of what belongs to no run, such as predictions."""
ANSWERS_SUFFIX = ".db"


@dataclass(frozen=True)
class Records:
    """Where what is asked and answered is put on record.

    Attributes:
        run: its name, which the bill is of.
        bill: the file of all requests.
        answers: the file of what was answered.
        max_cost: money that may be spent; None: any.
    """

    run: str
    bill: Path
    answers: Path
    max_cost: float | None = None


def records_of_run(config: EndpointConfig, folder: Path, max_cost: float | None = None) -> Records:
    """Of a run, in its folder; answers are kept beside all runs, so that other runs find them."""
    return Records(folder.name, folder / BILL_FILE, answers_file(config, folder), max_cost)


def records_beside_runs(
    config: EndpointConfig, output_dir: Path, name: str, max_cost: float | None = None
) -> Records:
    """Of questions that belong to no run, such as predictions, under a name of their own."""
    folder = output_dir / ANSWERS_FOLDER
    bill = folder / BILLS_FOLDER / f"{name}.db"
    return Records(name, bill, answers_file(config, folder / name), max_cost)


def answers_file(config: EndpointConfig, folder: Path) -> Path:
    """Where answers are kept that a run in `folder` has paid for."""
    if not config.keep_answers:
        return folder / f"answers{ANSWERS_SUFFIX}"
    kept = config.answers_folder
    beside = folder.parent
    if kept is None and beside.name != ANSWERS_FOLDER:
        beside /= ANSWERS_FOLDER
    return (beside if kept is None else Path(kept)) / f"{endpoint_id(config)[:24]}{ANSWERS_SUFFIX}"
