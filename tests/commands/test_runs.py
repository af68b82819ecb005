"""What a person hears of the runs that there are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from craft_ray.commands.program import main
from craft_ray.jobs.run_lock import run_lock

RESULT = {"test": {"accuracy": 0.75}, "validation": {"accuracy": 0.7}}


def make(folder: Path, age: int, summary: dict[str, Any] | None, **settings: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    os.utime(folder / "settings.json", (1.7e9 - age, 1.7e9 - age))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    done = {"zero_shot": {"test": {"accuracy": 0.5}}, "ledger": {"candidate_queries": 1234}}
    make(runs / "search", 3, {**done, "best": RESULT, "cost": 1.5}, parameters={})
    make(runs / "once", 2, {**done, "tuned": RESULT, "cost": None})
    make(runs / "half", 1, None, parameters={})
    make(runs / "failed", 4, {**done, "best": None, "failed_trials": 2}, parameters={})
    make(runs / "paper", 5, {"cells": 3}, datasets=[])
    (runs / "once" / "best").mkdir()
    (runs / "once" / "report.html").touch()
    (runs / "no run").mkdir()
    (runs / "mlflow.db").touch()
    return runs


def test_all_of_them_the_newest_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == ["half", "once", "search", "failed", "paper"]
    assert [each["state"] for each in found] == [
        *("unfinished", "finished", "finished", "has failures", "finished"),
    ]
    assert [each["kind"] for each in found] == ["tune", "train", "tune", "tune", "reproduce"]
    assert [each["tuned"] for each in found] == [None, 0.75, 0.75, None, None]
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(len(line) <= 80 for line in lines)
    assert lines[2].split()[-3:] == ["50.0%", "75.0%", "1,234"]


def test_of_one_also_how_to_go_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "half"]) == 0
    assert "name=half --resume" in capsys.readouterr().out
    assert main(["runs", "once"]) == 0
    text = capsys.readouterr().out
    assert "craft-ray predict runs/once photos/" in text
    assert "runs/once/report.html" in text
    assert "--resume" not in text
    assert main(["runs", "onec"]) == 2
    assert "did you mean once?" in capsys.readouterr().err


def test_a_run_that_is_worked_on_is_not_removed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_lock(runs / "half"):
        assert main(["runs", "half", "--remove"]) == 2
        assert "a driver works in it" in capsys.readouterr().err
    assert main(["runs", "half", "--remove"]) == 0
    assert not (runs / "half").exists()
    assert (runs / "once").exists()


def test_a_damaged_one_hides_no_other(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "once" / "summary.json").write_text("{")
    assert main(["runs", "--json"]) == 0
    states = {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}
    assert (states["once"], states["search"]) == ("unreadable", "finished")


def test_an_empty_folder_says_what_makes_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--output-dir", str(tmp_path / "absent")]) == 0
    assert "craft-ray tune makes one" in capsys.readouterr().out
