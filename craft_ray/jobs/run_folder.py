"""The folder of a run: made once, found again by `--resume`, finished when it has a summary in
which nothing has failed."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from craft_ray.config.base import Settings
from craft_ray.config.resuming import asks_for_more, changes_that_matter
from craft_ray.errors import (
    ArtifactError,
    ConfigError,
    RunFailedError,
    RunInterruptedError,
    StorageError,
    UserError,
)
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place, RemotePath, check_answers, entries
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.jobs.run_lock import LOCK_FILE, RunTakenError, check_is_free, run_lock

SETTINGS_FILE = "settings.json"
SUMMARY_FILE = "summary.json"
EARLIER_SUMMARY_FILE = "summary-before.json"
"""Of a finished search that was given more trials."""
NAMED_AT_MOST = 5
NUM_FAILED = "failed_trials"
"""Key of a search's summary: as long as it is not 0, `--resume` tries them again."""


def default_name(stem: str) -> str:
    """`<stem>-<date>-<time>-<4 digits>`: jobs of an array start in the same second."""
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def check_store(output_dir: Place) -> None:
    """That an object store can be written and read, before anything is looked for on it.

    Raises:
        ConfigError: it cannot: no bucket, endpoint, credentials or permission.
    """
    if not isinstance(output_dir, RemotePath):
        return
    try:
        check_answers(output_dir, f".craft-ray-{uuid.uuid4().hex}")
    except StorageError as error:
        problem = (
            f"{error}; the bucket must exist, and the environment must have credentials for it "
            "that may list, read, write and delete (docs/cluster.md)"
        )
        raise ConfigError("output_dir", [problem]) from error


def check_is_new(folder: Place) -> None:
    """That a run of this name can be made.

    Raises:
        ConfigError: something is there already, or a driver works in it.
    """
    if folder.exists():
        check_is_free(folder)
        raise _name_is_taken(folder)


def _name_is_taken(folder: Place) -> ConfigError:
    problem = f"{folder} must not exist yet: choose another name"
    with suppress(ArtifactError):  # what cannot be read is told by who opens it
        if is_finished(folder):
            problem = f"{folder} is a finished run: choose another name"
            last = read_json(folder / SUMMARY_FILE).get("settings", {})
            if "trials" in last:
                problem += f", or say --resume: {_what_continues(last)}"
        elif (folder / SETTINGS_FILE).exists():
            problem += " or say --resume"
    return ConfigError("name", [problem])


