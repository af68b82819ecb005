"""A run is found by what a user types."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from craft_ray.classifiers.artifact import (
    DESCRIPTION_FILE,
    EXPORTED_ARRAYS_FILE,
    EXPORTED_FILE,
)
from craft_ray.errors import ConfigError
from craft_ray.inference.runs import find_classifier


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for age, name in enumerate(["newest", "older", "oldest"]):
        folder = tmp_path / "runs" / name / "best"
        folder.mkdir(parents=True)
        (folder / DESCRIPTION_FILE).touch()
        os.utime(folder / DESCRIPTION_FILE, (1e9 - age, 1e9 - age))
    (tmp_path / "runs" / "unfinished").mkdir()
    return tmp_path / "runs"


def test_by_name_folder_or_age(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = runs / "older" / "best"
    for word in ("older", str(runs / "older"), str(best), "older/best"):
        assert find_classifier(word, runs) == best
    assert find_classifier("latest", runs) == runs / "newest" / "best"
    monkeypatch.chdir(runs)
    assert Path(str(find_classifier("older", Path("elsewhere")))).resolve() == best


def test_an_export_among_the_runs_is_one_of_them(runs: Path) -> None:
    folder = runs / "exported"
    folder.mkdir()
    for name in (EXPORTED_FILE, EXPORTED_ARRAYS_FILE):
        (folder / name).touch()
    assert find_classifier("latest", runs) == folder
    os.utime(folder / EXPORTED_FILE, (1e8, 1e8))
    assert find_classifier("latest", runs) == runs / "newest" / "best"
    with pytest.raises(ConfigError, match=r"\(there: exported, newest, .*did you mean exported\?"):
        find_classifier("exportd", runs)


def test_what_is_no_run_is_said_with_those_that_are(runs: Path) -> None:
    for word in ("unfinished", "olders", "/nowhere", ""):
        with pytest.raises(ConfigError, match=r"\(there: newest, older, oldest\)"):
            find_classifier(word, runs)
    with pytest.raises(ConfigError, match=r"did you mean older\?"):
        find_classifier("olders", runs)
    with pytest.raises(ConfigError, match=r"\(there: none\)"):
        find_classifier("latest", runs / "unfinished")
