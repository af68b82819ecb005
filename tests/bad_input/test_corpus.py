"""Every malformed input of the corpus: one message that names what is wrong, and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from craft_ray.commands.common import exit_with
from craft_ray.errors import EXIT_CODE_USER_ERROR
from tests.bad_input.case import Case
from tests.bad_input.classifiers import CLASSIFIERS
from tests.bad_input.models import MODELS
from tests.bad_input.pictures import IMAGES
from tests.bad_input.settings_cases import GRIDS, RUN_CONFIGS, SPACES
from tests.bad_input.stored import JOURNALS, STATES
from tests.bad_input.tables import CLASS_LISTS, PARQUET_FILES, SPLIT_FILES, TABLES

CORPUS: dict[str, list[Case]] = {
    "run config": RUN_CONFIGS,
    "space file": SPACES,
    "reproduction grid": GRIDS,
    "CSV table": TABLES,
    "Parquet file": PARQUET_FILES,
    "split file": SPLIT_FILES,
    "class list": CLASS_LISTS,
    "image": IMAGES,
    "model": MODELS,
    "training state": STATES,
    "tuned classifier": CLASSIFIERS,
    "journal": JOURNALS,
}
SMALLEST = {
    "run config": 30,
    "space file": 14,
    "reproduction grid": 13,
    "CSV table": 15,
    "Parquet file": 17,
    "split file": 23,
    "class list": 20,
    "image": 18,
    "model": 25,
    "training state": 17,
    "tuned classifier": 42,
    "journal": 14,
}
"""Cases of each kind that there must be: the corpus cannot shrink unnoticed."""
LONGEST_MESSAGE = 2000
ALL = [
    pytest.param(case, id=f"{kind}: {case.name}")
    for kind, cases in CORPUS.items()
    for case in cases
]


def files_in(folder: Path) -> dict[str, int]:
    """Everything below a folder, with the size of files."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size if not path.is_dir() else -1
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", ALL)
def test_a_bad_input_is_refused_with_one_message_and_leaves_nothing(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if case.needs_permissions and os.geteuid() == 0:
        pytest.skip("root may read everything")
    # Code in an input that is executed would leave a file here.
    working, inputs = tmp_path / "working", tmp_path / "inputs"
    working.mkdir()
    inputs.mkdir()
    monkeypatch.chdir(working)
    attempt = case.prepare(inputs)
    before = files_in(tmp_path)
    capsys.readouterr()

    def command() -> None:
        attempt()

    assert exit_with(command) == EXIT_CODE_USER_ERROR
    message = capsys.readouterr().err
    assert re.match("error: ", message)
    assert re.search(case.law, message, re.DOTALL), message
    assert "Traceback" not in message
    assert message.count("error: ") == 1
    assert len(message) < LONGEST_MESSAGE
    assert message.replace("\n", "").isprintable(), "it must not control the user's terminal"
    assert files_in(tmp_path) == before


def test_the_corpus_does_not_shrink() -> None:
    assert CORPUS.keys() == SMALLEST.keys()
    for kind, least in SMALLEST.items():
        assert len(CORPUS[kind]) >= least, kind
    assert sum(len(cases) for cases in CORPUS.values()) >= 80


def test_no_case_is_there_twice() -> None:
    for kind, cases in CORPUS.items():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names), kind
