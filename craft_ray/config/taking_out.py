"""A search space without what is taken out of it: by a null, or for want of training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from craft_ray.config.budget import shots_of, takes_all_images
from craft_ray.config.data import DEFAULT_SHOTS
from craft_ray.config.distributions import Choice, Distribution
from craft_ray.config.run import RunConfig
from craft_ray.config.search_tree import SearchTree
from craft_ray.config.variants import VARIANT

MIN_SHOTS = "min_shots"
"""In a variant: with fewer training images a class it is left out."""
_PARAMETERS: TypeAdapter[dict[str, Distribution]] = TypeAdapter(dict[str, Distribution])


def take_out(document: Any) -> Any:
    """A space that is not yet validated, without variants and parameters that are null and
    variants that need more shots; without first trials, values of conditions and parameters that
    only made sense with them. What is no space is left to the laws.

    Raises:
        ValueError: a variant's `min_shots` is no number.
    """
    if not isinstance(document, Mapping):
        return document
    variants, parameters = document.get("variants", {}), document.get("parameters", {})
    points = document.get("first_trials", ())
    if not isinstance(variants, dict) or not isinstance(parameters, dict):
        return document
    base = document.get("base", {})
    # Of all images a class may have one, or none.
    shots = 0 if takes_all_images(base) else shots_of(base, DEFAULT_SHOTS)
    kept = _variants_that_stay(variants, shots)
    gone = [name for name in variants if name not in kept]
    unsearched = {path for path, distribution in parameters.items() if distribution is None}
    searched = {
        path: changed
        for path, distribution in parameters.items()
        if distribution is not None and (changed := _without_values(distribution, gone)) is not None
    }
    result = {**document, "variants": kept, "parameters": searched}
    if gone or unsearched:
        for path in _never_applying(base, kept, searched):
            del searched[path]
        unsearched |= parameters.keys() - searched.keys()
    if len(kept) == 1:
        unsearched.add(VARIANT)
    if isinstance(points, list | tuple) and all(isinstance(point, dict) for point in points):
        left: list[dict[str, Any]] = []
        for point in points:
            name = point.get(VARIANT)
            if name in gone or (len(kept) == 1 and name not in [None, *kept]):
                continue
            shorter = {path: value for path, value in point.items() if path not in unsearched}
            if shorter == point or shorter not in left:
                left.append(shorter)
        result["first_trials"] = left
    return {key: value for key, value in result.items() if key in document or value}


def _variants_that_stay(variants: dict[str, Any], shots: int | None) -> dict[str, Any]:
    kept = {}
    for name, changes in variants.items():
        if isinstance(changes, dict) and MIN_SHOTS in changes:
            least = changes[MIN_SHOTS]
            if not isinstance(least, int) or isinstance(least, bool) or least < 1:
                raise ValueError(
                    f"variants.{name}.{MIN_SHOTS}: must be a whole number >= 1, but got {least!r}"
                )
            if shots is not None and shots < least:
                continue
            changes = {key: value for key, value in changes.items() if key != MIN_SHOTS}
        if changes is not None:
            kept[name] = changes
    return kept


def _without_values(distribution: Any, gone: list[Any]) -> Any:
    """A parameter without these variants in its condition; None: it named no others."""
    if isinstance(distribution, BaseModel):
        distribution = distribution.model_dump()
    when = distribution.get("when") if isinstance(distribution, dict) else None
    if not isinstance(when, dict) or VARIANT not in when or not gone:
        return distribution
    named = when[VARIANT]
    values = list(named) if isinstance(named, list | tuple) else [named]
    left = [value for value in values if value not in gone]
    if not left and values:
        return None
    return {**distribution, "when": {**when, VARIANT: left}}


def _never_applying(base: Any, variants: Mapping[str, Any], parameters: Any) -> list[str]:
    """The parameters whose conditions nothing meets. Where the parts break laws of their own,
    none: these are said first."""
    if not all(isinstance(changes, dict) for changes in variants.values()):
        return []
    try:
        settings = RunConfig.model_validate(base).model_dump(mode="json")
        searched = _PARAMETERS.validate_python(parameters)
        if len(variants) > 1:
            searched = {VARIANT: Choice(kind="choice", values=tuple(variants)), **searched}
        tree = SearchTree(settings, variants, searched)
        branches = tree.branches()
    except ValueError:  # pydantic's as well
        return []
    return [
        path
        for path in parameters
        if not any(path in branch or tree.applies(path, branch) for branch in branches)
    ]
