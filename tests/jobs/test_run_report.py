"""A search leaves its page and what was said of each test image, and asks nothing for them."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import Any, cast

import pytest

from craft_ray.classifiers import predictions as predictions_module
from craft_ray.classifiers.predictions import PREDICTIONS_FILE, PredictionLog, Predictions
from craft_ray.config.space import SpaceConfig
from craft_ray.data.dataset import Item
from craft_ray.files.remote import Place, RemotePath
from craft_ray.jobs import experiment as experiment_module
from craft_ray.jobs import run_report
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.run_report import REPORT_FILE, write_run_report
from tests.reports.made_up import predictions, search, trial
from tests.support.html_page import Page
from tests.support.one_process_search import OneProcessSearch
from tests.support.world import run_config, world_data

SPACE = SpaceConfig.model_validate(
    {
        "name": "reported",
        "base": run_config(max_queries=16, evaluate_every_generations=1).model_dump(mode="json"),
        "parameters": {"optimizer.sigma": {"kind": "log_uniform", "low": 0.02, "high": 0.5}},
        "trials": 2,
        "scheduler": {"kind": "none"},
    }
)
DATA = world_data()


class Searched:
    """A search that has ended."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        search = OneProcessSearch(SPACE, folder, DATA, patch)
        search.run()
        self.folder = folder
        self.screen = cast(io.StringIO, search.console.file).getvalue()
        self.num_questions = len(search.pool.questions)
        self.spent = search.experiment.examiner.spent
        self.summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_text())


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_nothing_is_asked_for_the_page(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        searched = Searched(tmp_path / "with", patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_module, "write_run_report", lambda *_: None)
        patch.setattr(PredictionLog, "add", lambda *_: None)
        plain = Searched(tmp_path / "without", patch)
    assert not (plain.folder / REPORT_FILE).exists()
    assert searched.num_questions == plain.num_questions
    assert searched.spent == plain.spent
    assert searched.summary["ledger"] == plain.summary["ledger"]
    Page((searched.folder / REPORT_FILE).read_text())


def test_what_is_stored_gives_the_accuracies_of_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = Searched(tmp_path / "run", monkeypatch)
    said = Predictions.load(tmp_path / "run" / PREDICTIONS_FILE)
    test = DATA.dataset.splits["test"]
    assert said.images == tuple(item.name for item in test)
    assert said.tuned is not None
    best, zero_shot = searched.summary["best"], searched.summary["zero_shot"]
    assert (said.tuned.said_N == said.labels_N).mean() == best["test"]["accuracy"]
    assert (said.zero_shot.said_N == said.labels_N).mean() == zero_shot["test"]["accuracy"]


def test_a_page_that_is_written_again_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    searched = Searched(folder, monkeypatch)
    first = (folder / REPORT_FILE).read_bytes()
    curves = {
        n: json.loads((folder / "trials" / str(n) / "result.json").read_text())["curve"]
        for n in (1, 2)
    }
    write_run_report(folder, searched.summary, curves, DATA.dataset)
    assert (folder / REPORT_FILE).read_bytes() == first


def test_a_full_disk_is_said_and_the_result_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions_module, "write_whole", full)
    monkeypatch.setattr(run_report, "write_whole", full)
    (tmp_path / "run").mkdir()
    for file in (PREDICTIONS_FILE, REPORT_FILE):
        (tmp_path / "run" / file).write_text("of an earlier part, before there were more trials")
    searched = Searched(tmp_path / "run", monkeypatch)
    assert searched.summary["best"] is not None
    for file in (PREDICTIONS_FILE, REPORT_FILE):
        assert not (tmp_path / "run" / file).exists()
        assert f"{file} could not be written, all else is there: " in searched.screen
    assert "No space left on device" in searched.screen


def test_images_that_are_gone_leave_their_place_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = Searched(tmp_path / "run", monkeypatch)
    test = tuple(
        Item(tmp_path / "gone.png", item.label, item.name) for item in DATA.dataset.splits["test"]
    )
    splits = {**DATA.dataset.splits, "test": test}
    dataset = type(DATA.dataset)("fake", DATA.dataset.class_names, splits)
    write_run_report(tmp_path / "run", searched.summary, {}, dataset)
    page = Page((tmp_path / "run" / REPORT_FILE).read_text())
    assert page.pictures == 0
    assert "The surest mistakes" in page.titles


def test_a_page_of_a_run_on_a_store_lies_beside_it(place: Place) -> None:
    said = predictions([0, 1, 2, 3] * 15, 0.8)
    said.save(place / PREDICTIONS_FILE, DATA.dataset.class_names)
    write_run_report(place, search(trial(1, 0.75)), {}, DATA.dataset)
    page = Page((place / REPORT_FILE).read_text())
    assert page.pictures == 12
    is_copied = "# with a copy of" in page.text
    assert is_copied == isinstance(place, RemotePath)


def test_our_own_mistake_costs_no_run_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("params")

    monkeypatch.setattr(experiment_module, "write_run_report", broken)
    searched = Searched(tmp_path / "run", monkeypatch)
    assert searched.summary["best"] is not None
    assert "Traceback" in caplog.text
