"""The mixture of labelled and unlabelled images: what it finds, and when it is not to be used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.method.heads import Unlabelled, fit_head
from craft_ray.method.heads.gda import fit_gda
from craft_ray.method.heads.unlabelled import FEW_IMAGES, SHARES, fit_mixture, share_of_mixture

NUM_CLASSES, WIDTH = 5, 60


def world(counts: list[int], seed: int, apart: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of classes that overlap a little, and labels."""
    centres = apart * torch.randn(NUM_CLASSES, WIDTH, generator=torch.Generator().manual_seed(7))
    labels = torch.repeat_interleave(torch.arange(NUM_CLASSES), torch.tensor(counts))
    generator = torch.Generator().manual_seed(seed)
    return centres[labels] + torch.randn(len(labels), WIDTH, generator=generator), labels


def head_of(points: torch.Tensor, labels: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Logits by the nearest labelled image, as a head of one shot knows them."""
    return -torch.cdist(other, points).pow(2)[:, labels.argsort()] / 10


@pytest.mark.parametrize("counts", [[60] * 5, [120, 60, 60, 40, 30]])
def test_it_finds_what_the_classes_look_like_and_how_frequent_they_are(counts: list[int]) -> None:
    labelled, labels = world([1] * 5, seed=1)
    pool, true = world(counts, seed=2)
    head = head_of(labelled, labels, pool)
    mixture = fit_mixture(labelled, labels, pool, head, len(labels))
    fresh, fresh_labels = world([200] * 5, seed=3)
    alone = head_of(labelled, labels, fresh)
    both = alone + fresh.double() @ mixture.weight_RC + mixture.bias_C

    def accuracy(logits: torch.Tensor) -> float:
        return float((logits.argmax(dim=1) == fresh_labels).double().mean())

    assert accuracy(both) > accuracy(alone) + 0.03
    expected = torch.bincount(true, minlength=5) / len(true)
    np.testing.assert_allclose(mixture.frequencies_C, expected, atol=0.12)
    assert mixture.is_safe


@pytest.mark.parametrize("counts", [[100, 100, 0, 0, 0], [0, 0, 0, 0, 200]])
def test_a_pool_without_most_of_the_classes_is_not_safe(counts: list[int]) -> None:
    labelled, labels = world([1] * 5, seed=1, apart=1.0)
    pool, _ = world(counts, seed=2, apart=1.0)
    mixture = fit_mixture(labelled, labels, pool, head_of(labelled, labels, pool), len(labels))
    assert not mixture.is_safe
    assert mixture.num_classes_met < 3.5


def test_few_images_count_less() -> None:
    assert share_of_mixture(FEW_IMAGES - 0.1) == SHARES["few"] < SHARES["many"]
    assert share_of_mixture(FEW_IMAGES) == SHARES["many"]


def test_a_head_with_an_unsafe_pool_is_the_head_without_it() -> None:
    labelled, labels = world([4] * 5, seed=1)
    pool, _ = world([0, 0, 0, 60, 0], seed=2)
    projection = torch.randn(WIDTH, 120, generator=torch.Generator().manual_seed(5))
    seen, names = (labelled @ projection).numpy(), labels.numpy()
    unlabelled = Unlabelled((pool @ projection).numpy())
    of_pool = fit_head(
        "anchored",
        seen[None],
        names,
        NUM_CLASSES,
        2,
        0,
        unlabelled=unlabelled,
    )
    alone = fit_head("anchored", seen[None], names, NUM_CLASSES, 2, 0)
    assert of_pool.mixture is not None
    assert not of_pool.uses_mixture
    fresh, _ = world([50] * 5, seed=3)
    logits = (fresh @ projection).numpy()
    same = of_pool.head(logits).argmax(axis=1) == alone.head(logits).argmax(axis=1)
    assert same.mean() > 0.9


def test_one_hot_shares_are_a_discriminant_analysis() -> None:
    """With a pool of one sure image of each class the mixture is the analysis of all images."""
    points, labels = world([20] * 5, seed=1)
    sure = 1e4 * F.one_hot(labels[::20], NUM_CLASSES).float()
    mixture = fit_mixture(points, labels, points[::20], sure, len(labels))
    everything, all_labels = torch.cat([points, points[::20]]), torch.cat([labels, labels[::20]])
    weight_RC, bias_C = fit_gda(everything, all_labels, NUM_CLASSES)
    np.testing.assert_allclose(mixture.weight_RC, SHARES["many"] * weight_RC, rtol=1e-4)
    np.testing.assert_allclose(mixture.bias_C, SHARES["many"] * bias_C, rtol=1e-4)


def test_nothing_is_learned_from_fewer_than_ten_images_a_class() -> None:
    labelled, labels = world([2] * 5, seed=1)
    pool, _ = world([10] * 5, seed=2)
    fits = {
        count: fit_head(
            "anchored",
            labelled.numpy()[None],
            labels.numpy(),
            NUM_CLASSES,
            2,
            0,
            unlabelled=Unlabelled(pool[:count].numpy()),
        )
        for count in (49, 50)
    }
    assert fits[49].mixture is None
    assert fits[50].mixture is not None
