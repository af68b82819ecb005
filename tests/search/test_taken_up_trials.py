"""A trial of an earlier part of the search, which has ended there. No Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.job import POINTS, REPORTS, RESULT_FILE, write_result
from craft_ray.metering.journal import is_compact, open_journal, spent_on_record
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.search.trial import SearchJob, Trial
from craft_ray.search.trials_on_disk import trial_folder

COST = Spending(candidate_queries=2, search_predictions=20)
SPACE = SpaceConfig.model_validate(
    {"name": "any", "parameters": {"head.hidden": {"kind": "choice", "values": [4, 8]}}}
)
REPORT = {"candidate_queries": 2, "outcome": "finished"}


def take_up(folder: Place) -> None:
    """As a process of Tune does with trial 1."""
    trial: Any = object.__new__(Trial)
    trial._trial_info = SimpleNamespace(trial_name="1")
    nobody = cast(Any, None)
    trial.setup({"head.hidden": 4}, SearchJob(SPACE, nobody, nobody, nobody, folder))
    assert [each["outcome"] for each in trial._reports] == ["finished"]


def test_what_its_worker_could_not_drop_any_more_is_dropped(place: Place) -> None:
    folder = trial_folder(place, 1)
    with open_journal(folder) as journal:
        journal.record(QueryId(0, "search", 0), b"what?", 0, COST, np.ones((2, 99_999)))
    write_result(folder, {"outcome": "finished", REPORTS: [REPORT], POINTS: []})
    assert not is_compact(folder)
    take_up(place)
    assert is_compact(folder)
    assert spent_on_record(folder) == COST


def test_one_that_left_nothing_is_only_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trial_folder(place, 1)
    folder.mkdir(parents=True, exist_ok=True)
    write_result(folder, {"outcome": "finished", REPORTS: [REPORT], POINTS: []})
    monkeypatch.setattr("craft_ray.jobs.fine_tuning.open_journal", None)
    take_up(place)
    assert [path.name for path in folder.iterdir()] == [RESULT_FILE]


def test_what_cannot_be_dropped_is_told_and_harms_nothing(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = trial_folder(tmp_path, 1)
    folder.mkdir(parents=True)
    (folder / "queries.db").write_bytes(b"no journal" * 999)
    write_result(folder, {"outcome": "finished", REPORTS: [REPORT], POINTS: []})
    take_up(tmp_path)
    assert "its result is stored, and stands" in caplog.text
