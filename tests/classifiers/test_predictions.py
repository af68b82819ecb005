"""What is kept of each test image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from craft_ray.classifiers.predictions import PredictionLog, Predictions
from craft_ray.data.dataset import Item
from craft_ray.errors import ArtifactError

NAMES = ("cat", "dog", "cat")
"""Two classes may share a name: labels tell them apart."""
ITEMS = [Item(b"", label, f"{label}.png") for label in (0, 1, 2)]
ZERO_SHOT = np.array([[9, 0, 0], [9, 0, 0], [0, 0, 9]], np.float32)
TUNED = np.array([[9, 0, 0], [0, 9, 0], [np.nan, 0, 9]], np.float32)


def logged(*logits: np.ndarray, scored: tuple[int, ...] | None = None) -> Predictions:
    log = PredictionLog(scored)
    log.add(ITEMS[:2], [each[:2] for each in logits])
    log.add(ITEMS[2:], [each[2:] for each in logits])
    return log.predictions()


def test_what_was_said_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = logged(ZERO_SHOT, TUNED)
    written.save(tmp_path / "a.parquet", NAMES)
    read = Predictions.load(tmp_path / "a.parquet")
    assert read.images == ("0.png", "1.png", "2.png")
    assert read.labels_N.tolist() == [0, 1, 2]
    assert read.tuned is not None
    assert written.tuned is not None
    assert read.zero_shot.said_N.tolist() == [0, 0, 2]
    assert read.tuned.said_N.tolist()[:2] == [0, 1]
    assert read.tuned.sure_N.tolist() == written.tuned.sure_N.tolist()
    assert read.tuned.rank_N.tolist() == written.tuned.rank_N.tolist()
    assert read.tuned.sure_N[2] == 0, "what is not finite is sure of nothing"
    written.save(tmp_path / "b.parquet", NAMES)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_reader_of_the_table_finds_names_beside_numbers(tmp_path: Path) -> None:
    logged(ZERO_SHOT, TUNED).save(tmp_path / "a.parquet", NAMES)
    row = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()[1]
    assert row["image"] == "1.png"
    assert (row["class"], row["predicted_class"]) == ("dog", "dog")
    assert row["zero_shot_predicted_class"] == "cat"
    assert row["zero_shot_probability"] > 0.99


def test_without_a_result_there_is_zero_shot_only(tmp_path: Path) -> None:
    logged(ZERO_SHOT).save(tmp_path / "a.parquet", NAMES)
    assert Predictions.load(tmp_path / "a.parquet").tuned is None


def test_a_prediction_is_chosen_among_the_scored_classes() -> None:
    said = logged(ZERO_SHOT, scored=(1, 2)).zero_shot
    assert said.said_N.tolist() == [1, 1, 2]
    assert said.sure_N[0] == 0.5


def test_the_place_of_the_true_class_tells_the_accuracy_among_the_first() -> None:
    log = PredictionLog()
    items = [Item(b"", 1, "a.png")] * 5
    rows = [[0, 9, 0], [5, 4, 0], [5, 4, 6], [4, 4, 0], [np.nan, np.nan, np.nan]]
    log.add(items, [np.array(rows, np.float32)])
    assert log.predictions().zero_shot.rank_N.tolist() == [1, 2, 3, 2, 4]
    # Among some classes only those count.
    some = PredictionLog((1, 2))
    some.add(items[:3], [np.array(rows[:3], np.float32)])
    assert some.predictions().zero_shot.rank_N.tolist() == [1, 1, 2]


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    log = PredictionLog()
    log.add([Item(b"", 0, "caf\udce9.png")], [ZERO_SHOT[:1]])
    log.predictions().save(tmp_path / "a.parquet", NAMES)
    assert Predictions.load(tmp_path / "a.parquet").images == ("caf?.png",)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"a\.parquet: cannot be read"):
        Predictions.load(tmp_path / "a.parquet")
    with pytest.raises(ArtifactError, match="cannot be read"):
        Predictions.load(tmp_path / "absent.parquet")
