"""Which of several states is the best, by images that none was fitted to."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.classifiers.evidence import (
    Evidence,
    best_evidence,
    chance_of,
    is_clearly_better,
    right_images,
)
from craft_ray.classifiers.score import Score
from tests.support.examples import few
from tests.support.known import known

NUM_IMAGES = 16

bits = st.lists(st.booleans(), min_size=NUM_IMAGES, max_size=NUM_IMAGES)
loss = st.sampled_from([0.5, 1.0, math.nan, math.inf])


def packed(right: list[bool]) -> str:
    return np.packbits(right).tobytes().hex()


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    right = draw(bits)
    num_held_out = draw(st.none() | st.integers(0, NUM_IMAGES))
    held_out = None if num_held_out is None else Score(num_held_out / NUM_IMAGES, draw(loss), 0.1)
    known = draw(st.booleans())
    return Evidence(
        Score(sum(right) / NUM_IMAGES, draw(loss), 0.1), held_out, packed(right) if known else ""
    )


@few
@given(st.lists(evidence(), min_size=1, max_size=4))
def test_the_best_does_not_depend_on_the_order(given_: list[Evidence]) -> None:
    def rank(each: Evidence) -> tuple[float, ...]:
        """What decides; equal ones may change places."""
        scores = (each.validation, each.held_out)
        numbers = [value for s in scores if s for value in (s.accuracy, s.loss)]
        return tuple(-1.0 if math.isnan(number) else number for number in numbers)

    winners = [each[best_evidence(each, NUM_IMAGES, NUM_IMAGES)] for each in permutations(given_)]
    if not any(math.isfinite(known(each.validation).loss) for each in given_):
        return  # nothing can be said; the first is as good as any
    scores = {_pooled(winner, given_) for winner in winners}
    assert len(scores) == 1, [rank(winner) for winner in winners]


def _pooled(winner: Evidence, all_: list[Evidence]) -> tuple[float, float]:
    finite = [each for each in all_ if math.isfinite(known(each.validation).loss)]
    validation = known(winner.validation)
    if any(each.held_out is None for each in finite):
        return (validation.accuracy, validation.loss)
    assert winner.held_out is not None
    loss = validation.loss + winner.held_out.loss
    return (validation.accuracy + winner.held_out.accuracy, loss if math.isfinite(loss) else -1.0)


def test_of_states_whose_loss_on_training_images_is_not_finite_the_most_accurate_is_best() -> None:
    held_out = Score(0.0, math.nan, 0.1)
    states = [Evidence(Score(accuracy, 0.5, 0.1), held_out) for accuracy in (0.1, 0.3, 0.2)]
    for order in permutations(states):
        assert order[best_evidence(order, NUM_IMAGES, NUM_IMAGES)] is states[1]


@few
@given(st.lists(evidence(), min_size=2, max_size=5))
def test_what_is_returned_is_clearly_denied_by_none(given_: list[Evidence]) -> None:
    best = given_[best_evidence(given_, NUM_IMAGES, NUM_IMAGES)]
    for other in given_:
        if all(math.isfinite(known(each.validation).loss) for each in (other, best)):
            assert not is_clearly_better(other.right, best.right)


@pytest.mark.parametrize("wins", range(9))
def test_chance_is_that_of_fair_coins(wins: int) -> None:
    games = 8
    exact = sum(math.comb(games, count) for count in range(wins, games + 1)) / 2**games
    expected = exact if wins > games - wins else 1.0
    assert chance_of(wins, games - wins) == pytest.approx(expected, rel=1e-12)
    assert chance_of(30_000, 20_000) == pytest.approx(0.0, abs=1e-300)


def test_only_images_that_one_of_both_gets_wrong_say_anything() -> None:
    everything, nothing = packed([True] * 8), packed([False] * 8)
    # By accuracies 0 and 1 alone no error could be told, of one image as of a thousand.
    assert is_clearly_better(everything, nothing)
    one, none = packed([True] + [False] * 7), packed([False] * 8)
    assert not is_clearly_better(one, none)
    # 175 and 185 of 200, which as two independent samples are the same: ten to none is clear.
    fewer, more = packed([True] * 175 + [False] * 25), packed([True] * 185 + [False] * 15)
    assert is_clearly_better(more, fewer)
    assert not is_clearly_better(fewer, more)
    assert not is_clearly_better(everything, "")
    with pytest.raises(ValueError, match="right: must be of the same images"):
        is_clearly_better(more, everything)


def test_right_images_are_bits_in_order() -> None:
    logits_NC = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 0, 0, 0, 0, 2]]
    labels_N = np.array([0, 1, 1, 0, 0, 0, 0, 0, 2])
    assert right_images(logits_NC, labels_N) == "df80"
