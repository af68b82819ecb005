"""How long a run may take is told from one that has ended, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.jobs.time_estimate import NOT_KNOWN, in_words, time_in_words
from craft_ray.metering.ledger import Spending

PLANNED = Spending(search_predictions=2000)


def write(folder: Path, **changes: Any) -> None:
    folder.mkdir()
    settings = {"oracle": OracleConfig().model_dump(mode="json")}
    summary = {
        "seconds": 130.0,
        "startup_seconds": 30.0,
        "ledger": {"image_predictions": 1000},
        "settings": settings,
        **changes,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "summary.json").write_text(json.dumps(summary))


def test_the_start_is_paid_once_and_the_rest_by_predictions(tmp_path: Path) -> None:
    write(tmp_path / "a")
    words = time_in_words(tmp_path, "train", OracleConfig(), PLANNED)
    assert words == "about 4 min at most: a took 2 min for 1,000 predictions"  # 30 + 2 * 100 s


def test_another_model_kind_or_a_damaged_summary_tells_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", seconds="long")
    write(tmp_path / "b", ledger={"image_predictions": 0})
    write(tmp_path / "c", settings={"oracle": {"model": "RN50", "pretrained": "openai"}})
    assert time_in_words(tmp_path, "train", OracleConfig(), PLANNED) == NOT_KNOWN
    write(tmp_path / "d")
    assert time_in_words(tmp_path, "tune", OracleConfig(), PLANNED) == NOT_KNOWN
    assert time_in_words(tmp_path / "none", "train", OracleConfig(), PLANNED) == NOT_KNOWN


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(42, "42 s"), (100, "2 min"), (5000, "1 h 23 min"), (1e6, "277 h 47 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
