"""The search over words under the contract of the optimizers."""

from __future__ import annotations

import numpy as np
import pytest

from craft_ray.config.optimizers import TextConfig
from craft_ray.optimizers.base import FloatArray64, ZerothOrderOptimizer
from craft_ray.optimizers.text_search import TextSearch

PLACES, WORDS = [0, 1, 2], 30


def new(seed: int = 1, population: int = 8, **changes: int) -> TextSearch:
    return TextSearch(TextConfig(population=population, **changes), PLACES, WORDS, seed)


def losses_of(candidates_PD: FloatArray64) -> FloatArray64:
    """Word 7 helps in any place, word 3 in the second, frame 2 a little; noise that is fixed."""
    frames, first, second = candidates_PD.astype(int).T
    noise = np.sin(13.7 * (frames + 31 * first + 77 * second))
    seven = (first == 7) + (second == 7)
    helped = 1.0 * seven + 1.0 * (second == 3) + 0.3 * (frames == 2)
    losses: FloatArray64 = 5.0 - helped + 0.1 * noise
    return losses


def run(optimizer: ZerothOrderOptimizer, generations: int) -> list[FloatArray64]:
    asked = []
    for _ in range(generations):
        asked.append(optimizer.ask())
        optimizer.tell(losses_of(asked[-1]))
    return asked


def test_candidates_are_whole_frames_and_words_and_none_is_asked_twice() -> None:
    asked = np.concatenate(run(new(), 12)).astype(int)
    assert len({tuple(genome) for genome in asked.tolist()}) == len(asked)
    places = np.array(PLACES)[asked[:, 0]]
    assert (asked[places < 2, 2] == 0).all()
    assert (asked[places < 1, 1] == 0).all()
    assert asked.min() >= 0
    assert asked[:, 1:].max() < WORDS


def test_the_first_generation_has_every_frame() -> None:
    assert set(new().ask()[:, 0]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_what_helps_much_sooner_than_chance(seed: int) -> None:
    optimizer = new(seed)
    run(optimizer, 25)  # 200 of 931; the best two are among 900
    frame, first, second = optimizer.best
    assert (frame, first, second) in ((2, 7, 3), (2, 7, 7))
    assert (optimizer.mean == optimizer.best).all()


def test_when_everything_was_asked_it_goes_on() -> None:
    optimizer = TextSearch(TextConfig(population=8), [1], 10, seed=1)
    for _ in range(4):
        candidates = optimizer.ask()
        assert candidates.shape == (8, 2)
        optimizer.tell(candidates[:, 1])
    assert optimizer.best[1] == 0


def test_failures_are_never_the_best_and_the_search_goes_on() -> None:
    optimizer = new()
    for _ in range(5):
        losses = losses_of(optimizer.ask())
        losses[::2] = np.nan
        losses[1] = np.inf
        optimizer.tell(losses)
    assert np.isfinite(losses_of(optimizer.best[None])).all()
    optimizer.ask()
    with pytest.raises(ValueError, match="at least one loss must be finite"):
        optimizer.tell(np.full(8, np.nan))


def test_asking_again_gives_the_same() -> None:
    optimizer = new()
    np.testing.assert_array_equal(optimizer.ask(), optimizer.ask())


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_loaded_search_continues_exactly(is_asked: bool) -> None:
    first = new()
    run(first, 4)
    if is_asked:
        first.ask()
    second = new()
    second.load_state_dict(first.state_dict())
    for one, other in zip(run(first, 4), run(second, 4), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.best, second.best)


def test_a_state_of_other_words_is_refused() -> None:
    state = new().state_dict()
    other = TextSearch(TextConfig(population=8), PLACES, WORDS + 1, seed=1)
    with pytest.raises(ValueError, match="num_words must be 31"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="elite"):
        new(elite=3).load_state_dict(state)
