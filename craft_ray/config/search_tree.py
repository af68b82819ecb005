"""Which parameters of a search apply under which values of the others, and what a trial is then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from craft_ray.config.combinations import representative_points
from craft_ray.config.distributions import (
    Choice,
    Distribution,
    IntUniform,
    Scalar,
    is_same,
)
from craft_ray.config.documents import flatten, set_by_path
from craft_ray.config.run import RunConfig
from craft_ray.config.variants import (
    KINDS,
    VARIANT,
    apply_variant,
    change_kind,
    kinds_with,
)

KIND_PATHS = tuple(f"{section}.kind" for section in KINDS)
MAX_BRANCHES = 256
"""Combinations of the values that decide which parameters apply."""
MAX_CHOOSER_VALUES = 64
"""Of a range of integers that does."""

Values = Mapping[str, Scalar]
"""Parameter -> value, of the parameters that apply."""


def dependencies(path: str, parameters: Mapping[str, Distribution]) -> set[str]:
    """The parameters that decide whether a parameter applies: those that its condition names, and
    where it names another setting, what that is decided by."""
    found = set()
    for name in parameters[path].when:
        if name in parameters:
            found.add(name)
        else:
            found |= {VARIANT, f"{name.split('.')[0]}.kind"} & parameters.keys() - {path}
    return found


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

    @property
    def sole_variant(self) -> str | None:
        """The variant that all trials are, where there is no other."""
        return next(iter(self.variants)) if len(self.variants) == 1 else None

    @cached_property
    def order(self) -> list[str]:
        """The parameters as they are sampled, each after those that its condition names."""
        return in_order(self.parameters)[0]

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter does not always apply."""
        return any(distribution.when for distribution in self.parameters.values())

    @cached_property
    def _settings(self) -> dict[tuple[Scalar | None, ...], dict[str, Any]]:
        """Kept for `settings_under`."""
        return {}

    def settings_under(self, values: Values) -> Mapping[str, Any]:
        """`section.key` -> value, of the settings that are not searched, where these values decide
        on the variant and the kinds of the sections."""
        deciding = {p: values[p] for p in (VARIANT, *KIND_PATHS) if p in values}
        key = tuple(deciding.get(path) for path in (VARIANT, *KIND_PATHS))
        if key not in self._settings:
            settings = flatten(self.settings(deciding))
            if self.sole_variant is not None:
                settings[VARIANT] = self.sole_variant
            self._settings[key] = settings
        return self._settings[key]

    def knows(self, path: str) -> bool:
        """Whether the base, a variant or a kind of section has such a setting."""
        section, _, name = path.partition(".")
        if section in KINDS and kinds_with(section, name):
            return True
        each: list[dict[str, Scalar]] = [{VARIANT: name} for name in self.variants]
        return any(path in self.settings_under(values) for values in ({}, *each))

    @property
    def known_paths(self) -> list[str]:
        """The settings of the base and of all kinds of its sections."""
        of_kinds = {
            f"{section}.{name}": None
            for section, kinds in KINDS.items()
            for model in kinds.values()
            for name in model.model_fields
        }
        return [*dict.fromkeys([*flatten({**self.base}), *of_kinds])]

    def applies(self, path: str, values: Values) -> bool:
        """Whether a parameter is sampled beside these values of the ones before it."""
        for name, allowed in self.parameters[path].when.items():
            known = values if name in self.parameters else self.settings_under(values)
            if name not in known or not any(is_same(known[name], value) for value in allowed):
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
            variant = self.sole_variant
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
            each = self.values_of(path) or ()
            applies = [self.applies(path, values) for values in found]
            number = sum(len(each) if does else 1 for does in applies)
            if number > MAX_BRANCHES:
                raise ValueError(
                    f"parameters: choices that decide which parameters apply must have at most "
                    f"{MAX_BRANCHES} combinations, but {path} makes it {number}"
                )
            grown: list[dict[str, Scalar]] = []
            for values, does in zip(found, applies, strict=True):
                grown += [{**values, path: value} for value in each] if does else [values]
            found = grown
        return found

    def values_of(self, path: str) -> Sequence[Scalar] | None:
        """All values of a parameter; None: of a range of floats. A range of integers may have too
        many for a list."""
        distribution = self.parameters[path]
        if isinstance(distribution, Choice | IntUniform):
            return distribution.values
        return None

    def free_corners(self, branch: Values) -> dict[str, tuple[Scalar, ...]]:
        """The parameters beside those of a branch that apply, and the values that stand for all
        of theirs."""
        active = [p for p in self.order if p not in branch and self.applies(p, branch)]
        return {path: self.parameters[path].corners() for path in active}

    def representative_points(self, branch: Values) -> Iterator[dict[str, Scalar]]:
        """Of a branch: the combinations that stand for all."""
        for rest in representative_points(self.free_corners(branch)):
            yield {**branch, **rest}

    def some_run(self, branch: Values) -> RunConfig | None:
        """The settings of some trial of a branch; None: it has none."""
        for point in self.representative_points(branch):
            try:
                return self.resolve(point)
            except ValueError:
                continue
        return None
