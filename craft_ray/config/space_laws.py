"""What is wrong with a search space: with its parts, and with what may be sampled from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from craft_ray.config.combinations import representative_points
from craft_ray.config.distributions import Choice, IntUniform, Scalar
from craft_ray.config.documents import describe_problems, flatten
from craft_ray.config.effects import missing_for
from craft_ray.config.search_tree import MAX_CHOOSER_VALUES, SearchTree, Values, in_order
from craft_ray.config.variants import KINDS, VARIANT, kinds_with

SEARCHABLE_SECTIONS = ("fidelity", "head", "loss", "method", "optimizer", "prompt")
VARIANT_SECTIONS = (*SEARCHABLE_SECTIONS, "evaluate_every_generations", "patience", "white_box")

SHARED = {
    "fidelity.preset": "search its switches instead",
    "fidelity.fitness_images": "all trials share one set of images that candidates are scored on",
    "prompt.start": "all trials start from the same prompt",
}
"""Settings of searchable sections that are the same for all trials, and why."""

MAX_PROBLEMS = 20


def problems_of(tree: SearchTree, first_trials: Iterable[Values]) -> list[str]:
    """One line a problem: the field, the law, the value. What is wrong with the parts hides what
    is wrong with the whole."""
    problems = [*_problems_of_variants(tree)] or [*_problems_of_parameters(tree)]
    if not problems:
        problems = [*_problems_of_points(tree), *_problems_of_first_trials(tree, first_trials)]
    return problems[:MAX_PROBLEMS]


def problem_of(tree: SearchTree, values: Values) -> str | None:
    """Why a trial cannot have these values; None: it can."""
    for path, value in values.items():
        if path in tree.parameters and not tree.parameters[path].contains(value):
            return f"{path}: must lie in the parameter's range, but got {value!r}"
    missing, unknown = tree.misfit(values)
    if missing or unknown:
        return (
            "must give exactly the searched parameters that apply, but misses "
            f"{sorted(missing)} and adds {sorted(unknown)}"
        )
    return next(iter(_broken_laws(tree, values)), None)


def _problems_of_variants(tree: SearchTree) -> Iterator[str]:
    if len(tree.variants) == 1:
        yield "variants: must be two or more, but got one: put its settings into the base"
    base = flatten({**tree.base})
    for name, changes in tree.variants.items():
        where = f"variants.{name}"
        if strangers := sorted(changes.keys() - set(VARIANT_SECTIONS)):
            yield (
                f"{where}.{strangers[0]}: must belong to one of {', '.join(VARIANT_SECTIONS)}, "
                "because all trials share one pool, its image sets and their budget"
            )
            continue
        try:
            settings = flatten(tree.resolve({VARIANT: name}).model_dump(mode="json"))
        except ValidationError as error:
            yield from (f"{where}: {problem}" for problem in describe_problems(error))
            continue
        for path, why in SHARED.items():
            if settings[path] != base[path] and path != "fidelity.preset":
                yield f"{where}: {path} must be the base's, but got {settings[path]!r}: {why}"


def _problems_of_parameters(tree: SearchTree) -> Iterator[str]:
    for path in tree.parameters:
        if path == VARIANT and tree.variants:
            continue
        where = f"parameters.{path}"
        section, _, name = path.partition(".")
        if section not in SEARCHABLE_SECTIONS:
            yield (
                f"{where}: must belong to one of {', '.join(SEARCHABLE_SECTIONS)}, "
                "because all trials share one pool and its image sets"
            )
        elif path in SHARED:
            yield f"{where}: cannot be searched: {SHARED[path]}"
        elif not tree.knows(path) and not (section in KINDS and kinds_with(section, name)):
            yield f"{where}: is not a setting of a run"
        yield from _problems_of_condition(tree, path)
    if circular := in_order(tree.parameters)[1]:
        yield (
            f"parameters.{circular[0]}.when: must not depend on itself, but {', '.join(circular)} "
            "name each other"
        )


def _problems_of_condition(tree: SearchTree, path: str) -> Iterator[str]:
    for name, allowed in tree.parameters[path].when.items():
        where = f"parameters.{path}.when.{name}"
        if name not in tree.parameters:
            if name == VARIANT:
                yield f"{where}: needs `variants`, but the space has none"
            elif not tree.knows(name):
                yield (
                    f"{where}: must be {VARIANT}, a searched parameter or a setting of the base, "
                    "but is none of them"
                )
            continue
        distribution = tree.parameters[name]
        if not isinstance(distribution, Choice | IntUniform):
            yield f"{where}: must be a choice or an integer, but is a range of floats"
            continue
        if len(distribution.values) > MAX_CHOOSER_VALUES:
            yield (
                f"{where}: must have at most {MAX_CHOOSER_VALUES} values, but has "
                f"{len(distribution.values)}"
            )
            continue
        for value in allowed:
            if not distribution.contains(value):
                yield f"{where}: must be among the values of {name}, but got {value!r}"


def _problems_of_first_trials(tree: SearchTree, first_trials: Iterable[Values]) -> Iterator[str]:
    for index, point in enumerate(first_trials):
        problem = problem_of(tree, point)
        if problem is not None:
            dot = "." if problem.split(":")[0] in tree.parameters else ": "
            yield f"first_trials.{index}{dot}{problem}"


def _problems_of_points(tree: SearchTree) -> Iterator[str]:
    """Every branch of the conditions, and in each the combinations that stand for all: each must
    be a run, and each parameter have an effect in it."""
    effects = _Effects(tree)
    blamed: list[dict[str, Scalar]] = []
    laws: dict[tuple[str, ...], str] = {}
    for branch in tree.branches():
        active = [path for path in tree.order if path in branch or tree.applies(path, branch)]
        if not effects.note(branch, active, tree.settings(branch)):
            continue
        free = {path: tree.parameters[path].corners() for path in active if path not in branch}
        for rest in representative_points(free):
            point = {**branch, **rest}
            if any(part.items() <= point.items() for part in blamed):
                continue
            for law in _broken_laws(tree, point):
                part = _smallest(tree, point, law)
                blamed.append(part)
                laws.setdefault(tuple(part), f"{_place(part)}: {law}")
            effects.note(point, active, tree.settings(point))
    yield from laws.values()
    yield from effects.problems()


def _broken_laws(tree: SearchTree, values: Values) -> list[str]:
    try:
        tree.resolve(values)
    except ValidationError as error:
        return describe_problems(error)
    return []


def _smallest(tree: SearchTree, point: Values, law: str) -> dict[str, Scalar]:
    """The values that break the law by themselves, beside the base's."""
    part = dict(point)
    for path in point:
        fewer = {other: value for other, value in part.items() if other != path}
        if law in _broken_laws(tree, fewer):
            part = fewer
    return part


def _place(part: Values) -> str:
    place = f"parameters.{' and '.join(part)}"
    if len(part) < 2:
        return place
    return f"{place} ({', '.join(f'{path}={value}' for path, value in part.items())})"


class _Effects:
    """Where a parameter is sampled in vain, and what its condition must be."""

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
            if every is not None:
                values = tuple(v for v in every if (v in allowed if allowed else v != 0)) or allowed
        if not values:
            return f"{path}: not 0"
        listed = ", ".join(f"{value}" for value in values)
        return f"{path}: {listed}" if len(values) == 1 else f"{path}: [{listed}]"
