"""Heads on the logits of many names, without validation images: one interface for all kinds.

    y = t l + W x + b

l are the logits of the classes under the first prompt, x all logits in their principal components,
t how far zero-shot is trusted (`zero_shot_scale`). Kinds differ in W and b:

- `logistic`: penalised logistic regression that corrects t l;
- `gda`: Gaussian discriminant analysis, in closed form, beside t l;
- `anchored`: both: the scores of the discriminant analysis are added to the logistic head's, unless
  images that are held out are predicted better without; with unlabelled images a mixture of all
  images takes the place of the analysis (`unlabelled`);
- `cross_validated`: `logistic` with the penalty, of three, that is best on images held out;
- `similarity`: ridge regression on the names alone, without l (SiM: Zanella et al., arXiv
  2506.04005), a published baseline.

Classes without a labelled image keep their zero-shot logits (`unseen_classes`).

The scores of images that are held out set one factor of the final logits, so that probabilities
mean what they say: no prediction depends on it where all classes have a labelled image.

All are linear in the end, so that what is stored and deployed is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from craft_ray.config.heads import HeadFit
from craft_ray.config.unlabelled_laws import are_enough
from craft_ray.config.validation_laws import MOST_HELD_OUT
from craft_ray.method.heads.folds import assign_folds
from craft_ray.method.heads.gda import fit_gda, share_of_gda
from craft_ray.method.heads.linear import LinearHead
from craft_ray.method.heads.logistic import fit_logistic
from craft_ray.method.heads.problem import Pool, Problem, Unlabelled
from craft_ray.method.heads.scale import best_scale
from craft_ray.method.heads.similarity import fit_similarity
from craft_ray.method.heads.unlabelled import Mixture, fit_mixture
from craft_ray.method.heads.unseen_classes import (
    Weights,
    centred_on,
    shift_to_zero_shot,
    spread,
)
from craft_ray.method.reduction import FloatArray, LabelArray
from craft_ray.method.softmax import log_softmax

PENALTIES = (1e-3, 3e-3, 3e-4)
"""Of logistic heads for ten classes or fewer: the first, or what cross-validation chooses. Once t
is fixed the accuracy hardly depends on it."""
CLASSES_OF_PENALTIES = 10
"""With more, penalties shrink by their number: the loss is a mean over images, of which a class has
one part in C, and its weights would be pressed to nothing."""


@dataclass(frozen=True)
class _Candidate:
    """A head that may be chosen.

    Attributes:
        head: of what is seen.
        base_scale: t; 0 for a head without l.
        mixture: of the unlabelled images, which is a part of the head.
    """

    head: LinearHead
    base_scale: float
    mixture: Mixture | None = None


@dataclass(frozen=True)
class _Judged:
    """What images say that were held out.

    Attributes:
        best: the place of the candidate that predicts them best.
        factor: of its final logits.
        loss: mean cross-entropy with the factor.
        final_nC: final logits of the plain images, with the factor, each by a head that saw no view
            of it.
        rows_n: which images these are.
    """

    best: int
    factor: float
    loss: float
    final_nC: FloatArray
    rows_n: LabelArray

    def shifted(self, shift: float, classes: Sequence[int], labels_N: LabelArray) -> _Judged:
        """With a number added to the final logits of some classes."""
        final_nC = self.final_nC.copy()
        final_nC[:, classes] += np.float32(shift)
        return replace(self, final_nC=final_nC, loss=_mean_loss(final_nC, labels_N[self.rows_n]))


@dataclass(frozen=True)
class FittedHead:
    """A head and what is known of it."""

    head: LinearHead
    """Of what is seen, and where l is a part of it, with t l; where l was given apart, t l is to be
    added."""
    base_scale: float
    """t; 0 for a head without l."""
    zero_shot_scale: float
    """How far zero-shot is trusted, at most 1, whatever the kind: t before the factor that the
    images held out set, among the classes that have a labelled image."""
    zero_shot_right: int
    """Plain images that zero-shot, which learned from none of them, predicts rightly."""
    rank: int
    """Directions that the answers vary in. Names beyond twice as many show nothing new; fewer names
    than that may hide some."""
    held_out_NC: FloatArray | None
    """Final logits of the plain images, each by a head that saw no view of it; None where not all
    were held out."""
    held_out_loss: float | None
    """Mean cross-entropy of the images held out; None where none was."""
    mixture: Mixture | None
    """What the unlabelled images say, if there are any."""
    uses_mixture: bool
    """Whether it is a part of the head."""
    classes: tuple[int, ...]
    """Those that have a labelled image; the others keep their zero-shot logits."""
    folds: int
    """Parts in which all images were held out; 1 where they were not."""


def fit_head(
    kind: HeadFit,
    logits_VNF: FloatArray,
    labels_N: LabelArray,
    num_classes: int,
    folds: int,
    seed: int,
    first_N: LabelArray | None = None,
    base_VNC: FloatArray | None = None,
    logit_scale: float = 1.0,
    unlabelled: Unlabelled | None = None,
    offset_FC: FloatArray | None = None,
    holds_out_all: bool = False,
) -> FittedHead:
    """A head on all images.

    Args:
        kind: see the module.
        logits_VNF: all logits [1 + V, N, F] of the plain images and of V augmented views of them;
            the first C are those of the classes under the first prompt, unless `base_VNC` is given.
            They are l, unless `offset_FC` is given.
        labels_N: their classes.
        num_classes: C.
        folds: in how many parts, at most, images are held out; all views of an image are in the
            same one, and so are its copies. Of more than 4,096 images only one part is, unless
            `holds_out_all`.
        seed: draws the folds.
        first_N: the first row with the same image as this one; None: all images differ.
        base_VNC: the logits l that are corrected, where x are features: these keep their own
            metric, and are not standardised (`benchmarks.features`).
        logit_scale: logits by cosine; what `similarity` is penalised by depends on it.
        unlabelled: answers about further images, which `anchored` learns from if there are ten a
            class or more.
        offset_FC: from all logits to l, as a mean of some of them.
        holds_out_all: whether the final logits of all images held out are needed.
    """
    if unlabelled is not None and not are_enough(len(unlabelled.seen_UF), num_classes):
        unlabelled = None
    problem = Problem.of(logits_VNF, labels_N, num_classes, base_VNC, unlabelled, offset_FC)
    folds_N = assign_folds(labels_N, folds, seed, first_N)
    judged = None
    if folds_N is not None:
        is_whole = holds_out_all or len(folds_N) <= MOST_HELD_OUT
        num_folds = int(folds_N.max()) + 1 if is_whole else 1
        judged = _judge(problem, kind, logit_scale, folds_N, num_folds)
    candidates = _candidates(problem, kind, logit_scale)
    chosen = candidates[0 if judged is None else judged.best]
    if judged is None:
        head, base_scale = chosen.head, chosen.base_scale
    else:
        head, base_scale = chosen.head.times(judged.factor), judged.factor * chosen.base_scale
        classes = problem.classes
        if len(classes) < num_classes and chosen.mixture is None and base_scale > 0.0:
            zero_shot_nC = base_scale * problem.base_of(judged.rows_n)
            # As far as zero-shot is trusted: where it knows nothing, neither does it of its mass.
            shift = chosen.base_scale * shift_to_zero_shot(zero_shot_nC, judged.final_nC, classes)
            head = head.shifted(shift, classes)
            judged = judged.shifted(shift, classes, labels_N)
    all_were = judged is not None and len(judged.rows_n) == len(labels_N)
    return FittedHead(
        head=head,
        base_scale=base_scale,
        zero_shot_scale=chosen.base_scale or problem.base_scale(),
        zero_shot_right=_num_right(logits_VNF[0, :, :num_classes], base_VNC, labels_N),
        rank=problem.points.rank,
        held_out_NC=judged.final_nC if judged is not None and all_were else None,
        held_out_loss=None if judged is None else judged.loss,
        mixture=candidates[0].mixture,
        uses_mixture=chosen.mixture is not None and chosen.mixture.is_safe,
        classes=tuple(problem.classes),
        folds=int(folds_N.max()) + 1 if folds_N is not None and all_were else 1,
    )


def _candidates(problem: Problem, kind: HeadFit, logit_scale: float) -> list[_Candidate]:
    """Heads of which images that are held out choose one; the first where none is."""
    if kind == "similarity":
        return [_Candidate(_similarity(problem, logit_scale), 0.0)]
    classes = problem.classes
    sees_all = len(classes) == problem.num_classes
    known = problem if sees_all else problem.of_classes(classes)
    scale = known.base_scale()

    def of_all(weights: Weights) -> Weights:
        return weights if sees_all else spread(weights, classes, problem.num_classes)

    def candidate(weights: Weights, mixture: Mixture | None = None) -> _Candidate:
        return _Candidate(problem.head(*weights, scale), scale, mixture)

    if kind == "gda":
        return [candidate(of_all(_gaussian(known)))]
    if kind == "cross_validated":
        return [candidate(of_all(_correction(known, scale, penalty))) for penalty in PENALTIES]
    correction = of_all(_correction(known, scale, PENALTIES[0]))
    if kind == "logistic":
        return [candidate(correction)]
    pool = problem.pool
    if not sees_all:
        # Scores of the discriminant analysis have no common zero with those of other classes, and
        # images held out are of labelled classes only: they cannot choose.
        if pool is None:
            return [candidate(correction)]
        correction = centred_on(pool.points_UR, correction)
        mixture = _mixture(problem, pool, scale, correction)
        found = (mixture.weight_RC, mixture.bias_C)
        return [candidate(_sum(correction, found) if mixture.is_safe else correction, mixture)]
    anchored = _sum(correction, _gaussian(problem))
    if pool is None:
        return [candidate(anchored), candidate(correction)]
    mixture = _mixture(problem, pool, scale, correction)
    with_pool = _sum(correction, (mixture.weight_RC, mixture.bias_C))
    first = candidate(with_pool if mixture.is_safe else anchored, mixture)
    return [first, candidate(anchored), candidate(correction)]


def _sum(one: Weights, other: Weights) -> Weights:
    return one[0] + other[0], one[1] + other[1]


def _mixture(problem: Problem, pool: Pool, scale: float, correction: Weights) -> Mixture:
    """Of labelled and unlabelled images, from a logistic head."""
    weight_RC, bias_C = correction
    head_UC = scale * pool.base_UC + pool.points_UR @ weight_RC + bias_C
    labelled_MR = problem.points.values_MR
    return fit_mixture(labelled_MR, problem.labels_M, pool.points_UR, head_UC, problem.num_plain)


def _correction(problem: Problem, scale: float, penalty: float) -> Weights:
    """Of a logistic head.

    Args:
        problem: what it is fitted to.
        scale: t.
        penalty: for ten classes.
    """
    points, base_MC = problem.points, scale * problem.base_MC
    penalty *= min(1.0, CLASSES_OF_PENALTIES / problem.num_classes)
    return fit_logistic(points.values_MR, points.variances_R, base_MC, problem.labels_M, penalty)


def _gaussian(problem: Problem) -> Weights:
    """Scores of the discriminant analysis, with the share that suits so many images a class."""
    share = share_of_gda(problem.num_plain / problem.num_classes)
    weight_RC, bias_C = fit_gda(problem.points.values_MR, problem.labels_M, problem.num_classes)
    return share * weight_RC, share * bias_C


def _similarity(problem: Problem, logit_scale: float) -> LinearHead:
    """Names alone: the classes' own logits have no weight."""
    plain = problem.plain()
    skipped = problem.num_classes if problem.base_is_seen else 0
    seen_NF = plain.seen()
    cosines_NF = seen_NF[:, skipped:] / logit_scale
    weight_FC = np.zeros((seen_NF.shape[1], problem.num_classes), np.float32)
    weight_FC[skipped:] = fit_similarity(cosines_NF, plain.labels_M, problem.num_classes)
    return LinearHead(weight_FC / np.float32(logit_scale), np.zeros_like(weight_FC[0]))


