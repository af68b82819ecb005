"""Scores of other kinds as logits: probabilities, chunks of labels, an unknown temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.wire import AnswerError, FloatArray

SMALLEST = float(np.finfo(np.float32).tiny)
"""Probabilities below are taken for this: its logarithm is about -87.3."""
LARGEST_SCALE = 1e6
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class LabelChunk:
    """Probabilities over some of the labels.

    Attributes:
        labels: which ones; the first is the anchor, which all chunks share.
        probabilities: [N, len(labels)].
    """

    labels: tuple[int, ...]
    probabilities: FloatArray


def least_of(decimals: int | None) -> float:
    """What a probability of 0 is taken for: half of the last decimal, where scores are rounded;
    else the smallest float32."""
    return SMALLEST if decimals is None else max(SMALLEST, 0.5 * 10.0**-decimals)


def log_probabilities(probabilities: FloatArray, decimals: int | None = None) -> FloatArray:
    """Logarithms, with 0 taken for `least_of(decimals)`.

    Raises:
        AnswerError: a number is not between 0 and 1.
    """
    _check_probabilities(probabilities)
    wide = np.maximum(probabilities.astype(np.float64), least_of(decimals))
    values: FloatArray = np.log(wide).astype(np.float32)
    return values


def log_probabilities_of_top_k(scores: FloatArray, decimals: int | None = None) -> FloatArray:
    """Log-probabilities where only the best labels of each image are told.

    The labels that are not told share alike what the told ones leave of 1; none is likelier than
    the least of those that are told, or less likely than what rounding takes for 0. A row does not
    always add up to 1 then.

    Args:
        scores: probabilities [N, C]; NaN: not told.
        decimals: that they are rounded to. None: they are not.

    Raises:
        AnswerError: a number is not between 0 and 1, or nothing is told of an image.
    """
    is_told = ~np.isnan(scores)
    if not is_told.any(axis=1).all():
        raise AnswerError("top_k: must tell at least one label of each image, but tells none")
    _check_probabilities(scores[is_told])
    told = np.where(is_told, scores.astype(np.float64), 0.0)
    rest = np.maximum(1 - told.sum(axis=1, keepdims=True), 0)
    others = np.maximum((~is_told).sum(axis=1, keepdims=True), 1)
    least_told = np.where(is_told, scores, np.inf).min(axis=1, keepdims=True)
    share = np.minimum(rest / others, least_told)
    filled = np.maximum(np.where(is_told, told, share), least_of(decimals))
    values: FloatArray = np.log(filled).astype(np.float32)
    return values


def logits_of_sigmoid(probabilities: FloatArray, decimals: int | None = None) -> FloatArray:
    """log(p / (1 - p)): the very logits, but for rounding; at least -87.3 and, because float32 has
    no number between 0.99999994 and 1, at most 17.3; less where scores are rounded to decimals.

    Raises:
        AnswerError: a number is not between 0 and 1.
    """
    _check_probabilities(probabilities)
    p = probabilities.astype(np.float64)
    least = least_of(decimals)
    least_rest = max(float(np.finfo(np.float32).epsneg) / 2, least)
    logits = np.log(np.maximum(p, least)) - np.log(np.maximum(1 - p, least_rest))
    values: FloatArray = logits.astype(np.float32)
    return values


def join_chunks(
    chunks: Sequence[LabelChunk], num_labels: int, decimals: int | None = None
) -> FloatArray:
    """Log-probabilities over all labels, from probabilities over chunks of them.

    log p(label) - log p(anchor) is the difference of two logits, so it is the same in every chunk,
    whatever else is in it. Where the anchor's probability is 0 after rounding, that difference is
    not known, and the result for this image is only as good as the clamp.

    Args:
        chunks: that together have every label, each but the anchor once.
        num_labels: C.
        decimals: that the probabilities are rounded to. None: they are not.

    Returns:
        float32 [N, C]; exp of a row adds up to 1.

    Raises:
        AnswerError: a number is not between 0 and 1.
        OracleError: the chunks do not share an anchor, or do not have each label once.
    """
    anchors = {chunk.labels[0] for chunk in chunks}
    others = [label for chunk in chunks for label in chunk.labels[1:]]
    if len(anchors) != 1 or sorted([*anchors, *others]) != list(range(num_labels)):
        raise OracleError(
            f"chunks of labels: must share one anchor and have each of {num_labels} labels once, "
            f"but have anchors {sorted(anchors)} and {len(others)} others"
        )
    joined = np.zeros((len(chunks[0].probabilities), num_labels))
    for chunk in chunks:
        _check_probabilities(chunk.probabilities)
        logs = np.log(np.maximum(chunk.probabilities.astype(np.float64), least_of(decimals)))
        joined[:, list(chunk.labels)] = logs - logs[:, :1]
    result: FloatArray = _log_softmax(joined).astype(np.float32)
    return result


def cosine(images_NF: FloatArray, texts_MF: FloatArray) -> FloatArray:
    """Of every image with every text, whatever the length of the vectors: float32 [N, M].

    Raises:
        AnswerError: the widths differ: the features are of two models, or of two settings of
            one.
    """
    if images_NF.shape[1] != texts_MF.shape[1]:
        raise AnswerError(
            f"features: must be as wide for images as for texts, but got {images_NF.shape[1]} and "
            f"{texts_MF.shape[1]}: one model (and one `dimensions`) must answer both"
        )
    values: FloatArray = (_unit(images_NF) @ _unit(texts_MF).T).astype(np.float32)
    return values


@dataclass(frozen=True)
class Temperature:
    """A fitted scale.

    Attributes:
        scale: logits = scale * scores.
        loss: mean cross-entropy with it, in nats.
        is_bound: whether the fit has run to the end of what is tried, 0.001 or a million: the
            labels do not determine it (as where every image has its own class on top), or do not
            follow the scores at all.
    """

    scale: float
    loss: float
    is_bound: bool


def fit_temperature(scores_NC: FloatArray, labels_N: npt.NDArray[np.int64]) -> Temperature:
    """The scale by which scores become the likeliest logits of known labels.

    The loss is convex in the scale, so the place where its slope is 0 is found by halving.

    Args:
        scores_NC: cosines, say.
        labels_N: true classes.

    Raises:
        OracleError: labels and scores do not fit, or there is only one class.
    """
    num_images, num_classes = scores_NC.shape
    is_known = labels_N.shape == (num_images,) and num_images > 0
    if num_classes < 2 or not is_known or not (0 <= labels_N.min() <= labels_N.max() < num_classes):
        raise OracleError(
            f"temperature: must be fitted on labels of [0, {num_classes}) for {num_images} images "
            f"and at least 2 classes, but got labels {list(labels_N.shape)}"
        )
    scores = scores_NC.astype(np.float64)
    true = scores[np.arange(num_images), labels_N]

    def slope(scale: float) -> float:
        expected = (np.exp(_log_softmax(scale * scores)) * scores).sum(axis=1)
        return float((expected - true).mean())

    low, high = np.log(SMALLEST_SCALE), np.log(LARGEST_SCALE)
    if slope(SMALLEST_SCALE) >= 0:
        high = low
    elif slope(LARGEST_SCALE) <= 0:
        low = high
    is_bound = bool(low == high)
    for _ in range(0 if is_bound else 60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) < 0 else (low, middle)
    scale = float(np.exp((low + high) / 2))
    losses = -_log_softmax(scale * scores)[np.arange(num_images), labels_N]
    return Temperature(scale, float(losses.mean()), is_bound)


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _unit(rows: FloatArray) -> npt.NDArray[np.float64]:
    wide = rows.astype(np.float64)
    unit: npt.NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _check_probabilities(values: FloatArray) -> None:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1 + 1e-5):
        raise AnswerError(
            f"probabilities: must be between 0 and 1, but got {values.min()} to {values.max()}: "
            "are these other scores? (oracle.dialect, oracle.options)"
        )
