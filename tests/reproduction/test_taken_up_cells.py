"""Cells of an earlier part of the reproduction, which have ended there. No Ray."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.files.remote import Place, RemotePath
from craft_ray.jobs.job import RESULT_FILE, write_result
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.reproduction import run
from craft_ray.reproduction.grid import make_cells, settings_of
from craft_ray.reproduction.places import cell_folder, worker_folder


def test_what_their_workers_could_not_drop_any_more_is_dropped(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReproductionConfig.model_validate(
        {"root": "/", "datasets": ["dtd"], "methods": ["linear_probe"], "shots": [1]}
        | {"seeds": [1, 2], "backbones": ["embedded"]}
    )
    settings = {cell: settings_of(cell, config) for cell in make_cells(config)}
    for cell in settings:
        folder = cell_folder(place, cell)
        folder.mkdir(parents=True, exist_ok=True)
        write_result(folder, {"outcome": "finished", "zero_shot": None})
    killed, _ = settings
    for folder in (cell_folder(place, killed), worker_folder(place, killed)):
        with open_journal(folder) as journal:
            journal.record(QueryId(0, "search", 0), b"what?", 0, Spending(2), np.ones((2, 3)))
    monkeypatch.setattr(run, "summarise", lambda results: [])
    run.run_reproduction(config, settings, {}, (), place, Console(file=io.StringIO()))
    for cell in settings:
        folder = cell_folder(place, cell)
        left = folder.files_below() if isinstance(folder, RemotePath) else folder.iterdir()
        assert [path.name for path in left] == [RESULT_FILE]
