"""Which settings there are, read from the models: for the nearest known one in a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from craft_ray.config.base import MODELS

BELOW = ("base", "run")
"""Where a search and a grid keep the settings of their runs."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown word; empty if nothing known is like it."""
    near = difflib.get_close_matches(str(word)[:100], [*known], n=1)
    return f": did you mean {near[0]}?" if near else ""


def kinds_in(annotation: Any) -> dict[str, type[BaseModel]]:
    """The models of a setting that has one of several kinds of section; none if it has not."""
    found: dict[str, type[BaseModel]] = {}
    for model in _models_in(annotation):
        field = model.model_fields.get("kind")
        found |= dict.fromkeys(get_args(field.annotation) if field else (), model)
    return found


def kinds_at(model: type[BaseModel], path: Sequence[str]) -> dict[str, type[BaseModel]]:
    """The kinds of the section at a path, with the model of each."""
    found: dict[str, type[BaseModel]] = {}
    for annotation in _annotations_at(model, path):
        found |= kinds_in(annotation)
    return found


def settings_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The names in the section at a path, of all of its kinds. In pydantic's paths the kind is a
    part of its own."""
    models = [each for found in _annotations_at(model, path) for each in _models_in(found)]
    return list(dict.fromkeys(name for each in models for name in each.model_fields))


def about_unknown(title: str, path: Sequence[int | str]) -> str:
    """What more can be said of an unknown setting.

    Args:
        title: name of the model that was read.
        path: to the setting, as pydantic says it.
    """
    model = MODELS.get(title)
    *above, name = [str(part) for part in path]
    if model is None:
        return ""
    if above and above[-1] in (kinds := kinds_at(model, above[:-1])):
        having = [kind for kind, each in kinds.items() if name in each.model_fields]
        if having:
            section = ".".join(above[above[0] in BELOW : -1])
            return (
                f", but one of {above[-2]}.kind {' or '.join(having)}, and here the kind is "
                f"{above[-1]}: say {section}.kind={having[0]} as well, if it is that"
            )
    known = settings_at(model, above)
    if not above and (inside := _sections_with(model, name)):
        return f": did you mean {' or '.join(inside)}?"
    if not above:  # the words of a search or a grid may name settings of its runs
        known += [key for field in BELOW for key in settings_at(model, [field])]
        known += MODELS["RunConfig"].model_fields if "run" in model.model_fields else []
    return did_you_mean(name, known)


def _sections_with(model: type[BaseModel], name: str) -> list[str]:
    """Settings of this name inside a section of the model or its runs: `data.shots` of `shots`."""
    prefixes = [[], *([field] for field in ("base",) if field in model.model_fields)]
    return [
        f"{section}.{name}"
        for prefix in prefixes
        for section in settings_at(model, prefix)
        if section not in ("base", "run") and name in settings_at(model, [*prefix, section])
    ]


def _annotations_at(model: type[BaseModel], path: Sequence[str]) -> list[Any]:
    found: list[Any] = [model]
    for part in path:
        found = [inner for each in found for inner in _inside(each, part)]
    return found


def _inside(annotation: Any, part: str) -> Iterator[Any]:
    """What is at a part of a path, under an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if part in annotation.model_fields:
            yield annotation.model_fields[part].annotation
    elif get_origin(annotation) is dict:
        yield get_args(annotation)[1]
    elif get_origin(annotation) is tuple:
        yield get_args(annotation)[0]
    elif part in (kinds := kinds_in(annotation)):
        yield kinds[part]
    else:
        for member in get_args(annotation):
            yield from _inside(member, part)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (dict, tuple):
        for member in get_args(annotation):
            yield from _models_in(member)
