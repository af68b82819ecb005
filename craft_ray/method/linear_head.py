"""A linear head on many logits of an image, its penalty chosen by cross-validation.

Each prompt and each class name that a black box is asked about is one more projection of the image
features that it hides: a linear head on enough of them sees what a linear probe on the features
sees (Radford et al. 2021, section 3.2). It corrects the zero-shot logits instead of replacing them,

    y = t l + W x + b,   l: logits of the classes under the first prompt, x: all logits, whitened,

so that few images leave it near zero-shot. Fitted by L-BFGS on the mean cross-entropy of all views
plus penalty / 2 ||(W, b)||^2. Where an oracle gives features, x are these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from craft_ray.method.reduction import FloatArray, LabelArray
from craft_ray.method.softmax import log_softmax

Array = npt.NDArray[np.float64]

PENALTIES = tuple(float(penalty) for penalty in 10.0 ** np.arange(1, -5.1, -0.5))
"""From strong to weak; each fit starts from the one before."""
WHITENINGS = (0.0, 0.5)
"""Exponents of the singular values that the logits' principal components are divided by: 0 keeps
the standardised logits' own metric, which suits many names, 1/2 suits few prompts."""
UNTESTED_PENALTY = 1e-3
"""Where a class has one image, nothing can be held out: what cross-validation chooses from four
images a class on (benchmarks.probes)."""
NEGLIGIBLE = 1e-4
"""Singular values below this share of the largest are noise of float32."""
MAX_ITERATIONS = 200
GIVE_UP_AFTER = 2
"""Penalties in a row without a lower loss; weaker ones overfit more."""


@dataclass(frozen=True)
class LinearHead:
    """Final logits from all logits z of an image: z A + b.

    Attributes:
        weight_FC: float32 [F, C].
        bias_C: float32 [C].
    """

    weight_FC: FloatArray
    bias_C: FloatArray

    def __call__(self, logits_NF: FloatArray) -> FloatArray:
        """[N, C]."""
        final: FloatArray = logits_NF @ self.weight_FC + self.bias_C
        return final


@dataclass(frozen=True)
class FittedHead:
    """A head and how it was chosen."""

    head: LinearHead
    """Of x, and where l is a part of it, with t l; where l was given apart, t l is to be added."""
    base_scale: float
    """t."""
    penalty: float
    whitening: float
    held_out_NC: FloatArray | None
    """Final logits of the plain images, each by a head that saw no view of it, with this penalty
    and whitening; None where a class has one image only."""
    held_out_loss: float | None
    """Their mean cross-entropy."""
    folds: int
    """Of the cross-validation; 1 where nothing could be held out."""


def fit_linear_head(
    logits_VNF: FloatArray,
    labels_N: LabelArray,
    num_classes: int,
    folds: int,
    seed: int,
    first_N: LabelArray | None = None,
    base_VNC: FloatArray | None = None,
) -> FittedHead:
    """The head whose penalty and whitening have the lowest held-out loss, fitted to all images.

    Args:
        logits_VNF: all logits [1 + V, N, F] of the plain images and of V augmented views of them;
            the first C are those of the classes under the first prompt, unless `base_VNC` is given.
        labels_N: their classes.
        num_classes: C.
        folds: of the cross-validation, at most; all views of an image are in the same one, and so
            are its copies.
        seed: draws the folds.
        first_N: the first row with the same image as this one; None: all images differ.
        base_VNC: the logits l that are corrected, where x are features: these keep their own
            metric, and are neither standardised nor whitened (`benchmarks.features`).
    """
    # Here: a process that uses heads but fits none does not load it. And before the limit, which
    # reaches only the libraries that are there.
    import scipy.optimize  # noqa: F401

    # Threads of the linear algebra would show in the last bits, and cost more than they give here.
    with threadpool_limits(1, user_api="blas"):
        folds_N = _assign_folds(labels_N, folds, seed, first_N)
        if base_VNC is not None:
            return _fit_best(logits_VNF, base_VNC, labels_N, folds_N, of_features=True)
        return _fit_best(logits_VNF, logits_VNF[:, :, :num_classes], labels_N, folds_N)


