"""What of exact answers an owner gives away: pure arithmetic and laws on questions."""

from __future__ import annotations

import numpy as np

from craft_ray.config.service import GivenAwayConfig
from craft_ray.method.softmax import Array, log_softmax, softmax
from craft_ray.oracle.contract import ClassificationTask, FloatArray, OracleDescription, TaskHandle

_SMALLEST = float(np.finfo(np.float32).tiny)


class NotGivenError(Exception):
    """The owner does not answer this."""


def limited(logits_KNC: FloatArray, gives: GivenAwayConfig) -> FloatArray:
    """Answers as they leave the house.

    Args:
        logits_KNC: exact.
        gives: what is given away.

    Returns:
        The logits; or the logarithms of what is given of their softmax, float32 [K, N, C], which
        are logits to whoever asks: whatever is computed of logits by a softmax comes out as told.
        A probability of 0 is told as the smallest float32.
    """
    if gives.kind == "logits":
        return logits_KNC
    logits_RC = logits_KNC.reshape(-1, logits_KNC.shape[-1]).astype(np.float64)
    if gives.top_k is None and gives.decimals is None:
        logs_RC = log_softmax(logits_RC)
    else:
        told_RC = softmax(logits_RC)
        if gives.top_k is not None and gives.top_k < told_RC.shape[1]:
            told_RC = _top(told_RC, gives.top_k)
        if gives.decimals is not None:
            told_RC = np.round(told_RC, gives.decimals)
        logs_RC = np.log(np.maximum(told_RC, _SMALLEST))
    result: FloatArray = logs_RC.astype(np.float32).reshape(logits_KNC.shape)
    return result


def _top(told_RC: Array, top_k: int) -> Array:
    """The largest as they are, what is left shared by the others: nobody learns their order. Of
    equals the first in the order of classes is told."""
    order = np.argsort(-told_RC, axis=1, kind="stable")
    kept = np.zeros(told_RC.shape, dtype=bool)
    np.put_along_axis(kept, order[:, :top_k], True, axis=1)
    rest_R1 = np.maximum(1.0 - np.where(kept, told_RC, 0.0).sum(axis=1, keepdims=True), 0.0)
    shared: Array = np.where(kept, told_RC, rest_R1 / (told_RC.shape[1] - top_k))
    return shared


def check_task(task: ClassificationTask, gives: GivenAwayConfig) -> None:
    """Refuse a task beyond the owner's labels.

    Raises:
        NotGivenError: a class name, or a whole prompt, is not among them.
    """
    if gives.labels is None:
        return
    if task.prompts:
        raise NotGivenError("prompts: must be none, because this service answers fixed labels only")
    others = [name for name in task.class_names if name not in gives.labels]
    if others:
        raise NotGivenError(
            f"class_names: must be among the {len(gives.labels)} labels of this service "
            f"(/v1/describe, notes), but got {others[0]!r:.80}"
        )


def check_contexts_given(
    contexts_KLE: FloatArray, task: TaskHandle, gives: GivenAwayConfig
) -> None:
    """Refuse soft prompts where only the template's own words are answered.

    Raises:
        NotGivenError: a context is another one.
    """
    if gives.soft_prompts:
        return
    own = task.initial_context
    if contexts_KLE.shape[-2:] != own.shape or not (contexts_KLE == own).all():
        raise NotGivenError(
            "contexts: must be the task's initial_context, because this service takes no soft "
            "prompts"
        )


def declared(description: OracleDescription, gives: GivenAwayConfig) -> dict[str, object]:
    """The declaration that clients read, but for its arrays."""
    notes = list(description.notes)
    if gives.kind == "probabilities":
        rounded = "" if gives.decimals is None else f" of {gives.decimals} decimals"
        top = "" if gives.top_k is None else f", the first {gives.top_k} of an image"
        notes.append(f"The service answers with logarithms of probabilities{rounded}{top}.")
    if not gives.soft_prompts:
        notes.append("The service takes no soft prompts: text searches and heads only.")
    if gives.labels is not None:
        notes.append(f"The service answers about these labels only: {', '.join(gives.labels)}.")
    answers = ["logits"] if gives.kind == "probabilities" else list(description.answers)
    return {
        "oracle_id": _id_of_what_is_told(description.oracle_id, gives),
        "weights_id": description.weights_id,
        "computed_by": description.computed_by,
        "embed_dim": description.embed_dim,
        "context_length": description.context_length,
        "image_size": description.image_size,
        "image_mean": list(description.image_mean),
        "image_std": list(description.image_std),
        "resize_mode": description.resize_mode,
        "interpolation": description.interpolation,
        "fill_color": description.fill_color,
        "logit_scale": description.logit_scale,
        "logit_bias": description.logit_bias,
        "scale_is_known": description.scale_is_known,
        "answers": answers,
        "scores": description.scores and gives.scores,
        "takes_files": True,
        "notes": notes,
    }


def _id_of_what_is_told(oracle_id: str, gives: GivenAwayConfig) -> str:
    """Answers that were kept of exact logits are not those of rounded ones."""
    if gives.kind == "logits":
        return oracle_id
    return f"{oracle_id}-{gives.kind}-{gives.decimals or 'all'}-{gives.top_k or 'all'}"
