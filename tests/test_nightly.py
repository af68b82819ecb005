"""CI runs a nightly test when what it concerns came in lately, and in doubt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.nightly import LOOK_BACK_DAYS, changed_lately

DAY = 24 * 3600
NOW = 1_700_000_000


def git(root: Path, *words: str, date: int = NOW) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    dates = {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
    command = ["git", *who, *words]
    subprocess.run(command, cwd=root, env={**os.environ, **dates}, check=True, capture_output=True)


def commit(root: Path, name: str, date: int) -> None:
    (root / name).write_text(str(date))
    git(root, "add", name)
    git(root, "commit", "-m", name, date=date)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`old` was committed long before `new`."""
    git(tmp_path, "init", "--initial-branch", "main")
    commit(tmp_path, "old", NOW - (LOOK_BACK_DAYS + 1) * DAY)
    commit(tmp_path, "new", NOW)
    return tmp_path


def changed(root: Path, *paths: str) -> bool:
    changed_lately.cache_clear()
    return changed_lately(paths, root)


def test_what_was_committed_lately_has_changed(root: Path) -> None:
    assert changed(root, "new")
    assert changed(root, "old", "new")
    assert not changed(root, "old")


def test_a_merge_changes_what_was_committed_long_ago_elsewhere(root: Path) -> None:
    git(root, "checkout", "-b", "side", "HEAD~1")
    commit(root, "old", NOW - LOOK_BACK_DAYS * DAY - 60)
    git(root, "checkout", "main")
    assert not changed(root, "old")
    git(root, "merge", "--no-ff", "side")
    assert changed(root, "old")


def test_in_doubt_it_has_changed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert changed(root, "never_committed")
    (root / "old").write_text("not committed")
    assert changed(root, "old")
    assert changed(tmp_path_factory.mktemp("no_repository"), "old")
    shallow = tmp_path_factory.mktemp("shallow") / "clone"
    git(root, "clone", "--depth", "1", root.as_uri(), str(shallow))
    assert changed(shallow, "old")
