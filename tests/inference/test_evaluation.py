"""What is said of a classifier on labelled images."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import precision_score, recall_score

from craft_ray.data.dataset import Item
from craft_ray.errors import DataError
from craft_ray.inference.evaluation import EvaluationCount, labelled_images
from craft_ray.inference.shown import show_evaluation

NAMES = ("cat", "dog", "[red] panda")


def items_of(labels: Iterable[int]) -> list[Item]:
    return [Item(b"", int(label), f"{place}.png") for place, label in enumerate(labels)]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30),
    cut=st.integers(0, 30),
)
def test_counts_are_sklearns_in_any_batches(pairs: list[tuple[int, int]], cut: int) -> None:
    labels, said = (np.array(column) for column in zip(*pairs, strict=True))
    logits = np.eye(3, dtype=np.float32)[said] * 5
    count = EvaluationCount(NAMES)
    for part in (slice(0, cut), slice(cut, None)):
        count.add(logits[part], items_of(labels[part]))
    found = count.evaluation
    assert found.images == len(pairs)
    assert found.score.accuracy == pytest.approx((labels == said).mean())
    assert found.interval[0] - 1e-9 <= found.score.accuracy <= found.interval[1] + 1e-9
    options = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
    for values, expected in (
        ([each.recall for each in found.classes], recall_score(labels, said, **options)),
        ([each.precision for each in found.classes], precision_score(labels, said, **options)),
    ):
        known = [np.nan if value is None else value for value in values]
        np.testing.assert_allclose(known, expected)


def test_the_worst_class_is_shown_first_and_names_as_they_are() -> None:
    count = EvaluationCount(NAMES)
    count.add(np.eye(3, dtype=np.float32)[[0, 0, 2]], items_of([0, 1, 2]))
    console = Console(width=80, file=io.StringIO(), record=True, emoji=False)
    show_evaluation(count.evaluation, console)
    text = console.export_text()
    assert "Accuracy 66.7% (95 %: 20.8% to 93.9%) on 3 images" in text
    assert "[red] panda" in text
    assert text.index("dog ") < text.index("cat ")


def test_folders_are_classes_of_the_run(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="must have class folders with images"):
        labelled_images(tmp_path, NAMES)
    (tmp_path / "dog" / "1.png").touch()
    (item,) = labelled_images(tmp_path, NAMES)
    assert item.label == 1
    (tmp_path / "dogs").mkdir()
    with pytest.raises(DataError, match=r"dogs: must be a class of the run .* did you mean dog\?"):
        labelled_images(tmp_path, NAMES)


def test_a_folder_of_splits_is_answered_with_a_split(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"none itself: name the folder .*, such as \S+/test$"):
        labelled_images(tmp_path, NAMES)
