"""A reader who types what a document says, block by block, gets no error."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import (
    DOCUMENTS,
    ROOT,
    SHELL,
    Block,
    blocks_of,
    commands_in,
    craft_ray_words,
)
from tests.docs.documented import undocumented
from tests.docs.samples import write_samples
from tests.support.shared_ray import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WITHOUT_MLFLOW = "mlflow.enabled=false"
SHORT = ("data.shots=2", "max_queries=40")
HARMLESS = {"cat", "head", "ls"}
"""Other programs that a document may have run."""


def to_run(document: Path) -> list[Block]:
    """Its blocks of shell and Python, in order, without those that say why they are not run."""
    return [
        block
        for block in blocks_of(document)
        if block.not_run is None and block.language in {*SHELL, "python"}
    ]


WITH_BLOCKS = [document for document in DOCUMENTS if to_run(document)]


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=lambda path: path.name)
def test_the_blocks_of_a_document_run_in_order(
    document: Path, tmp_path: Path, on_shared_ray: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one folder with images, and one namespace."""
    write_samples(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in to_run(document):
        if block.language == "python":
            # With its place in the document, for a traceback.
            source = "\n" * block.line + block.text
            exec(compile(source, str(ROOT / block.document), "exec"), names)
            continue
        for words in commands_in(block):
            run(block, words, on_shared_ray, tmp_path)
    if (runs := tmp_path / "runs").exists():
        assert undocumented(runs) == [], "docs/outputs.md must say what these are"


def run(block: Block, words: Sequence[str], ray: str, folder: Path) -> None:
    """One command of a shell block; craft-ray in this process, which has loaded its libraries."""
    if (own := craft_ray_words(list(words))) is None:
        assert words[0] in HARMLESS, f"{block}: {words[0]} is not run here: say `<!-- not run: ..."
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        return
    command, *rest = own
    done = call(ray, folder, command, *rest, *shortening(command, rest))
    assert done.returncode == 0, f"{block}: {words}\n{done.stdout}\n{done.stderr}"


def shortening(command: str, words: Sequence[str]) -> list[str]:
    """Settings that are added to a command, so that an hour of documents is a minute: one trial is
    a whole search, and one of few queries a whole fine-tuning. Probes are short as they are."""
    if command not in ("tune", "train"):
        return []
    of_a_file = any(word.endswith(".yaml") for word in words)
    return [
        WITHOUT_MLFLOW,
        *(["trials=1"] if command == "tune" else []),
        *(SHORT if of_a_file else []),
    ]
