"""What is said of a result that validation images did not choose."""

from __future__ import annotations

from typing import Any

import pytest

from craft_ray.classifiers.evidence import Evidence, best_evidence
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.verdict import ZeroShot, judged_by, tail_of, verdict


def score(accuracy: float, loss: float = 1.0) -> Score:
    return Score(accuracy, loss, 0.1)


KNOWS = ZeroShot(8, 0.82, 10)


def said(evidence: Evidence, generation: int = 1, shots: int = 1, **more: Any) -> str | None:
    given = {"rule": "best_validation", "zero_shot": KNOWS, **more}
    return verdict(evidence, generation, 10 * shots, shots, **given)


def test_where_there_is_validation_nothing_is_said() -> None:
    evidence = Evidence(score(0.5), score(0.7))
    assert said(evidence) is None
    assert judged_by(evidence) == "validation"


def test_one_image_a_class_cannot_tell() -> None:
    assert judged_by(Evidence(None)) == "nothing"
    assert said(Evidence(None)) == (
        "One image a class cannot tell whether the head is better than zero-shot: the head is "
        "returned unjudged. Zero-shot, which learned from none of them, has 8 of the 10 training "
        "images right: it seems to know the task. The head takes its logits with weight 0.82 (1: "
        "fully)."
    )
    assert str(said(Evidence(None), shots=2)).startswith("2 images a class cannot tell")
    assert "head.folds below 3" in str(said(Evidence(None), shots=9))
    assert str(said(Evidence(None), is_uneven=True)).startswith("One image of some classes cannot")


@pytest.mark.parametrize(
    ("right", "words"),
    [(1, "nothing shows that it knows the task"), (4, "knows, or"), (5, "it seems to know the")],
)
def test_zero_shot_knows_a_task_if_it_is_right_more_often_than_chance(
    right: int, words: str
) -> None:
    words = words.replace("knows, or", "it seems to know something of the task")
    assert words in ZeroShot(right, 0.5, 10).in_words(10)


def test_chance_is_that_of_the_binomial_distribution_also_for_many_images() -> None:
    assert tail_of(0, 10, 0.1) == pytest.approx(1)
    assert tail_of(1, 10, 0.1) == pytest.approx(1 - 0.9**10)
    assert tail_of(10, 10, 0.1) == pytest.approx(1e-10)
    assert tail_of(16_000, 16_000, 0.001) == 0
    assert 0.4 < tail_of(16, 16_000, 0.001) < 0.6


def test_held_out_images_are_called_so() -> None:
    words = said(Evidence(None, score(0.75), "", score(0.4)), shots=4)
    assert words is not None
    assert "Of the 40 training images the head has 75.0% right" in words
    assert "zero-shot 40.0%: the head is returned" in words
    kept = said(Evidence(None, score(0.4), "", score(0.4)), generation=0, shots=4)
    assert kept is not None
    assert "zero-shot is returned" in kept


def test_the_last_state_and_no_images_are_said() -> None:
    assert "the last state is returned, unjudged" in str(said(Evidence(None), rule="last"))
    assert "unjudged" in str(said(Evidence(None), zero_shot=None))
    assert "no training images" in str(said(Evidence(None), shots=0))


def test_without_validation_held_out_images_decide_and_else_the_last() -> None:
    known = [Evidence(None, score(0.5)), Evidence(None, score(0.7)), Evidence(None, score(0.7))]
    assert best_evidence(known, 0, 10) == 1
    assert best_evidence([*known, Evidence(None)], 0, 10) == 3
    assert best_evidence([Evidence(None, score(0.9, float("nan"))), *known], 0, 10) == 2
    assert known[0].deciding == score(0.5)
    assert Evidence(None).deciding is None
