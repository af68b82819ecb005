"""An output that takes ASCII only gets escapes of other characters, never a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from craft_ray.jobs.live import spinner

CLASSES = ("café", "naïve bird")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cafés")
    for split in ("train", "val", "test"):
        for index, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            shade = 40 * ("train", "val", "test").index(split) + index + 1
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / "1.png")
    return root


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_a_check_on_a_terminal_without_accents(images: Path, variables: dict[str, str]) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "craft_ray", "data", "check", str(images)],
        env=os.environ | variables,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert b"Traceback" not in checked.stderr
    if "PYTHONIOENCODING" in variables:
        assert b"caf\\xe9" in checked.stdout
        assert checked.stdout.isascii()


def test_the_spinner_is_of_characters_that_the_terminal_has() -> None:
    def console(encoding: str) -> Console:
        return Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding))

    assert spinner(console("ascii")) == "line"
    assert spinner(console("utf-8")) == "dots"
