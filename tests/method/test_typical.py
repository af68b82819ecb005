"""Which images are typical and far from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from craft_ray.method import typical
from craft_ray.method.reduction import FloatArray, LabelArray
from craft_ray.method.typical import choose_typical

SIZES = (60, 50, 40, 30)


def groups(sizes: Sequence[int] = SIZES, seed: int = 0) -> tuple[FloatArray, LabelArray]:
    """Logits of images of as many groups as sizes, and their groups, in any order."""
    generator = np.random.default_rng(seed)
    group_N = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    hidden_NR = np.eye(len(sizes), 16)[group_N] + 0.05 * generator.normal(size=(len(group_N), 16))
    logits_NF = hidden_NR @ generator.normal(size=(16, 48))
    return logits_NF.astype(np.float32), group_N


@pytest.fixture(autouse=True)
def _few_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four groups lie in three directions; whitened noise in 17 others would hide them."""
    monkeypatch.setattr(typical, "FEWEST_COMPONENTS", 3)


def test_each_group_is_met_once_the_largest_first() -> None:
    logits_NF, group_N = groups()
    chosen = choose_typical(logits_NF, 4)
    assert [int(group_N[each.row]) for each in chosen] == [0, 1, 2, 3]
    assert [each.stands_for for each in chosen] == list(SIZES)


def test_what_is_typical_lies_in_the_middle_of_its_group() -> None:
    logits_NF, group_N = groups()
    points_NR = typical.whitened(logits_NF, 3)
    for each in choose_typical(logits_NF, 4):
        own_nR = points_NR[group_N == group_N[each.row]]
        distances_n = np.linalg.norm(own_nR - own_nR.mean(axis=0), axis=1)
        distance = np.linalg.norm(points_NR[each.row] - own_nR.mean(axis=0))
        assert distance < np.median(distances_n)


def test_groups_with_a_known_label_are_passed_over() -> None:
    logits_NF, group_N = groups()
    known = [int(np.flatnonzero(group_N == group)[0]) for group in (0, 2)]
    chosen = choose_typical(logits_NF, 2, known)
    assert [int(group_N[each.row]) for each in chosen] == [1, 3]


def test_rounds_go_on_from_each_other_and_no_image_comes_twice() -> None:
    logits_NF, group_N = groups()
    first = [each.row for each in choose_typical(logits_NF, 2)]
    second = [each.row for each in choose_typical(logits_NF, 2, first)]
    assert sorted(group_N[[*first, *second]]) == [0, 1, 2, 3]
    every = choose_typical(logits_NF, 1000, [*first, *second])
    assert sorted(each.row for each in every) == sorted({*range(180)} - {*first, *second})


def test_small_clusters_come_after_the_second_image_of_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images that resemble nothing are seldom a class."""
    logits_NF, group_N = groups((60, 50, 40, 2))
    clusters = [np.flatnonzero(group_N == group) for group in range(4)]
    monkeypatch.setattr(typical, "_clusters", lambda *_: clusters)
    chosen = choose_typical(logits_NF, 7)
    assert [int(group_N[each.row]) for each in chosen] == [0, 1, 2, 0, 1, 2, 3]


def test_of_more_labels_than_clusters_all_clusters_get_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typical, "MOST_CLUSTERS", 4)
    logits_NF, group_N = groups()
    chosen = choose_typical(logits_NF, 8)
    assert [int(group_N[each.row]) for each in chosen] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert len({each.row for each in chosen}) == 8


def test_equal_seeds_choose_equally_and_in_blocks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    logits_NF, _ = groups()
    chosen = choose_typical(logits_NF, 7, seed=3)
    assert choose_typical(logits_NF, 7, seed=3) == chosen
    monkeypatch.setattr(typical, "ROWS_PER_BLOCK", 7)
    assert choose_typical(logits_NF, 7, seed=3) == chosen


def test_the_scale_of_a_name_changes_nothing_where_logits_are_standardised() -> None:
    logits_NF, _ = groups()
    scaled_NF = logits_NF * np.geomspace(0.1, 10, 48, dtype=np.float32) + np.float32(3)
    assert choose_typical(scaled_NF, 4) == choose_typical(logits_NF, 4)
    found = choose_typical(logits_NF, 4, standardised=False)
    assert [each.stands_for for each in found] == list(SIZES)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_few_images_and_images_that_are_the_same_to_the_model(number: int) -> None:
    same_NF = np.ones((number, 30), np.float32)
    assert sorted(each.row for each in choose_typical(same_NF, 9)) == list(range(number))
    others_NF = np.random.default_rng(0).normal(size=(number, 30)).astype(np.float32)
    assert sorted(each.row for each in choose_typical(others_NF, 9)) == list(range(number))
    assert choose_typical(others_NF, 9, range(number)) == []
