"""The folder of a run: made once, found again, complete when it has a summary."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from craft_ray.config.base import Settings
from craft_ray.errors import ConfigError, RunInterruptedError, UserError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.jobs.run_folder import (
    SETTINGS_FILE,
    SUMMARY_FILE,
    default_name,
    find_run_folder,
    is_finished,
    open_run_folder,
)
from craft_ray.jobs.run_lock import run_lock
from tests.support.run_folders import create_run_folder

SETTINGS: dict[str, Any] = {"seed": 1, "head": {"hidden": 8, "rate": 1e-3}, "values": [1, 2]}


class Head(Settings):
    hidden: int
    rate: float


class Run(Settings):
    """Settings of a run; `patience` is new in this version."""

    seed: int
    head: Head
    values: tuple[int, ...]
    patience: int | None = None
    pool: dict[str, int] = Field(default_factory=dict)
    trials: int | None = None


WHOLE = Run.model_validate(SETTINGS).model_dump(mode="json")
"""With the defaults, as a command has them."""


def started(output: Path, name: str, age_s: int, *, finished: bool = False) -> Path:
    folder = create_run_folder(output, name, SETTINGS)
    assert isinstance(folder, Path)
    os.utime(folder / SETTINGS_FILE, (1_000_000_000 - age_s, 1_000_000_000 - age_s))
    if finished:
        (folder / SUMMARY_FILE).write_text("{}")
    return folder


def find(output: Path, name: str | None = None, **changes: Any) -> Place:
    settings = Run.model_validate({**SETTINGS, **changes}).model_dump(mode="json")
    return find_run_folder(output, name, "train", settings, Run)


def test_a_new_folder_holds_the_settings(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path / "deep" / "runs", "mine", SETTINGS)
    assert folder == tmp_path / "deep" / "runs" / "mine"
    assert json.loads((folder / SETTINGS_FILE).read_text()) == SETTINGS
    assert [path.name for path in folder.iterdir()] == [SETTINGS_FILE]


def test_the_default_name_has_the_stem_the_time_and_something_of_its_own() -> None:
    assert re.fullmatch(r"my run-\d{8}-\d{6}-[0-9a-f]{4}", default_name("my run"))


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path, "mine", SETTINGS)
    with pytest.raises(ConfigError, match="mine must not exist yet: choose another name or say"):
        create_run_folder(tmp_path, "mine", {"seed": 2})
    assert json.loads((folder / SETTINGS_FILE).read_text()) == SETTINGS


def test_the_name_of_a_finished_run_is_refused_in_other_words(tmp_path: Path) -> None:
    started(tmp_path, "mine", age_s=0, finished=True)
    with pytest.raises(ConfigError, match=r"mine is a finished run: choose another name$"):
        create_run_folder(tmp_path, "mine", SETTINGS)
    write_json(tmp_path / "mine" / SUMMARY_FILE, {"settings": {"trials": 6}})
    with pytest.raises(ConfigError, match=r"or say --resume: more trials than 6 would continue"):
        create_run_folder(tmp_path, "mine", SETTINGS)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"other must not exist yet: choose another name$"):
        create_run_folder(tmp_path, "other", SETTINGS)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"output_dir: .* cannot be made"):
        create_run_folder(tmp_path / "file", "mine", SETTINGS)


def test_resume_finds_the_newest_unfinished_run(tmp_path: Path) -> None:
    started(tmp_path, "train-20260101-000000", age_s=300)
    newest = started(tmp_path, "train-20260102-000000", age_s=200)
    started(tmp_path, "train-20260103-000000", age_s=100, finished=True)
    assert find(tmp_path) == newest


@pytest.mark.parametrize("other", ["train-big-20260103-000000", "tune-20260103-000000", "train-x"])
def test_resume_does_not_take_a_run_of_another_file(tmp_path: Path, other: str) -> None:
    mine = started(tmp_path, "train-20260101-000000", age_s=300)
    started(tmp_path, other, age_s=0)
    assert find(tmp_path) == mine


@pytest.mark.parametrize("stem", ["run[1]", "a*b", "what?", "my run", "(x)+"])
def test_resume_finds_the_runs_of_files_with_unusual_names(tmp_path: Path, stem: str) -> None:
    folder = create_run_folder(tmp_path, default_name(stem), SETTINGS)
    assert find_run_folder(tmp_path, None, stem, WHOLE, Run) == folder


def test_resume_takes_no_run_that_somebody_works_on(tmp_path: Path) -> None:
    older = started(tmp_path, "train-20260101-000000-0a0a", age_s=300)
    newest = started(tmp_path, "train-20260102-000000-ffff", age_s=200)
    with run_lock(newest):
        assert find(tmp_path) == older
        with pytest.raises(ConfigError, match=rf"is being worked on by process {os.getpid()} on "):
            find(tmp_path, newest.name)
        with run_lock(older), pytest.raises(ConfigError, match="ffff is being worked on by"):
            find(tmp_path)
    assert find(tmp_path) == newest


def test_a_run_that_is_worked_on_is_not_offered_to_be_resumed(tmp_path: Path) -> None:
    with (
        open_run_folder(tmp_path, "mine", "train", SETTINGS, Run, resume=False),
        pytest.raises(ConfigError, match="mine is being worked on by process"),
        open_run_folder(tmp_path, "mine", "train", SETTINGS, Run, resume=False),
    ):
        pass


def test_resume_by_name_takes_that_run(tmp_path: Path) -> None:
    mine = started(tmp_path, "mine", age_s=300)
    started(tmp_path, "train-20260102-000000", age_s=0)
    assert find(tmp_path, "mine") == mine


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must have an unfinished run train-"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="must have an unfinished run train-"):
        find(tmp_path / "absent")
    with pytest.raises(ConfigError, match="absent must be the folder of a run"):
        find(tmp_path, "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty must be the folder of a run"):
        find(tmp_path, "empty")


def test_unfinished_runs_of_other_names_are_told(tmp_path: Path) -> None:
    started(tmp_path, "first", age_s=200)
    started(tmp_path, "second", age_s=100)
    (started(tmp_path, "damaged", age_s=0) / SUMMARY_FILE).write_text("{")
    with pytest.raises(ConfigError, match=r"; unfinished are second, first: say name=RUN$"):
        find(tmp_path)


def test_a_finished_search_that_is_resumed_without_its_name_is_told_how(tmp_path: Path) -> None:
    name = "train-20260103-000000"
    done = {"trials": 6, "max_total_queries": 2500}
    write_json(started(tmp_path, name, age_s=0) / SUMMARY_FILE, {"settings": done})
    with pytest.raises(ConfigError) as caught:
        find(tmp_path)
    assert (
        f"but has none; name={name} is finished, and more trials than 6 would continue it "
        "(trials=..., and more than max_total_queries=2500 to pay for them)"
    ) in str(caught.value)


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    started(tmp_path, "mine", age_s=0, finished=True)
    with pytest.raises(ConfigError, match=r"mine is finished: see summary\.json"):
        find(tmp_path, "mine")


def test_every_changed_setting_is_named(tmp_path: Path) -> None:
    started(tmp_path, "mine", age_s=0)
    with pytest.raises(ConfigError) as caught:
        find(tmp_path, "mine", seed=2, head={"hidden": 9, "rate": 0.5}, values=[1])
    assert caught.value.problems == (
        "head.hidden: must be 8 as when mine was started, but is 9",
        "head.rate: must be 0.001 as when mine was started, but is 0.5",
        "seed: must be 1 as when mine was started, but is 2",
        "values: must be [1, 2] as when mine was started, but is [1]",
    )


def test_what_an_older_version_did_not_know_has_its_default(tmp_path: Path) -> None:
    mine = started(tmp_path, "mine", age_s=0)
    assert find(tmp_path, "mine", patience=None) == mine
    with pytest.raises(ConfigError, match="patience: must be None as when mine was started"):
        find(tmp_path, "mine", patience=3)


def test_what_this_version_does_not_know_is_told(tmp_path: Path) -> None:
    mine = started(tmp_path, "mine", age_s=0)
    (mine / SETTINGS_FILE).write_text(json.dumps({**SETTINGS, "future": 1}))
    with pytest.raises(ConfigError, match=r"that this version knows: future"):
        find(tmp_path, "mine")


def test_what_changes_no_result_may_be_another(tmp_path: Path) -> None:
    mine = started(tmp_path, "mine", age_s=0)
    assert find(tmp_path, "mine", pool={"replicas": 4}, trials=9) == mine
    with pytest.raises(ConfigError, match=r"pool\.candidates_per_chunk: must be None"):
        find(tmp_path, "mine", pool={"candidates_per_chunk": 4})


def test_a_finished_search_goes_on_when_it_is_to_have_more_trials(tmp_path: Path) -> None:
    mine = create_run_folder(tmp_path, "mine", {**SETTINGS, "trials": 4})
    write_json(mine / SUMMARY_FILE, {"settings": {**SETTINGS, "trials": 6}})
    assert find(tmp_path, "mine", trials=7) == mine
    with pytest.raises(ConfigError, match="more trials than 6 would continue it"):
        find(tmp_path, "mine", trials=6)


def test_broken_settings_are_a_users_error(tmp_path: Path) -> None:
    folder = started(tmp_path, "mine", age_s=0)
    (folder / SETTINGS_FILE).write_text("{")
    with pytest.raises(UserError, match=r"settings\.json: cannot be read"):
        find(tmp_path, "mine")


def open_new(output: Path, error: BaseException | None = None, *, work: bool = False) -> Place:
    with open_run_folder(output, "mine", "train", SETTINGS, Run, resume=False) as folder:
        if work:
            (folder / "checkpoint").mkdir()
        if error is not None:
            raise error
    return folder


def test_a_users_error_before_any_work_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        open_new(tmp_path, UserError("no such model"))
    assert list(tmp_path.iterdir()) == []
    assert open_new(tmp_path) == tmp_path / "mine"


def test_work_is_kept_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        open_new(tmp_path, UserError("the tracker is gone"), work=True)
    assert (tmp_path / "mine" / "checkpoint").is_dir()
    assert find(tmp_path, "mine") == tmp_path / "mine"


@pytest.mark.parametrize("error", [RunInterruptedError("stopped"), KeyboardInterrupt()])
def test_an_interrupted_run_can_be_resumed(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        open_new(tmp_path, error)
    with open_run_folder(tmp_path, "mine", "train", WHOLE, Run, resume=True) as folder:
        assert folder == tmp_path / "mine"


def test_a_users_error_while_resuming_keeps_the_folder(tmp_path: Path) -> None:
    create_run_folder(tmp_path, "mine", SETTINGS)
    with (
        pytest.raises(UserError, match="away"),
        open_run_folder(tmp_path, "mine", "train", WHOLE, Run, resume=True),
    ):
        raise UserError("the cluster is away")
    assert find(tmp_path, "mine") == tmp_path / "mine"


def test_a_finished_search_stays_finished_where_it_cannot_go_on(tmp_path: Path) -> None:
    class Search(Run):
        trials: int = 4

    done = {"settings": {**WHOLE, "trials": 4}, "tuned": 0.9}
    folder = create_run_folder(tmp_path, "mine", {**SETTINGS, "trials": 4})
    write_json(folder / SUMMARY_FILE, done)
    more = {**WHOLE, "trials": 5}
    with (
        pytest.raises(UserError, match="away"),
        open_run_folder(tmp_path, "mine", "train", more, Search, resume=True),
    ):
        raise UserError("the model is away")
    assert read_json(folder / SUMMARY_FILE) == done
    with open_run_folder(tmp_path, "mine", "train", more, Search, resume=True):
        pass
    assert not is_finished(folder)


def test_a_search_with_failed_trials_can_be_resumed(tmp_path: Path) -> None:
    folder = started(tmp_path, "train-20260101-000000", 5)
    (folder / SUMMARY_FILE).write_text('{"failed_trials": 1}')
    assert not is_finished(folder)
    assert find(tmp_path) == folder
    (folder / SUMMARY_FILE).write_text('{"failed_trials": 0}')
    assert is_finished(folder)
    with pytest.raises(ConfigError, match="is finished"):
        find(tmp_path, folder.name)


@pytest.mark.parametrize("error", [RuntimeError("Ray died"), TimeoutError("no answer")])
def test_a_start_that_fails_leaves_no_folder(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(type(error)),
        open_run_folder(tmp_path, None, "run", SETTINGS, Run, resume=False),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_start_is_said_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("craft_ray.jobs.run_folder.write_json", full)
    with (
        pytest.raises(ConfigError, match=r"output_dir: .* must be writable, but: No space left"),
        open_run_folder(tmp_path, None, "run", SETTINGS, Run, resume=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
