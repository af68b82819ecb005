"""What heads are made of, each against a reference that others wrote or a direct formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge

from craft_ray.method.heads.gda import SHARES, fit_gda, share_of_gda
from craft_ray.method.heads.logistic import fit_logistic
from craft_ray.method.heads.points import Points
from craft_ray.method.heads.scale import SMALLEST, best_scale, zero_shot_scale
from craft_ray.method.heads.similarity import RIDGE, fit_similarity
from tests.support.examples import few


def logits(num_rows: int = 60, num_logits: int = 20, rank: int = 6, seed: int = 0) -> torch.Tensor:
    """Of low rank, with a mean."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_rows, rank, generator=generator)
    return 5 + hidden @ torch.randn(rank, num_logits, generator=generator)


def test_points_are_the_principal_components_of_standardised_logits() -> None:
    seen = logits()
    points = Points.of(seen)
    standardised = ((seen - seen.mean(dim=0)) / seen.std(dim=0, correction=0)).double()
    values = torch.linalg.svdvals(standardised)
    assert points.rank == 6
    expected = (values**2 / (values**2).sum())[:6]
    np.testing.assert_allclose(points.variances_R, expected, rtol=1e-4)
    np.testing.assert_allclose(points.values_MR.mean(dim=0), 0, atol=1e-5)
    found = (points.values_MR.double().T @ points.values_MR.double() / len(seen)).diagonal()
    np.testing.assert_allclose(found, points.variances_R, rtol=1e-3)
    # Distances are those of the standardised logits, up to the common length.
    length = standardised.square().sum(dim=1).mean().sqrt()
    np.testing.assert_allclose(
        torch.cdist(points.values_MR, points.values_MR),
        torch.cdist(standardised, standardised) / length,
        atol=2e-3,
    )


def test_a_head_on_points_is_one_on_logits() -> None:
    seen = logits()
    points = Points.of(seen)
    weight_RC, bias_C = torch.randn(6, 3), torch.randn(3)
    head = points.head(weight_RC, bias_C, 0.5)
    expected = points.place(seen) @ weight_RC + bias_C + 0.5 * seen[:, :3]
    np.testing.assert_allclose(head(seen.numpy()), expected, atol=1e-3)


def test_features_keep_their_own_metric() -> None:
    seen = logits()
    points = Points.of(seen, standardised=False)
    centred = seen - seen.mean(dim=0)
    length = centred.square().sum(dim=1).mean().sqrt()
    np.testing.assert_allclose(
        torch.cdist(points.values_MR, points.values_MR),
        torch.cdist(centred, centred) / length,
        atol=2e-3,
    )


@pytest.mark.parametrize("penalty", [1e-2, 1e-3, 1e-4])
def test_logistic_regression_is_scikit_learns(penalty: float) -> None:
    points = Points.of(logits(200, 30, 10))
    generator = torch.Generator().manual_seed(1)
    labels = (points.values_MR[:, :3] + 0.3 * torch.randn(200, 3, generator=generator)).argmax(1)
    weight_RC, bias_C = fit_logistic(
        points.values_MR, points.variances_R, torch.zeros(200, 3), labels, penalty
    )
    with_bias = np.hstack([points.values_MR, np.ones((200, 1))])
    model = LogisticRegression(
        C=1 / (penalty * 200), fit_intercept=False, tol=1e-9, max_iter=20_000
    )
    expected = model.fit(with_bias, labels).predict_proba(with_bias)
    found = softmax((points.values_MR @ weight_RC + bias_C).numpy(), axis=1)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_few_gradients_are_enough() -> None:
    points = Points.of(logits(400, 40, 20))
    labels = torch.arange(400) % 5
    base = torch.zeros(400, 5)

    def loss(max_gradients: int) -> float:
        weight_RC, bias_C = fit_logistic(
            points.values_MR, points.variances_R, base, labels, 1e-3, max_gradients
        )
        final = points.values_MR @ weight_RC + bias_C
        penalised = weight_RC.square().sum() + bias_C.square().sum()
        return float(torch.nn.functional.cross_entropy(final, labels) + 1e-3 / 2 * penalised)

    assert loss(25) == pytest.approx(loss(2000), abs=1e-3)


def test_gda_is_discriminant_analysis_with_one_covariance() -> None:
    """With images enough the shrinkage does not show."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(3000) % 3
    points = torch.randn(3000, 4, generator=generator) + 2 * torch.randn(3, 4)[labels]
    weight_RC, bias_C = fit_gda(points, labels, 3)
    scores = points.double() @ weight_RC + bias_C
    model = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(points, labels)
    expected = model.decision_function(points)
    scores = scores * (len(points) / 4)  # Wang et al.: the inverse has the factor R / (n - 1)
    np.testing.assert_allclose(
        softmax(scores.numpy(), axis=1), softmax(expected, axis=1), atol=0.02
    )


def test_gda_exists_where_there_are_fewer_images_than_directions() -> None:
    points = torch.randn(4, 50, generator=torch.Generator().manual_seed(3))
    weight_RC, bias_C = fit_gda(points, torch.tensor([0, 0, 1, 1]), 2)
    scores = points.double() @ weight_RC + bias_C
    assert scores.argmax(dim=1).tolist() == [0, 0, 1, 1]


def test_the_share_of_gda_grows_with_images_and_has_ends() -> None:
    shots = [0.5, 1, 2, 3, 4, 6, 8, 11, 16, 1000]
    shares = [share_of_gda(number) for number in shots]
    assert shares == sorted(shares)
    assert [share_of_gda(number) for number in SHARES] == pytest.approx(list(SHARES.values()))
    assert (shares[0], shares[-1]) == pytest.approx((1e-3, 10))


def test_similarity_is_ridge_regression() -> None:
    cosines = logits(30, 50, 12) / 30
    labels = torch.arange(30) % 3
    weight_FC = fit_similarity(cosines, labels, 3)
    model = Ridge(alpha=RIDGE, fit_intercept=False).fit(cosines.double(), np.eye(3)[labels])
    np.testing.assert_allclose(weight_FC, model.coef_.T, atol=1e-6)


@few
@given(st.integers(0, 1000), st.floats(0.05, 20), st.integers(2, 6))
def test_the_best_scale_has_the_lowest_loss(seed: int, factor: float, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=40)
    given_NC = factor * (np.eye(num_classes)[labels] + rng.normal(size=(40, num_classes)))

    def objective(log_t: float) -> float:
        chosen = log_softmax(np.exp(log_t) * given_NC, axis=1)[np.arange(40), labels]
        return float(-chosen.mean() + log_t**2 / (8 * 40))

    for find, top in ((best_scale, 1e2), (zero_shot_scale, 1.0)):
        found = objective(np.log(find(given_NC.astype(np.float32), labels)))
        bounds = (np.log(1e-3), np.log(top))
        best = minimize_scalar(objective, bounds=bounds, method="bounded").fun
        assert found <= min(best, objective(bounds[1])) + 1e-6


def test_zero_shot_that_knows_nothing_is_hardly_trusted() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 10
    noise = 5 * rng.normal(size=(160, 10)).astype(np.float32)
    right = noise + 20 * np.eye(10, dtype=np.float32)[labels]
    assert zero_shot_scale(noise, labels) < 0.1
    assert zero_shot_scale(right, labels) > 0.9


def test_what_is_always_wrong_gets_the_smallest_factor() -> None:
    labels = np.arange(5000) % 2
    wrong = (1000 * np.eye(2, dtype=np.float32))[1 - labels]
    assert zero_shot_scale(wrong, labels) == SMALLEST
