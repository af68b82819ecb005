"""The page of an evaluation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from craft_ray.classifiers.about import About
from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError
from craft_ray.inference.evaluation import MISTAKES_KEPT, EvaluationCount
from craft_ray.inference.predictor import Predictor
from craft_ray.inference.report import check_report, write_report
from tests.classifiers.test_artifact import DATA, trained
from tests.support.fake_oracle import FakeOracle
from tests.support.html_page import Page

COMMAND = ("craft-ray", "evaluate", "models:/it@best", "two words")

TEST_ITEMS = list(DATA.dataset.splits["test"])


def test_a_page_says_what_was_counted_and_needs_nothing_else(tmp_path: Path) -> None:
    artifact = trained()
    predictor = Predictor(artifact, FakeOracle())
    count = EvaluationCount(predictor.class_names)
    for batch in predictor.predict(TEST_ITEMS):
        count.add(batch.logits_NC, batch.items)
    write_report(tmp_path / "page.html", "run <b>&", Path("a/labelled"), predictor, count, COMMAND)
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    words = page.text
    accuracy = count.evaluation.score.accuracy
    assert f"{accuracy:.1%}" in words
    assert "run <b>& on a/labelled" in words, "a name is shown, and not taken for the page's own"
    assert all(name in words for name in predictor.class_names)
    assert "craft-ray evaluate models:/it@best 'two words'" in words
    num_wrong = round((1 - accuracy) * len(TEST_ITEMS))
    assert page.pictures == min(num_wrong, MISTAKES_KEPT)


def test_the_method_has_the_name_that_the_run_gives_it(tmp_path: Path) -> None:
    artifact = replace(trained(), about=About(method="searched probes"))
    predictor = Predictor(artifact, FakeOracle())
    count = EvaluationCount(predictor.class_names)
    for batch in predictor.predict(TEST_ITEMS[:4]):
        count.add(batch.logits_NC, batch.items)
    write_report(tmp_path / "page.html", "run", Path("labelled"), predictor, count, COMMAND)
    assert "Evaluation of searched probes on" in Page((tmp_path / "page.html").read_text()).text


def test_of_many_classes_the_most_frequent_confusions_are_listed(tmp_path: Path) -> None:
    artifact = trained()
    names = tuple(f"class {index}" for index in range(60))
    many = replace(artifact, task=replace(artifact.task, class_names=names))
    predictor = Predictor(many, FakeOracle())
    count = EvaluationCount(names)
    items = [replace(TEST_ITEMS[0], label=label) for label in [7] * 5 + [8] * 3 + [9]]
    count.add(np.eye(60, dtype=np.float32)[[9] * 9] * 9, items)
    write_report(tmp_path / "page.html", "run", Path("labelled"), predictor, count, COMMAND)
    words = Page((tmp_path / "page.html").read_text()).text
    confusions = words[words.index("taken for what") : words.index("How sure")]
    assert re.findall(r"class \d+", confusions) == ["class 7", "class 9", "class 8", "class 9"]


def test_an_image_that_is_gone_meanwhile_does_no_harm(tmp_path: Path) -> None:
    predictor = Predictor(trained(), FakeOracle())
    count = EvaluationCount(predictor.class_names)
    gone = Item(tmp_path / "gone.png", 0, "gone.png")
    count.add(np.array([[0.0, 9.0, 0.0, 0.0]], dtype=np.float32), [gone])
    write_report(tmp_path / "page.html", "run", Path("labelled"), predictor, count, COMMAND)
    assert "gone.png" in (tmp_path / "page.html").read_text()
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_where_no_page_can_be_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end on \.html"):
        check_report(tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="must be a folder, but is missing"):
        check_report(tmp_path / "absent" / "page.html")