def _fit_best(
    seen_VNF: FloatArray,
    base_VNC: FloatArray,
    labels_N: LabelArray,
    folds_N: LabelArray | None,
    *,
    of_features: bool = False,
) -> FittedHead:
    choices = []
    seen_MF = seen_VNF.reshape(-1, seen_VNF.shape[2])
    for whitening in (0.0,) if of_features else WHITENINGS:
        space = _Space.of(seen_MF, whitening, standardised=not of_features)
        problem = _Problem.of(seen_MF, base_VNC, labels_N, space)
        choices.append((_choose_penalty(problem, folds_N), space, problem))
    chosen, space, problem = min(choices, key=lambda choice: choice[0].loss)
    scale, weights_RC = _fit(problem, chosen.penalty)
    head = space.head(0.0 if of_features else scale, weights_RC)
    if folds_N is None:
        return FittedHead(head, scale, chosen.penalty, space.whitening, None, None, 1)
    held_out_NC, folds = chosen.held_out_NC.astype(np.float32), int(folds_N.max()) + 1
    return FittedHead(head, scale, chosen.penalty, space.whitening, held_out_NC, chosen.loss, folds)


def _assign_folds(
    labels_N: LabelArray, folds: int, seed: int, first_N: LabelArray | None
) -> LabelArray | None:
    """A fold for each image, that of the first one for its copies, every class spread over all of
    them; None where a class has one image: a head that never saw the class cannot be judged by it.
    """
    rows_N = np.arange(len(labels_N))
    first_N = rows_N if first_N is None else first_N
    # Of images that stand in several classes, each class but the first has none of its own.
    own_N = [rows_N[(labels_N == label) & (first_N == rows_N)] for label in np.unique(labels_N)]
    folds = min(folds, *map(len, own_N))
    if folds < 2:
        return None
    generator = np.random.default_rng(seed)
    folds_N = np.empty(len(labels_N), dtype=np.int64)
    for own in own_N:
        members = generator.permutation(own)
        # Classes start at different folds, or the first folds would get what does not divide.
        folds_N[members] = (np.arange(len(members)) + generator.integers(folds)) % folds
    same_fold_N: LabelArray = folds_N[first_N]
    return same_fold_N


@dataclass(frozen=True)
class _Space:
    """Standardised logits in their principal components: the black box's features have far fewer
    dimensions than it can be asked for logits, and a rotation leaves the penalty as it is. Features
    are centred only."""

    mean_F: Array
    basis_FR: Array
    whitening: float

    @classmethod
    def of(cls, logits_MF: FloatArray, whitening: float, *, standardised: bool) -> _Space:
        logits = logits_MF.astype(np.float64)
        mean_F, std_F = logits.mean(axis=0), logits.std(axis=0)
        # A name that never changes its logit says nothing; dividing by its std would be noise.
        inverse_F = np.divide(1.0, std_F, out=np.zeros_like(std_F), where=std_F > NEGLIGIBLE)
        if not standardised:
            inverse_F = np.ones_like(std_F)
        standardised_MF = (logits - mean_F) * inverse_F
        _, values, components_RF = np.linalg.svd(standardised_MF, full_matrices=False)
        kept = values > NEGLIGIBLE * values[0]
        scales_R = values[kept] ** -whitening
        # One unit of squared length an image, whatever the number of logits: penalties compare.
        length = np.sqrt(((values[kept] * scales_R) ** 2).sum() / len(logits))
        basis_FR = inverse_F[:, None] * components_RF[kept].T * (scales_R / length)
        return cls(mean_F, basis_FR, whitening)

    def points(self, logits_MF: FloatArray) -> Array:
        """[M, R + 1]; the last is constant, so that the bias is penalised like all weights."""
        points_MR: Array = (logits_MF - self.mean_F) @ self.basis_FR
        return np.hstack([points_MR, np.ones((len(points_MR), 1))])

    def head(self, scale: float, weights_RC: Array) -> LinearHead:
        """The head on what is seen itself, with `scale` times the first C of it."""
        weight_FC = self.basis_FR @ weights_RC[:-1]
        bias_C = weights_RC[-1] - self.mean_F @ weight_FC
        num_classes = len(bias_C)
        if scale:
            weight_FC[:num_classes] += scale * np.eye(num_classes)
        return LinearHead(weight_FC.astype(np.float32), bias_C.astype(np.float32))


