"""A stored result says how it was made, and the page beside it knows it."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def document_of(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_carries_command_commit_device_and_versions(path: Path) -> None:
    document = document_of(path)
    assert len(document["commit"]) == 40
    assert document["device"]
    assert {"python", "torch", "ray", "craft_ray"} <= document["versions"].keys()
    words = shlex.split(document["command"])
    assert words[:3] == ["python", "-m", f"benchmarks.{document['benchmark']}"]
    assert importlib.util.find_spec(words[2]) is not None


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_page_links_every_result(path: Path) -> None:
    assert f"results/{path.name}" in PAGE


def test_the_page_quotes_the_ratios_that_were_measured() -> None:
    rows = document_of(FOLDER / "results" / "oracle_speed_ViT-B-32.json")["rows"]
    fast = [row for row in rows if row["stage"].startswith("shared prefix")]
    assert len(fast) == 6
    for row in fast:
        assert f"{row['ratio']:.1f}" in PAGE
        if row["precision"] == "fp32":
            assert row["max_logit_difference"] < 1e-4
