"""The notebook does what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.notebooks import execute

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"


def test_the_notebook_has_the_format_and_shows_what_its_cells_print() -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, fitted, *_, same = execute(NOTEBOOK)
    assert first.startswith("80 images of 10 classes")
    zero_shot, tuned = (line.split()[-1] for line in fitted.splitlines()[:2])
    assert float(tuned.rstrip("%")) >= float(zero_shot.rstrip("%"))
    assert same == "True\n"
    assert (tmp_path / "my-classifier" / "README.md").is_file()
