"""Where the names come from that a head is asked about beside the task's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.heads import MAX_EXTRA_NAMES
from craft_ray.config.loading import load_default_run, load_space_config
from craft_ray.config.shipped import DEFAULT_SPACE
from craft_ray.data.dataset import class_name_problem, normalized_name
from craft_ray.errors import ConfigError
from craft_ray.light_imports import module_alone
from craft_ray.search.plan import dearest_runs
from craft_ray.task.visible_words import visible_words
from craft_ray.task.vocabulary import draw_names, extra_names


@cache
def imagenet() -> tuple[str, ...]:
    return tuple(module_alone("open_clip", "zero_shot_metadata").IMAGENET_CLASSNAMES)


def normalized(names: Sequence[str]) -> set[str]:
    return {normalized_name(name) for name in names}


def test_there_are_words_for_the_most_names_and_none_is_imagenets() -> None:
    words = visible_words()
    assert len(words) >= MAX_EXTRA_NAMES
    assert len(normalized(words)) == len(words)
    assert not normalized(words) & normalized(imagenet())


def test_the_words_are_short_and_such_as_a_prompt_takes() -> None:
    for word in visible_words():
        assert word == " ".join(word.split()).strip(",.")
        assert class_name_problem(word) is None
        assert 1 <= len(word.split()) <= 4


def test_the_default_method_runs_on_imagenet() -> None:
    names = extra_names(load_default_run([]), imagenet())
    assert len(names) == 500
    assert set(names) <= set(visible_words())
    for run in dearest_runs(load_space_config(DEFAULT_SPACE, [])):
        extra_names(run, imagenet())


@given(st.integers(0, 1000), st.integers(1, MAX_EXTRA_NAMES), st.integers(0, 9))
def test_imagenets_names_come_first_and_the_words_after_them(
    num_own: int, count: int, seed: int
) -> None:
    own = imagenet()[:num_own]
    names = draw_names((), count, own, seed)
    assert len(normalized(names)) == count
    assert not normalized(names) & normalized(own)
    left = normalized(imagenet()) - normalized(own)
    assert normalized(names[: len(left)]) <= left
    assert set(names[len(left) :]) <= set(visible_words())
    assert draw_names((), MAX_EXTRA_NAMES, own, seed)[:count] == names


def test_a_vocabulary_of_ones_own_is_not_added_to() -> None:
    with pytest.raises(ConfigError, match=r"head\.names <= 2 must hold.*head\.vocabulary has"):
        draw_names(("a", "b", "cat"), 3, ("cat",), seed=0)
