"""Settings that replace others: a variant's over its base's, and one kind of section by another."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

from craft_ray.config.fidelity import PRESETS
from craft_ray.config.heads import HeadConfig
from craft_ray.config.optimizers import OptimizerConfig
from craft_ray.config.suggestions import kinds_in

VARIANT = "variant"
"""The parameter that chooses among `variants`."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9 ._+-]{0,58}[A-Za-z0-9._+-])?", name):
        raise ValueError(
            "must be the name of a variant, 1 to 60 letters, digits, spaces and . _ + -, the first "
            f"a letter or a digit and the last no space, but got {name[:80]!a}"
        )
    return name


VariantName = Annotated[str, AfterValidator(_check_name)]
"""Shown in tables, stored as a value of a parameter, typed on a command line."""


KINDS: dict[str, dict[str, type[BaseModel]]] = {
    "head": kinds_in(HeadConfig),
    "optimizer": kinds_in(OptimizerConfig),
}
"""Sections whose settings depend on their `kind` -> the models of all kinds."""


def kinds_with(section: str, name: str) -> tuple[str, ...]:
    """The kinds of a section that have a setting of this name."""
    return tuple(kind for kind, model in KINDS[section].items() if name in model.model_fields)


def change_kind(document: dict[str, Any], section: str, kind: Any) -> None:
    """Make a section one of another kind.

    What was changed from the defaults of the old kind is kept where the new kind has such a
    setting too; everything else has the new kind's defaults. An unknown kind is left to the laws
    of the run.
    """
    old = document[section]
    if not isinstance(old, dict) or old.get("kind") == kind:
        return
    models = KINDS[section]
    if not all(isinstance(each, str) and each in models for each in (kind, old.get("kind"))):
        document[section] = {"kind": kind}
        return
    defaults = models[old["kind"]]().model_dump(mode="json")
    changed = {n: value for n, value in old.items() if n not in defaults or value != defaults[n]}
    new = models[kind]().model_dump(mode="json")
    kept = {name: value for name, value in changed.items() if name in new}
    document[section] = {**new, **kept, "kind": kind}


def _switches(value: Any) -> Any:
    """A preset with the switches that it stands for: those of the base are not kept beside it."""
    if isinstance(value, str):
        value = {"preset": value}
    if not isinstance(value, dict) or "preset" not in value:
        return value
    return {**PRESETS.get(str(value["preset"]), {}), **value}


def apply_variant(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of a base after those of a variant; neither is changed."""
    result = {**document}
    for section, value in changes.items():
        old = document.get(section)
        if section == "fidelity":
            value = _switches(value)
        if not isinstance(value, dict) or not isinstance(old, dict):
            result[section] = value
            continue
        if section in KINDS and "kind" in value:
            change_kind(result, section, value["kind"])
        result[section] = apply_variant(result[section], value)
    return result
