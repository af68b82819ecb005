"""Where a parameter is sampled in vain, and what its condition must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from craft_ray.config.distributions import Scalar
from craft_ray.config.documents import flatten
from craft_ray.config.effects import missing_for
from craft_ray.config.search_tree import MAX_CHOOSER_VALUES, SearchTree, Values


class Effects:
    """Takes in combinations of values, one after another."""

    def __init__(self, tree: SearchTree) -> None:
        self._tree = tree
        self._effective: set[str] = set()
        self._missing: dict[str, dict[str, tuple[Scalar, ...]]] = {}
        self._example: dict[str, Values] = {}
        self._sampled: set[str] = set()

    def note(self, values: Values, active: Sequence[str], document: Mapping[str, Any]) -> bool:
        """Take in a combination; whether every parameter has an effect in it.

        Args:
            values: of the combination; of a whole branch, those that its points have in common.
            active: the parameters that apply.
            document: the settings with these values.
        """
        settings = flatten({**document})
        undecided = set(active) - values.keys()
        is_fine = True
        for path in active:
            self._sampled.add(path)
            needs = missing_for(path, settings)
            decided = {
                name: need
                for name, need in needs.items()
                # A range of floats that begins at 0 is 0 with no chance.
                if name not in undecided and not (need == () and self._is_range(name))
            }
            if decided:
                self._missing.setdefault(path, {}).update(decided)
                self._example.setdefault(path, dict(values))
                is_fine = False
            elif not needs:
                self._effective.add(path)
        return is_fine

    def _is_range(self, path: str) -> bool:
        return path in self._tree.parameters and self._tree.values_of(path) is None

    def problems(self) -> Iterator[str]:
        """One a parameter."""
        for path in self._tree.parameters:
            where = f"parameters.{path}"
            if path not in self._sampled:
                yield f"{where}.when: must be able to hold, but no combination of values does it"
            elif path in self._missing:
                when = ", ".join(self._word(*need) for need in self._missing[path].items())
                if path not in self._effective:
                    yield (
                        f"{where}: must have an effect, but has none: it needs {{{when}}}, "
                        "which never holds"
                    )
                    continue
                with_ = ", ".join(f"{p}={v}" for p, v in self._example[path].items() if p != path)
                yield (
                    f"{where}: must have an effect wherever it is sampled, but has none with "
                    f"{with_}: add `when: {{{when}}}`"
                )

    def _word(self, path: str, allowed: tuple[Scalar, ...]) -> str:
        values: tuple[Scalar, ...] = allowed
        if path in self._tree.parameters:
            every = self._tree.values_of(path)
            if every is not None and len(every) <= MAX_CHOOSER_VALUES:
                values = tuple(v for v in every if (v in allowed if allowed else v != 0)) or allowed
        if not values:
            return f"{path}: not 0"
        listed = ", ".join(f"{value}" for value in values)
        return f"{path}: {listed}" if len(values) == 1 else f"{path}: [{listed}]"
