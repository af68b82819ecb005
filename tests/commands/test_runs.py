"""What a person hears of the runs that there are."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from craft_ray.commands.program import main
from craft_ray.config.run import RunConfig
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
    assert main(["runs", "list", "--json"]) == 0
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
    assert main(["runs", "show", "half"]) == 0
    assert "craft-ray runs resume half" in capsys.readouterr().out
    assert main(["runs", "show", "once"]) == 0
    text = capsys.readouterr().out
    assert "craft-ray predict runs/once photos/" in text
    assert "runs/once/report.html" in text
    assert "resume" not in text
    assert main(["runs", "show", "onec"]) == 2
    assert "did you mean once?" in capsys.readouterr().err


def test_what_an_endpoint_has_billed_has_its_currency(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"zero_shot": {"test": {"accuracy": 0.5}}, "ledger": {"candidate_queries": 1}}
    bill = {"cost": 0.0299, "bill": {"currency": "EUR"}}
    make(runs / "billed", 6, {**done, **bill, "tuned": RESULT, "data": {"num_test": 9}})
    assert main(["runs", "show", "billed"]) == 0
    assert "1 candidate query, which cost 0.0299 EUR\n" in capsys.readouterr().out
    assert main(["runs", "compare", "billed", "half"]) == 0
    assert "0.0299 EUR" in capsys.readouterr().out


def test_a_run_that_is_worked_on_is_not_removed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("half", "failed"):  # whose failures are tried again
        with run_lock(runs / name):
            assert main(["runs", "remove", name]) == 2
            assert "a driver works in it" in capsys.readouterr().err
    assert main(["runs", "remove", "half"]) == 0
    assert not (runs / "half").exists()
    assert (runs / "once").exists()


def test_a_damaged_one_hides_no_other(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "once" / "summary.json").write_text("{")
    assert main(["runs", "list", "--json"]) == 0
    states = {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}
    assert (states["once"], states["search"]) == ("unreadable", "finished")


def test_an_empty_folder_says_what_makes_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--output-dir", str(tmp_path / "absent")]) == 0
    assert "craft-ray tune makes one" in capsys.readouterr().out


def test_runs_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"oracle": {"model": "ViT-B-32", "pretrained": "openai"}, "seed": 1}
    done = {"zero_shot": {"test": {"accuracy": 0.5}}, "data": {"num_test": 100}, "seconds": 9.6}
    make(runs / "a", 6, {**done, "tuned": RESULT}, **settings)
    make(runs / "b", 7, {**done, "best": RESULT}, trials=3, base={**settings, "seed": 2})
    assert main(["runs", "compare", "a", "b", "half"]) == 0
    text = capsys.readouterr().out
    rows = {line[:18].strip(): line[18:].split() for line in text.splitlines() if line[:1] != " "}
    assert rows["zero-shot, test"] == ["50.0%", "50.0%", "-"]
    assert rows["model"] == ["ViT-B-32/openai", "ViT-B-32/openai", "-"]
    assert rows["seconds"] == ["10", "10", "-"]
    assert "75.0% (65.7% to 82.5%)" in text  # Wilson's interval of 75 of 100
    differences = text.split("Settings that differ")[1]
    assert differences.split("seed")[1].split()[:3] == ["1", "2", "-"]
    assert "cost" not in text  # nobody has a price


def test_in_a_terminal_long_values_are_shortened_and_elsewhere_they_are_whole(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [{"variant": "probes"}, {"variant": "craft", "optimizer.sigma": 0.1}]
    make(runs / "a", 6, None, first_trials=first * 9, seed=1)
    make(runs / "b", 7, None, first_trials=[], seed=2)
    assert main(["runs", "compare", "a", "b"]) == 0
    shown = "[" + ", ".join(["{variant: probes}, {variant: craft, optimizer.sigma: 0.1}"] * 9) + "]"
    assert f"{shown}  " in capsys.readouterr().out
    monkeypatch.setattr("craft_ray.commands.runs.terminal_columns", lambda: 80)
    assert main(["runs", "compare", "a", "b"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "[{variant: probe…" in text


def test_a_place_before_the_action_counts(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent.parent)
    for words in (
        ["runs", "--output-dir", str(runs), "show", "once"],
        ["runs", "show", "once", "--output-dir", str(runs)],
    ):
        assert main(words) == 0
        assert f"craft-ray predict {runs / 'once'}" in capsys.readouterr().out


def test_a_run_is_resumed_with_the_settings_that_it_has_stored(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it goes on is shown in `test_commands`; here that all its words are found again."""
    from craft_ray.config.loading import load_space_config
    from craft_ray.config.shipped import DEFAULT_SPACE

    space = load_space_config(DEFAULT_SPACE, ["data.shots=4", "seed=3"])
    stored = space.model_dump(mode="json", exclude={"base": {"name"}})
    make(runs / "mine", 8, None, **stored)
    assert main(["runs", "resume", "mine", "seed=4"]) == 2
    error = capsys.readouterr().err
    assert "base.seed: must be 3 as when mine was started, but is 4" in error
    assert error.count("must be") == 1, "nothing else differs"
    make(runs / "done", 9, {"best": RESULT}, **stored)
    assert main(["runs", "resume", "done"]) == 2
    assert "more trials than 6 would continue it" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["my runs", "2024", "runs: of é #1's"])
def test_a_resumed_run_that_is_cut_short_again_says_how_to_go_on(
    place: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the copy of its settings, which is gone by then."""
    there = runs.rename(runs.parent / place)
    config = RunConfig(output_dir=str(there)).model_dump(mode="json", exclude={"name"})
    make(there / "cut", 0, None, **config)
    words = ["cut", "max_cost=5", "price_per_thousand_predictions=0.001"]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("craft_ray.jobs.ray_session.ray_session", interrupt)
    assert main(["runs", "resume", *words, "--output-dir", place]) == 130
    again = f"craft-ray runs resume cut --output-dir {shlex.quote(place)}"
    hint = f"{again} " + " ".join(words[1:])
    assert capsys.readouterr().err == f"interrupted: stopped; continue with\n  {hint}\n"
    assert main(["runs", "show", "cut", "--output-dir", place]) == 0
    assert f"{again}\n" in capsys.readouterr().out


def test_a_name_without_an_action_is_answered_with_what_shows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["runs", "latest"])
    assert capsys.readouterr().err.rstrip().endswith("craft-ray runs show latest")
