"""A budget that depends on the number of training images a class."""

from __future__ import annotations

from typing import Any


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
    data = document.get("data", {})
    found = (
        data.get("shots", default_shots) if isinstance(data, dict) else getattr(data, "shots", None)
    )
    shots = _whole_number(found)
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


def _whole_number(value: Any) -> int | None:
    try:
        return int(value) if float(value) == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None
