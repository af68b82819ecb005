"""What is wrong with a search space: with its parts, and with what may be sampled from it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from craft_ray.config.distributions import Choice, IntUniform, Scalar, is_same
from craft_ray.config.documents import flatten
from craft_ray.config.effects import missing_for
from craft_ray.config.idle_parameters import Effects
from craft_ray.config.problems import describe_problems
from craft_ray.config.run import RunConfig
from craft_ray.config.search_tree import (
    KIND_PATHS,
    MAX_CHOOSER_VALUES,
    SearchTree,
    Values,
    in_order,
)
from craft_ray.config.suggestions import did_you_mean
from craft_ray.config.validation_laws import problem_of_comparison
from craft_ray.config.variants import VARIANT

SEARCHABLE_SECTIONS = ("fidelity", "head", "loss", "method", "optimizer", "prompt")
VARIANT_SECTIONS = (*SEARCHABLE_SECTIONS, "evaluate_every_generations", "patience", "white_box")

SHARED = {
    "fidelity.preset": "search its switches instead",
    "fidelity.fitness_images": "all trials share one set of images that candidates are scored on",
    "prompt.start": "all trials start from the same prompt",
}
"""Settings of searchable sections that are the same for all trials, and why."""

NOT_SEARCHED = {
    **SHARED,
    "head.offset": "training images choose between the template and what is asked; give it in "
    "the base or in a variant",
}
"""What no parameter may be."""

MAX_PROBLEMS = 20


def problems_of(tree: SearchTree, first_trials: Iterable[Values]) -> list[str]:
    """One line a problem: the field, the law, the value. What is wrong with the parts hides what
    is wrong with the whole."""
    problems = [*_problems_of_variants(tree)] or [*_problems_of_parameters(tree)]
    problems = problems or [*_problems_of_comparison(tree)]
    if not problems:
        problems = [
            *_problems_of_points(tree),
            *_problems_of_idle_values(tree),
            *_problems_of_equal_variants(tree),
            *_problems_of_first_trials(tree, first_trials),
        ]
    return problems[:MAX_PROBLEMS]


def problem_of(tree: SearchTree, values: Values) -> str | None:
    """Why a trial cannot have these values; None: it can."""
    for path, value in values.items():
        if path in tree.parameters and not tree.parameters[path].contains(value):
            return f"{path}: {tree.parameters[path].law}, but got {value!r}"
    missing, unknown = tree.misfit(values)
    if missing or unknown:
        return (
            "must give exactly the searched parameters that apply, but misses "
            f"{sorted(missing)} and adds {sorted(unknown)}"
        )
    return next(iter(_broken_laws(tree, values)), None)


def _problems_of_variants(tree: SearchTree) -> Iterator[str]:
    base = flatten({**tree.base})
    for name, changes in tree.variants.items():
        where = f"variants.{name}"
        if strangers := sorted(changes.keys() - set(VARIANT_SECTIONS)):
            yield (
                f"{where}.{strangers[0]}: must belong to one of {', '.join(VARIANT_SECTIONS)}, "
                "because all trials share one pool, its image sets and their budget"
                f"{did_you_mean(strangers[0], VARIANT_SECTIONS)}"
            )
            continue
        try:
            run = tree.resolve({VARIANT: name})
        except ValidationError as error:
            found = _some_run_of(tree, name)
            if found is None:
                for problem in describe_problems(error):
                    yield f"{where}: {problem} ({where}=null leaves it out)"
                continue
            run = found
        settings = flatten(run.model_dump(mode="json"))
        for path, why in SHARED.items():
            if settings[path] != base[path] and path != "fidelity.preset":
                yield f"{where}: {path} must be the base's, but got {settings[path]!r}: {why}"


def _problems_of_comparison(tree: SearchTree) -> Iterator[str]:
    """Trials of which nothing would say how good they are."""
    found: dict[str, None] = {}
    for branch in tree.branches():
        run = tree.some_run(branch)
        problem = None if run is None else _comparison(run)
        if problem is not None:
            where = f"variants.{branch[VARIANT]}: " if VARIANT in branch else ""
            found[where + problem] = None
    yield from found


def _comparison(run: RunConfig) -> str | None:
    return problem_of_comparison(run.data, run.method, run.probing_head, run.prompt.start)


def _some_run_of(tree: SearchTree, variant: str) -> RunConfig | None:
    """A variant with values of the parameters that apply to it: it may be no run without them."""
    try:
        branches = tree.branches()
    except ValueError:
        return None
    ours = [each for each in branches if each.get(VARIANT, variant) == variant]
    return next((run for each in ours if (run := tree.some_run(each))), None)


def _problems_of_parameters(tree: SearchTree) -> Iterator[str]:
    for path in tree.parameters:
        if path == VARIANT and tree.variants:
            continue
        where = f"parameters.{path}"
        section = path.split(".")[0]
        if section not in SEARCHABLE_SECTIONS:
            yield (
                f"{where}: must belong to one of {', '.join(SEARCHABLE_SECTIONS)}, "
                "because all trials share one pool and its image sets"
            )
        elif path in NOT_SEARCHED:
            yield f"{where}: cannot be searched: {NOT_SEARCHED[path]}"
        elif not tree.knows(path):
            yield f"{where}: is not a setting of a run{did_you_mean(path, tree.known_paths)}"
        elif path in ("method", *KIND_PATHS) and not isinstance(tree.parameters[path], Choice):
            yield (
                f"{where}.kind: must be choice, as {path} is a word, but got "
                f"{tree.parameters[path].kind}"
            )
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
            if name == VARIANT and tree.variants:
                continue  # the only one, which all trials are
            if name == VARIANT:
                yield f"{where}: needs `variants`, but the space has none"
            elif not tree.knows(name):
                known = [*tree.parameters, *tree.known_paths]
                yield (
                    f"{where}: must be {VARIANT}, a searched parameter or a setting of the base, "
                    f"but is none of them{did_you_mean(name, known)}"
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
    points = list(first_trials)
    for index, point in enumerate(points):
        problem = problem_of(tree, point)
        if problem is not None:
            dot = "." if problem.split(":")[0] in tree.parameters else ": "
            yield f"first_trials.{index}{dot}{problem}"
        elif point in points[:index]:
            yield (
                f"first_trials.{index}: must differ from first_trials.{points.index(point)}, or "
                "the same trial is paid twice"
            )


def _problems_of_idle_values(tree: SearchTree) -> Iterator[str]:
    """A variant's value for what all of its trials are given another value of."""
    branches = tree.branches()
    for name, changes in tree.variants.items():
        ours = [branch for branch in branches if branch.get(VARIANT, name) == name]
        for path in flatten({**changes}):
            searched = path in tree.parameters
            if searched and all(path in each or tree.applies(path, each) for each in ours):
                yield (
                    f"variants.{name}.{path}: is searched over here, and no trial would have this "
                    f"value: parameters.{path}=null takes it out of the search, and "
                    f"parameters.{path}.when.{VARIANT} says of which variants it is searched"
                )