def _make(folder: Place) -> None:
    """Make the folder of a new run; empty.

    Raises:
        ConfigError: the folder exists, or cannot be made.
    """
    check_is_new(folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:  # in this moment
        check_is_new(folder)
    except OSError as error:
        raise ConfigError("output_dir", [f"{folder} cannot be made: {error}"]) from error


def is_finished(folder: Place) -> bool:
    """Whether nothing is left to do.

    Raises:
        ArtifactError: the summary cannot be read.
    """
    path = folder / SUMMARY_FILE
    return path.exists() and not read_json(path).get(NUM_FAILED)


def find_run_folder(
    output_dir: Place,
    name: str | None,
    stem: str,
    settings: dict[str, Any],
    model: type[Settings],
) -> Place:
    """The run to resume: `name`, or the newest unfinished one that got its name from `stem` and
    that nobody works on. One that is named may be a finished search, if it is to have more trials.

    Raises:
        ConfigError: there is none, a driver works in it, it is finished, or its settings differ
            from `settings`, of the kind `model`, in what changes a result.
    """
    refusals = []
    for folder in _resumable(output_dir, name, stem):
        try:
            check_is_free(folder)
        except RunTakenError as error:
            refusals.append(error)
        else:
            _check_resumable(folder, settings, model)
            return folder
    raise refusals[0]


def _resumable(output_dir: Place, name: str | None, stem: str) -> list[Place]:
    """The run of this name, or the unfinished ones of the stem, the newest first.

    Raises:
        ConfigError: there is none.
    """
    if name is not None:
        folder = output_dir.resolve() / name
        if not (folder / SETTINGS_FILE).is_file():
            raise ConfigError("--resume", [f"{folder} must be the folder of a run, but is not"])
        return [folder]
    # Not a glob: the stem may hold its characters, and `a-*` would find the runs of `a-b`.
    pattern = re.compile(re.escape(stem) + r"-\d{8}-\d{6}(-[0-9a-f]{4})?")
    ours = [
        folder
        for folder in entries(output_dir.resolve())
        if pattern.fullmatch(folder.name) and (folder / SETTINGS_FILE).exists()
    ]
    if found := [folder for folder in ours if not is_finished(folder)]:
        return _newest_first(found)
    problem = f"{output_dir.resolve()} must have an unfinished run {stem}-*, but has none"
    if ours:
        newest = _newest_first(ours)[0]
        problem += f"; name={newest.name} is finished"
        last = read_json(newest / SUMMARY_FILE).get("settings", {})
        problem += f", and {_what_continues(last)}" if "trials" in last else ""
    if others := [folder.name for folder in _unfinished(output_dir)]:
        left_out = len(others) - NAMED_AT_MOST
        more = f" and {left_out} more" if left_out > 0 else ""
        problem += f"; unfinished are {', '.join(others[:NAMED_AT_MOST])}{more}: say name=RUN"
    raise ConfigError("--resume", [problem])


def _unfinished(output_dir: Place) -> list[Place]:
    """Of whatever name, the newest first."""
    found = []
    for folder in entries(output_dir.resolve()):
        with suppress(ArtifactError):  # a run that is damaged
            if (folder / SETTINGS_FILE).exists() and not is_finished(folder):
                found.append(folder)
    return _newest_first(found)


def _newest_first(runs: Sequence[Place]) -> list[Place]:
    return sorted(runs, key=lambda run: (run / SETTINGS_FILE).stat().st_mtime, reverse=True)


def _what_continues(last: dict[str, Any]) -> str:
    """A finished search.

    Args:
        last: its settings.
    """
    words = f"more trials than {last.get('trials')} would continue it"
    if (most := last.get("max_total_queries")) is not None:
        words += f" (trials=..., and more than max_total_queries={most} to pay for them)"
    return words


def _check_resumable(folder: Place, settings: dict[str, Any], model: type[Settings]) -> None:
    stored = read_json(folder / SETTINGS_FILE)
    if is_finished(folder):
        last = read_json(folder / SUMMARY_FILE).get("settings", stored)
        if not asks_for_more(last, settings):
            problem = f"{folder} is finished: see {SUMMARY_FILE} there"
            if "trials" in settings:
                problem += f"; {_what_continues(last)}"
            raise ConfigError("--resume", [problem])
    try:
        changes = changes_that_matter(model, stored, settings)
    except ValueError as error:
        problem = f"{folder / SETTINGS_FILE} must be settings that this version knows: {error}"
        raise ConfigError("--resume", [problem]) from error
    if changes:
        raise ConfigError(
            "--resume",
            [
                f"{key}: must be {was!r} as when {folder.name} was started, but is {now!r}"
                for key, was, now in changes
            ],
        )


@contextmanager
def open_run_folder(
    output_dir: Place,
    name: str | None,
    stem: str,
    settings: dict[str, Any],
    model: type[Settings],
    *,
    resume: bool,
) -> Iterator[Place]:
    """A new folder or the one to resume, which no other driver enters meanwhile. An error
    before any work leaves no folder behind.

    Raises:
        ConfigError: see `check_store`, `check_is_new`, `find_run_folder` and `run_lock`.
        RunFailedError: see `run_lock`.
    """
    check_store(output_dir)
    if resume:
        with _first_free(_resumable(output_dir, name, stem)) as folder:
            _check_resumable(folder, settings, model)
            with _no_longer_finished(folder):
                yield folder
        return
    folder = output_dir.resolve() / (name or default_name(stem))
    _make(folder)
    with run_lock(folder):
        # On a store two may have found nothing there, and this is the second one.
        if (folder / SETTINGS_FILE).exists():
            raise _name_is_taken(folder)
        try:
            write_json(folder / SETTINGS_FILE, settings)
        except OSError as error:
            remove_folder(folder)
            problem = f"{folder} must be writable, but: {error.strerror or error}"
            raise ConfigError("output_dir", [problem]) from error
        try:
            yield folder
        except (RunFailedError, RunInterruptedError, StorageError):
            raise  # can be continued, and says how
        except Exception:
            left = {path.name for path in entries(folder) if not path.name.startswith(LOCK_FILE)}
            if left == {SETTINGS_FILE}:
                remove_folder(folder)
            raise


@contextmanager
def _no_longer_finished(folder: Place) -> Iterator[None]:
    """A finished run that is to go on is finished no more; where a user's error comes, such as a
    model that cannot be loaded, it is again what it was."""
    if not is_finished(folder):
        yield
        return
    summary = read_json(folder / SUMMARY_FILE)
    write_json(folder / EARLIER_SUMMARY_FILE, summary)
    (folder / SUMMARY_FILE).unlink()
    try:
        yield
    except UserError:
        write_json(folder / SUMMARY_FILE, summary)
        raise


@contextmanager
def _first_free(folders: Sequence[Place]) -> Iterator[Place]:
    """Lock the first that no other driver works in.

    Raises:
        RunTakenError: of the first one, if there is none.
    """
    with ExitStack() as stack:
        refusals = []
        for folder in folders:
            try:
                stack.enter_context(run_lock(folder))
            except RunTakenError as error:
                refusals.append(error)
            else:
                break
        else:
            raise refusals[0]
        yield folder
