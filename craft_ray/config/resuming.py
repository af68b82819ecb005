"""Which settings a resumed run may have otherwise than when it was started.

What would change an answer or a result must stay; where it runs, what is watched and what it costs
may change, and a search may be given more trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from pydantic import ValidationError

from craft_ray.config.base import Settings
from craft_ray.config.problems import describe_problems

MAY_CHANGE = (
    "name",
    "output_dir",
    "ray",
    "mlflow",
    "answer_cache",
    "price_per_thousand_predictions",
    "max_cost",
    "time_limit_s",
    "oracle.feature_cache_mb",
    "oracle.api_key_env",
    "oracle.api_key_file",
    "oracle.api_key_header",
    "oracle.limits.requests_per_minute",
    "oracle.limits.units_per_minute",
    "oracle.limits.concurrency",
    "oracle.prices.request",
    "oracle.prices.image",
    "oracle.prices.text",
    "oracle.prices.pair",
    "oracle.prices.token",
    "oracle.tokens_per_image",
    "oracle.timeout_s",
    "oracle.longest_wait_s",
    "oracle.max_attempts",
    "oracle.answers_mb",
    "pool.replicas",
    "pool.min_replicas",
    "pool.max_replicas",
    "pool.give_back_after_s",
    "pool.cpus_per_replica",
    "pool.max_chunks_in_flight",
    "pool.max_attempts",
    "pool.chunk_timeout_s",
    "pool.start_timeout_s",
    "trials",
    "max_total_queries",
    "max_concurrent_trials",
    "max_concurrent_cells",
)
"""Settings or whole sections. Not the currency of prices, which the bill so far is in. Not
`pool.candidates_per_chunk` and `pool.threads_per_replica`, which show in the last bits of an
answer, and not `pool.gpus_per_replica`."""

NOW_AUTO = {"oracle.precision": "fp32", "oracle.max_tokens_per_forward": 8192}
"""Defaults of earlier versions, which `auto` means on a CPU. Where it means another precision the
model has another id, by which a run refuses it."""

FITTED_KINDS = ("linear", "probes", "features")
"""Of heads."""

MORE = ("trials", "max_total_queries")
MORE_OF_BASE = ("max_cost", "time_limit_s")
"""With more of these than it had, a finished search goes on."""


class Change(NamedTuple):
    """A setting that is another one than before."""

    key: str
    was: Any
    now: Any


def changes_that_matter(
    model: type[Settings], stored: dict[str, Any], settings: dict[str, Any]
) -> list[Change]:
    """What would change a result.

    Args:
        model: of the settings.
        stored: as they were when the run was started, perhaps by an older version: what that did
            not know has its default.
        settings: as they are now.

    Raises:
        ValueError: this version does not know what is stored; says what.
    """
    try:
        before = model.model_validate(_as_it_was_meant(stored)).model_dump(mode="json")
    except ValidationError as error:
        raise ValueError("; ".join(describe_problems(error))) from error
    changes = _differences(before, settings)
    return [change for change in changes if not _may_change(change.key) and not _is_same(change)]


def _as_it_was_meant(stored: dict[str, Any]) -> dict[str, Any]:
    """With what versions before `data.source.exif_orientation` did, which is not its default: they
    showed images as they are stored; and those before `head.fit`."""
    stored = deepcopy(stored)
    data = stored.get("base", stored).get("data")
    if isinstance(data, dict) and "unlabelled" not in data:  # all settings of a run stand there
        _say_how_heads_were_fitted(stored)
    for settings in (stored, stored.get("base")):
        data = settings.get("data") if isinstance(settings, dict) else None
        source = data.get("source") if isinstance(data, dict) else None
        if isinstance(source, dict) and source.get("kind") in ("folder", "csv", "parquet"):
            source.setdefault("exif_orientation", False)
            source.setdefault("background", "dropped")
    return stored


def _say_how_heads_were_fitted(stored: dict[str, Any]) -> None:
    """There was one way, which is not the default any more; also in the variants of a search."""
    for key, value in stored.items():
        if not isinstance(value, dict):
            continue
        if key == "head" and value.get("kind") in FITTED_KINDS:
            value.setdefault("fit", "cross_validated")
        _say_how_heads_were_fitted(value)


def asks_for_more(stored: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a finished search has something left to do under these settings."""
    if any(_more(stored.get(key), settings[key]) for key in MORE if key in settings):
        return True
    before, now = stored.get("base"), settings.get("base")
    if not isinstance(before, dict) or not isinstance(now, dict):  # not a search
        return False
    return any(_more(before.get(key), now.get(key)) for key in MORE_OF_BASE)


def _more(was: float | None, now: float | None) -> bool:
    return was is not None and (now is None or now > was)


def _is_same(change: Change) -> bool:
    path = _path_in_run(change.key)
    return change.now == "auto" and path in NOW_AUTO and change.was == NOW_AUTO[path]


def _path_in_run(key: str) -> str:
    return key.removeprefix("base.").removeprefix("run.")


def _may_change(key: str) -> bool:
    path = _path_in_run(key)
    return any(path == free or path.startswith(f"{free}.") for free in MAY_CHANGE)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[Change]:
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now, f"{prefix}{key}.")
        elif was != now:
            yield Change(f"{prefix}{key}", was, now)