def _judge(
    problem: Problem, kind: HeadFit, logit_scale: float, folds_N: LabelArray, num_folds: int
) -> _Judged:
    """The candidate that predicts images best which are held out: those of the first folds."""
    rows_n = np.flatnonzero(folds_N < num_folds)
    labels_n = problem.labels_M.numpy()[rows_n]
    finals: list[FloatArray] = []
    for fold in range(num_folds):
        fitted = _candidates(problem.part(folds_N != fold), kind, logit_scale)
        held_out = problem.part(folds_N == fold)
        if not finals:
            finals = [np.empty((len(rows_n), problem.num_classes), np.float32) for _ in fitted]
        for final_nC, each in zip(finals, fitted, strict=True):
            final_nC[folds_N[rows_n] == fold] = held_out.final_logits(each.head, each.base_scale)
    scales = [best_scale(final_nC, labels_n) for final_nC in finals]
    judged = []
    for place, (final_nC, scale) in enumerate(zip(finals, scales, strict=True)):
        final_nC *= np.float32(scale)
        judged.append(_Judged(place, scale, _mean_loss(final_nC, labels_n), final_nC, rows_n))
    return min(judged, key=lambda each: each.loss)


def _num_right(classes_NC: FloatArray, base_VNC: FloatArray | None, labels_N: LabelArray) -> int:
    base_NC = classes_NC if base_VNC is None else base_VNC[0]
    return int((base_NC.argmax(axis=1) == labels_N).sum())


def _mean_loss(final_NC: FloatArray, labels_N: LabelArray) -> float:
    """Mean cross-entropy."""
    logs_NC = log_softmax(final_NC.astype(np.float64))
    return float(-logs_NC[np.arange(len(labels_N)), labels_N].mean())
