"""Which parameters of a search apply under which values of the others, and what a trial is then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from craft_ray.config.distributions import Choice, Distribution, IntUniform, Scalar
from craft_ray.config.documents import flatten, set_by_path
from craft_ray.config.run import RunConfig
from craft_ray.config.variants import KINDS, VARIANT, apply_variant, change_kind

KIND_PATHS = tuple(f"{section}.kind" for section in KINDS)
MAX_BRANCHES = 256
"""Combinations of the values that decide which parameters apply."""
MAX_CHOOSER_VALUES = 64
"""Of a range of integers that does."""

Values = Mapping[str, Scalar]
"""Parameter -> value, of the parameters that apply."""


def dependencies(path: str, parameters: Mapping[str, Distribution]) -> set[str]:
    """The parameters that a parameter's condition names."""
    return {name for name in parameters[path].when if name in parameters}


def in_order(parameters: Mapping[str, Distribution]) -> tuple[list[str], list[str]]:
    """The parameters, each after those that its condition names, otherwise as in the file; and
    those whose conditions are circular, or depend on such."""
    ordered: list[str] = []
    waiting = list(parameters)
    while waiting:
        ready = next(
            (p for p in waiting if not dependencies(p, parameters).intersection(waiting)), None
        )
        if ready is None:
            break
        ordered.append(ready)
        waiting.remove(ready)
    return ordered, waiting


@dataclass(frozen=True)
class SearchTree:
    """The parameters with their conditions, over the settings of a base and its variants.

    Args:
        base: settings of the run, complete.
        variants: name -> the settings in which it differs from the base.
        parameters: with `variant` among them, if there are variants.
    """

    base: Mapping[str, Any]
    variants: Mapping[str, dict[str, Any]]
    parameters: Mapping[str, Distribution]

    @cached_property
    def order(self) -> list[str]:
        """The parameters as they are sampled, each after those that its condition names."""
        return in_order(self.parameters)[0]

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter does not always apply."""
        return any(distribution.when for distribution in self.parameters.values())

    @cached_property
    def _settings(self) -> dict[Scalar | None, dict[str, Any]]:
        """`section.key` -> value, of the base and of each variant."""
        return {name: flatten(self.document(name)) for name in (None, *self.variants)}

    def knows(self, path: str) -> bool:
        """Whether the base or a variant has such a setting."""
        return any(path in settings for settings in self._settings.values())

    def applies(self, path: str, values: Values) -> bool:
        """Whether a parameter is sampled beside these values of the ones before it."""
        settings = self._settings[values.get(VARIANT)]
        for name, allowed in self.parameters[path].when.items():
            known: Mapping[str, Any] = values if name in self.parameters else settings
            if name not in known or known[name] not in allowed:
                return False
        return True

    def misfit(self, values: Values) -> tuple[list[str], list[str]]:
        """The parameters that apply and have no value, and the values of what does not apply."""
        active: dict[str, Scalar] = {}
        missing = []
        for path in self.order:
            if not self.applies(path, active):
                continue
            if path in values:
                active[path] = values[path]
            else:
                missing.append(path)
        return missing, [path for path in values if path not in active]

    def document(self, variant: Scalar | None) -> dict[str, Any]:
        """The settings of the base with those of a variant.

        Raises:
            ValueError: there is no such variant.
        """
        if variant is None:
            return {**self.base}
        if variant not in self.variants:
            known = ", ".join(self.variants) or "none"
            raise ValueError(f"{VARIANT}: must be one of {known}, but got {variant!r}")
        return apply_variant({**self.base}, self.variants[str(variant)])

    def settings(self, values: Values) -> dict[str, Any]:
        """The settings of a run with these values, which nobody has checked yet."""
        document = self.document(values.get(VARIANT))
        # A section has the settings of its kind, so the kind comes first.
        for path in KIND_PATHS:
            if path in values:
                change_kind(document, path.split(".")[0], values[path])
        for path, value in values.items():
            if path != VARIANT and path not in KIND_PATHS:
                section = path.split(".")[0]
                if isinstance(old := document.get(section), dict):
                    document[section] = {**old}  # it may be the base's
                set_by_path(document, path, value)
        return document

    def resolve(self, values: Values) -> RunConfig:
        """The settings of a run with these values in place of the base's.

        Raises:
            ValidationError: they break a law of the run settings.
        """
        return RunConfig.model_validate(self.settings(values))

    @property
    def choosers(self) -> list[str]:
        """The parameters that decide which others apply, or which method a trial is."""
        named = {name for each in self.parameters.values() for name in each.when}
        named |= {VARIANT, "method", *KIND_PATHS}
        return [path for path in self.order if path in named]

    def branches(self) -> list[dict[str, Scalar]]:
        """All combinations of the values of the choosers that apply.

        Raises:
            ValueError: there are more than `MAX_BRANCHES`.
        """
        choosers = self.choosers
        found: list[dict[str, Scalar]] = [{}]
        for path in self.order:
            if path not in choosers:
                continue
            grown = []
            for values in found:
                if self.applies(path, values):
                    grown += [{**values, path: value} for value in self.values_of(path) or ()]
                else:
                    grown.append(values)
            if len(grown) > MAX_BRANCHES:
                raise ValueError(
                    f"parameters: choices that decide which parameters apply must have at most "
                    f"{MAX_BRANCHES} combinations, but {path} makes it {len(grown)}"
                )
            found = grown
        return found

    def values_of(self, path: str) -> tuple[Scalar, ...] | None:
        """All values of a parameter; None: of a range of floats."""
        distribution = self.parameters[path]
        if isinstance(distribution, Choice | IntUniform):
            return tuple(distribution.values)
        return None
