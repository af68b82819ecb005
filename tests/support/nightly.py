"""Which nightly tests a change asks for.

A test marked `nightly(*paths)` names the files and folders whose change may break it. CI sees a
fresh clone and not what it saw before, so that it looks back over more than it needs.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOOK_BACK_DAYS = 2
"""Before HEAD's own date: the same commit always gets the same answer."""


def concerns_of(item: pytest.Item) -> tuple[str, ...] | None:
    """The paths that a nightly test names; None for other tests."""
    marker = item.get_closest_marker("nightly")
    if marker is None:
        return None
    wrong = [path for path in marker.args if not (ROOT / path).exists()]
    if wrong or not marker.args:
        raise pytest.UsageError(
            f"{item.nodeid}: nightly must name files of the repository, but got {marker.args}"
        )
    return marker.args


def is_named(item: pytest.Item, config: pytest.Config) -> bool:
    """Whether the command line names the test or its file, and not only a folder."""
    folder = config.invocation_params.dir
    named = {(folder / argument.partition("::")[0]).resolve() for argument in config.args}
    return item.path in named


@cache
def changed_lately(paths: tuple[str, ...], root: Path = ROOT) -> bool:
    """Whether what came onto this branch in the last days touched one of `paths`; true in doubt:
    without git, in a shallow clone, or with changes that are not committed."""
    try:
        if _git(root, "rev-parse", "--is-shallow-repository") != "false":
            return True
        if _git(root, "status", "--porcelain", "--", *paths):
            return True
        # A merge counts when it was made, whenever its commits were.
        touched = _git(root, "log", "-1", "-m", "--first-parent", "--format=%ct", "--", *paths)
        newest = _git(root, "log", "-1", "--format=%ct")
    except (OSError, subprocess.CalledProcessError):
        return True
    return not touched or int(newest) - int(touched) <= LOOK_BACK_DAYS * 24 * 3600


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
