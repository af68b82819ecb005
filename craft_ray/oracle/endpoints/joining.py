"""The answers of several requests as the answer of one question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import FULL_SCORES, Served
from craft_ray.oracle.endpoints.scores import (
    LabelChunk,
    join_chunks,
    log_probabilities,
    log_probabilities_of_top_k,
    logits_of_sigmoid,
)
from craft_ray.oracle.endpoints.wire import Answer, AnswerError, FloatArray, Question


def join(
    question: Question, answers: Sequence[Answer], served: Served, decimals: int | None = None
) -> FloatArray:
    """One array for the whole question.

    Args:
        question: that was asked in parts.
        answers: of all parts, in any order.
        served: what the endpoint's numbers are.
        decimals: that probabilities are rounded to, as the adapter declares it.

    Returns:
        float32: features [items, F]; or scores [images, texts]: logits and cosines as they are,
        probabilities as log-probabilities, sigmoid scores as logits. Of `top_k` the labels that
        are not told (NaN) have an equal share of what is left of 1.

    Raises:
        AnswerError: features of several widths; or probabilities beyond [0, 1].
        OracleError: an answer is missing, or there is one twice.
    """
    if question.is_scores:
        if served not in FULL_SCORES and served != "top_k":
            raise OracleError(f"answers: must be scores of labels, but got {served}")
        return _scores(question, answers, served, decimals)
    return _features(question, answers)


def _features(question: Question, answers: Sequence[Answer]) -> FloatArray:
    num_items = len(question.images or question.texts)
    rows = [row for answer in answers for row in answer.part.images or answer.part.texts]
    _check_each_once(rows, num_items)
    widths = sorted({answer.values.shape[1] for answer in answers})
    if len(widths) > 1:
        raise AnswerError(f"features: must be of one width in all answers, but got {widths}")
    joined = np.empty((num_items, widths[0]), dtype=np.float32)
    joined[rows] = np.concatenate([answer.values for answer in answers])
    return joined


def _scores(
    question: Question, answers: Sequence[Answer], served: Served, decimals: int | None
) -> FloatArray:
    num_images, num_texts = len(question.images), len(question.texts)
    chunks: dict[tuple[int, ...], list[Answer]] = {}
    for answer in answers:
        chunks.setdefault(answer.part.texts, []).append(answer)
    blocks: list[LabelChunk] = []
    for texts, together in chunks.items():
        rows = [row for answer in together for row in answer.part.images]
        _check_each_once(rows, num_images)
        block = np.empty((num_images, len(texts)), dtype=np.float32)
        block[rows] = np.concatenate([answer.values for answer in together])
        blocks.append(LabelChunk(texts, block))
    if served == "top_k" and len(blocks) > 1:
        raise OracleError(
            f"answers: must be of one request for all labels where only the best are told, but are "
            f"of {len(blocks)}: the anchor of most chunks would not be told"
        )
    if any(answer.part.anchored for answer in answers):
        return join_chunks(blocks, num_texts, decimals)
    _check_each_once([text for block in blocks for text in block.labels], num_texts)
    joined = np.empty((num_images, num_texts), dtype=np.float32)
    for chunk in blocks:
        joined[:, list(chunk.labels)] = chunk.probabilities
    if served == "top_k":
        return log_probabilities_of_top_k(joined, decimals)
    if served == "probabilities":
        return log_probabilities(joined, decimals)
    return logits_of_sigmoid(joined, decimals) if served == "sigmoid" else joined


def _check_each_once(positions: Sequence[int], num_items: int) -> None:
    if sorted(positions) != list(range(num_items)):
        raise OracleError(
            f"answers: must be there once for each of {num_items}, but are there for "
            f"{len(positions)}, {len(set(positions))} of them different"
        )
