"""What depends on the number of training images a class: a budget, and the number of batches."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def resolve_max_queries(document: Any, default_shots: int) -> Any:
    """Replace `max_queries: {shots: queries}` by the queries of `data.shots`.

    Args:
        document: settings of a run before they are validated; is not changed.
        default_shots: where the document does not say.

    Returns:
        The document with one number. What is no mapping, and shots that are no number, are left to
        the fields' own laws.

    Raises:
        ValueError: the mapping has no entry for these shots.
    """
    if not isinstance(document, dict) or not isinstance(document.get("max_queries"), dict):
        return document
    shots = shots_of(document, default_shots)
    # Keys of YAML are numbers, those of JSON and of an override `max_queries.4=...` are words.
    queries = {_whole_number(key): value for key, value in document["max_queries"].items()}
    if shots is None:
        return {key: value for key, value in document.items() if key != "max_queries"}
    if shots not in queries:
        known = ", ".join(str(key) for key in document["max_queries"])
        raise ValueError(
            f"max_queries must be a number or have an entry for data.shots={shots}, but has entries"
            f" for {known or 'nothing'} only"
        )
    return {**document, "max_queries": queries[shots]}


def clip_batches(document: Any, default_shots: int) -> Any:
    """Take more batches than shots as one for each: all have images of every class. Of all images a
    class may have one, so that there is one batch.

    Args:
        document: settings of a run before they are validated; is not changed.
        default_shots: where the document does not say.
    """
    shots = 1 if takes_all_images(document) else shots_of(document, default_shots)
    optimizer = document.get("optimizer") if isinstance(document, dict) else None
    section = optimizer.model_dump() if isinstance(optimizer, BaseModel) else optimizer
    if not isinstance(section, dict):
        return document
    batches = _whole_number(section.get("batches"))
    if shots is None or shots < 1 or batches is None or batches <= shots:
        return document
    return {**document, "optimizer": {**section, "batches": shots}}


def shots_of(document: Any, default_shots: int) -> int | None:
    """`data.shots` of settings before they are validated; None: it is no number."""
    return _whole_number(_shots_in(document, default_shots))


def takes_all_images(document: Any) -> bool:
    """Whether `data.shots` of settings before they are validated is `all`."""
    return bool(_shots_in(document, None) == "all")


def _shots_in(document: Any, default_shots: int | None) -> Any:
    data = document.get("data", {}) if isinstance(document, dict) else getattr(document, "data", {})
    if isinstance(data, dict):
        return data.get("shots", default_shots)
    return getattr(data, "shots", None)


def _whole_number(value: Any) -> int | None:
    try:
        return int(value) if float(value) == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None