def _problems_of_equal_variants(tree: SearchTree) -> Iterator[str]:
    """Two names for the same trials, of which each would be paid twice."""
    trials: dict[str, list[dict[str, Any]]] = {}
    for branch in tree.branches():
        settings = flatten(tree.settings(branch))
        searched = {path: "searched" for path in tree.free_corners(branch)}
        effective = {p: v for p, v in settings.items() if not missing_for(p, settings)}
        name = str(branch.get(VARIANT))
        trials.setdefault(name, []).append({**branch, **effective, **searched, VARIANT: None})
    for one, other in itertools.combinations(trials, 2):
        if trials[one] == trials[other]:
            yield (
                f"variants.{other}: must differ from variants.{one} in what it does, or its trials "
                "are paid twice"
            )


def _problems_of_points(tree: SearchTree) -> Iterator[str]:
    """Every branch of the conditions, and in each the combinations that stand for all: each must
    be a run, and each parameter have an effect in it."""
    effects = Effects(tree)
    blamed: list[dict[str, Scalar]] = []
    laws: dict[tuple[str, ...], str] = {}
    for branch in tree.branches():
        active = [path for path in tree.order if path in branch or tree.applies(path, branch)]
        if not effects.note(branch, active, tree.settings(branch)):
            continue
        for point in tree.representative_points(branch):
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
        run = tree.resolve(values)
    except ValidationError as error:
        return describe_problems(error)
    settings = flatten(run.model_dump(mode="json"))
    laws = [
        _law_of_type(value, settings[path])
        for path, value in values.items()
        if path != VARIANT and not _is_kept(value, settings[path])
    ]
    comparison = _comparison(run)
    return laws if comparison is None else [*laws, comparison]


def _law_of_type(given: Scalar, read: Any) -> str:
    if type(given) is type(read):
        return f"must have values that a run can have, but got {given!r}, which is taken as {read}"
    return (
        f"must have values of the setting's own type, but got {given!r}: write {json.dumps(read)}, "
        "or of a range of whole numbers int_uniform"
    )


def _is_kept(given: Scalar, read: Any) -> bool:
    """Whether a run has the value that was sampled: plans and conditions count on it."""
    if isinstance(given, int) and isinstance(read, float):
        return is_same(given, read)
    return type(given) is type(read) and given == read


def _smallest(tree: SearchTree, point: Values, law: str) -> dict[str, Scalar]:
    """The values that break the law by themselves, beside the base's."""
    part = dict(point)
    for path in point:
        fewer = {other: value for other, value in part.items() if other != path}
        if law in _broken_laws(tree, fewer):
            part = fewer
    return part


def _place(part: Values) -> str:
    if [*part] == [VARIANT]:
        return f"variants.{part[VARIANT]}"
    place = f"parameters.{' and '.join(part)}"
    if len(part) < 2:
        return place
    return f"{place} ({', '.join(f'{path}={value}' for path, value in part.items())})"