@dataclass(frozen=True)
class _Problem:
    """What a head is fitted to, all views in a row."""

    points_MR: Array
    base_MC: Array
    """Logits that the head corrects."""
    labels_M: LabelArray

    @classmethod
    def of(
        cls, seen_MF: FloatArray, base_VNC: FloatArray, labels_N: LabelArray, space: _Space
    ) -> _Problem:
        base_MC = base_VNC.reshape(-1, base_VNC.shape[2]).astype(np.float64)
        return cls(space.points(seen_MF), base_MC, np.tile(labels_N, len(base_VNC)))

    def part(self, chosen_M: npt.NDArray[np.bool_]) -> _Problem:
        """Some of its rows."""
        return _Problem(self.points_MR[chosen_M], self.base_MC[chosen_M], self.labels_M[chosen_M])

    def targets(self) -> Array:
        """The labels as probabilities, [M, C]."""
        return np.eye(self.base_MC.shape[1])[self.labels_M]


@dataclass(frozen=True)
class _Chosen:
    """A penalty, and what it gives for plain images that are held out."""

    penalty: float
    loss: float
    held_out_NC: Array


def _choose_penalty(problem: _Problem, folds_N: LabelArray | None) -> _Chosen:
    """The penalty with the lowest held-out loss on the plain images."""
    if folds_N is None:
        return _Chosen(UNTESTED_PENALTY, 0.0, np.zeros((0, problem.base_MC.shape[1])))
    num_images = len(folds_N)
    folds_M = np.tile(folds_N, len(problem.labels_M) // num_images)
    is_plain_M = np.arange(len(folds_M)) < num_images
    starts: dict[int, Array | None] = dict.fromkeys(range(int(folds_N.max()) + 1))
    best: _Chosen | None = None
    without_gain = 0
    for penalty in PENALTIES:
        held_out_NC = np.empty((num_images, problem.base_MC.shape[1]))
        for fold in starts:
            solution = _solve(problem.part(folds_M != fold), penalty, starts[fold])
            starts[fold] = solution
            held_out = problem.part((folds_M == fold) & is_plain_M)
            held_out_NC[folds_N == fold] = _final(solution, held_out)
        loss = _mean_loss(held_out_NC, problem.targets()[:num_images])
        if best is None or loss < best.loss:
            best, without_gain = _Chosen(penalty, loss, held_out_NC), 0
        else:
            without_gain += 1
        if without_gain == GIVE_UP_AFTER:
            break
    assert best is not None
    return best


def _fit(problem: _Problem, penalty: float) -> tuple[float, Array]:
    """Scale of the base and weights [R + 1, C]."""
    solution = _solve(problem, penalty, None)
    return float(solution[-1]), solution[:-1].reshape(problem.points_MR.shape[1], -1)


def _solve(problem: _Problem, penalty: float, start: Array | None) -> Array:
    """Weights and scale in a row; starts from zero-shot."""
    from scipy.optimize import minimize

    num_weights = problem.points_MR.shape[1] * problem.base_MC.shape[1]
    if start is None:
        start = np.append(np.zeros(num_weights), 1.0)
    targets_MC = problem.targets()

    def objective(values: Array) -> tuple[float, Array]:
        weights_RC = values[:-1].reshape(problem.points_MR.shape[1], -1)
        log_probabilities_MC = log_softmax(_final(values, problem))
        loss = -(targets_MC * log_probabilities_MC).sum() / len(targets_MC)
        slopes_MC = (np.exp(log_probabilities_MC) - targets_MC) / len(targets_MC)
        gradient_RC = problem.points_MR.T @ slopes_MC + penalty * weights_RC
        slope_of_scale = (slopes_MC * problem.base_MC).sum()
        total = float(loss + penalty / 2 * (weights_RC**2).sum())
        return total, np.append(gradient_RC.ravel(), slope_of_scale)

    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}
    )
    solution: Array = found.x
    return solution


def _final(values: Array, problem: _Problem) -> Array:
    """y = t l + W x + b of every row."""
    weights_RC = values[:-1].reshape(problem.points_MR.shape[1], -1)
    final_MC: Array = problem.points_MR @ weights_RC + values[-1] * problem.base_MC
    return final_MC


def _mean_loss(final_NC: Array, targets_NC: Array) -> float:
    """Mean cross-entropy."""
    return float(-(targets_NC * log_softmax(final_NC)).sum() / len(targets_NC))
