"""What a search may spend at most, from its settings alone. Pure arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from craft_ray.config.distributions import LogUniform, Scalar, Uniform
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.search_tree import SearchTree
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.ledger import Spending, cost_of
from craft_ray.metering.planned_spending import (
    ALONE,
    DataSize,
    SharedSize,
    plan_driver,
    plan_run,
    plan_zero_shot,
)

SPENDING_GROWS_WITH = (
    "optimizer.batches",
    "head.contexts",
    "head.names",
)
SPENDING_FALLS_WITH = ("optimizer.population", "head.contexts_per_generation")

_SCALE = "head.context_std"

MAX_PLANS = 400
"""Combinations that are planned one by one."""


def plan_search(space: SpaceConfig, size: DataSize) -> Spending:
    """The most that all trials and the final examination can spend, of each kind.

    A scheduler that stops trials early spends less. Under a budget of the search, what is asked
    for candidates stays within it, however many trials that makes.
    """
    tree, shared = space.tree, shared_size(space)
    points = space.first_trials[: space.trials]
    first = [plan_run(tree.resolve(point), size, shared) for point in points]
    total = plan_drivers(space, size)
    for plan in first:
        total += plan
    if num_sampled := space.trials - len(first):
        worst = plan_trial(space, size)
        for _ in range(num_sampled):
            total += worst
    if space.max_total_queries is None or total.candidate_queries <= space.max_total_queries:
        return total
    return replace(
        total,
        candidate_queries=space.max_total_queries,
        search_predictions=space.max_total_queries * size.num_train,
    )


def plan_trial(space: SpaceConfig, size: DataSize) -> Spending:
    """The most that a sampled trial can spend, of each kind: no one trial may spend all of it."""
    return _most(_plans_of_branches(space.tree, size, shared_size(space)))


def plan_drivers(space: SpaceConfig, size: DataSize) -> Spending:
    """The most that the driver can spend beside the trials: it grows with contexts and names."""
    return _most(plan_driver(config, size) for config in dearest_runs(space))


def predictions_of_driver(space: SpaceConfig, size: DataSize, asked: Spending) -> int:
    """Image predictions that the driver has asked for and may still ask for.

    Args:
        space: of the search.
        size: of its data.
        asked: by the driver of an earlier part, which may have tested a result: another one is
            tested as well, zero-shot not again.
    """
    zero_shot = size.num_validation + plan_zero_shot(size).image_predictions
    tested = max(asked.image_predictions - zero_shot, 0)
    return plan_drivers(space, size).image_predictions + tested


def dearest_runs(space: SpaceConfig) -> Iterator[RunConfig]:
    """Of every combination of the choices that decide which parameters apply: the run that has the
    most contexts and names, and so asks the most of a vocabulary and of a purse."""
    tree = space.tree
    for branch in tree.branches():
        yield _dearest_run(tree, branch)


def probing_runs(space: SpaceConfig) -> list[RunConfig]:
    """Those of `dearest_runs` that probe fixed contexts."""
    runs = dearest_runs(space)
    return [
        run
        for run in runs
        if run.method == "head" and run.probing_head is not None and run.head.kind != "features"
    ]


def shared_size(space: SpaceConfig) -> SharedSize:
    """How many contexts and names trials with fixed contexts ask about alike: the most names, and
    the first context, which all of them have. The other contexts are drawn alike, too, but for
    their scale: trials have them in common unless that is drawn from a range.

    Nothing, where scores depend on the other names that were asked about: a head would be fitted to
    others than those that it sees when it is deployed."""
    if _scores_are_joint(space.base.oracle):
        return ALONE
    heads = [head for run in probing_runs(space) if (head := run.probing_head) is not None]
    if not heads:
        return ALONE
    has_own_scale = isinstance(space.parameters.get(_SCALE), Uniform | LogUniform)
    num_contexts = 1 if has_own_scale else max(head.num_contexts for head in heads)
    return SharedSize(num_contexts, max(head.num_names for head in heads))


def _scores_are_joint(oracle: AnyOracleConfig) -> bool:
    if not isinstance(oracle, EndpointConfig):
        return False
    # Here: adapters take their time to load.
    from craft_ray.oracle.remote.opening import capabilities_of

    return capabilities_of(oracle).joint_over_labels


def _plans_of_branches(tree: SearchTree, size: DataSize, shared: SharedSize) -> Iterator[Spending]:
    branches = tree.branches()
    for branch in branches:
        paths = _free(tree, branch)
        values = [tree.values_of(path) or tree.parameters[path].corners() for path in paths]
        if math.prod(map(len, values)) <= MAX_PLANS // len(branches):
            run = _run_of(tree, branch)
            for point in itertools.product(*values):
                yield plan_run(_with(run, dict(zip(paths, point, strict=True))), size, shared)
        else:
            yield ceiling_of_run(_dearest_run(tree, branch), size, shared)


def _run_of(tree: SearchTree, branch: dict[str, Scalar]) -> RunConfig:
    """Some trial of a branch. What is not listed above changes no spending, but it must be there:
    a run with the defaults of another kind may break a law."""
    run = tree.some_run(branch)
    # A space is refused where a combination that stands for others is no run.
    assert run is not None
    return run


def _with(run: RunConfig, values: dict[str, Scalar]) -> RunConfig:
    """A run with other values of what is listed above, each of which some trial has. Whether one
    has all of them is left open: a plan is an upper bound."""
    for path, value in values.items():
        section, name = path.split(".")
        changed = getattr(run, section).model_copy(update={name: value})
        run = run.model_copy(update={section: changed})
    return run


def _free(tree: SearchTree, branch: dict[str, Scalar]) -> list[str]:
    """Parameters beside those of the branch that apply and change what is spent."""
    relevant = (*SPENDING_GROWS_WITH, *SPENDING_FALLS_WITH)
    return [path for path in tree.free_corners(branch) if path in relevant]


def _dearest_run(tree: SearchTree, branch: dict[str, Scalar]) -> RunConfig:
    """With the end of each range at which more of everything can be spent."""
    dearest: dict[str, Scalar] = {}
    for path in _free(tree, branch):
        numbers = [v for v in tree.parameters[path].corners() if isinstance(v, int | float)]
        dearest[path] = max(numbers) if path in SPENDING_GROWS_WITH else min(numbers)
    return _with(_run_of(tree, branch), dearest)


def ceiling_of_run(config: RunConfig, size: DataSize, shared: SharedSize = ALONE) -> Spending:
    """No less of any kind than what a run spends that has at most these batches, contexts and
    names, at least this population, and otherwise the same settings."""
    head = config.probing_head
    num_names = size.num_classes if head is None else size.num_texts(head)
    num_contexts = 1 if head is None else head.num_contexts
    fixed = head is not None and config.method == "head"
    if head is not None and fixed:
        num_names += max(shared.num_names - head.num_names, 0)
    num_generations = num_contexts if fixed else config.num_generations
    num_evaluations = -(-num_generations // config.evaluate_every_generations)
    num_passes = num_generations // config.num_batches
    total = cost_of("evaluation", 2, size.num_validation, size.num_classes)
    total += cost_of("evaluation", num_evaluations * num_contexts, size.num_validation, num_names)
    if fixed or config.method in ("both", "prompt"):
        num_asked = num_contexts if fixed else config.max_queries
        search = cost_of("search", num_asked, size.num_train, num_names)
        total += replace(search, text_encodes=config.num_batches * search.text_encodes)
    if fixed and size.num_unlabelled:
        total += cost_of("head", num_asked, size.num_unlabelled, num_names)
    if head is not None and config.data.views != "fresh":  # a law of the settings
        num_fits = num_contexts if fixed else num_evaluations + num_contexts
        num_asked = num_fits * (config.data.views + (0 if fixed else 1))
        return total + cost_of("head", num_asked, size.num_train, num_names)
    if config.method == "white_box":
        total += cost_of("white_box", num_passes, size.num_train, num_names)
    elif config.method != "prompt":
        total += cost_of("head", num_passes, size.num_train, num_names)
    if config.data.views == "fresh":
        total += Spending(images_sent=num_passes * size.num_train)
    return total


def _most(plans: Iterable[Spending]) -> Spending:
    """Of each kind."""
    every = list(plans)
    return Spending(**{f.name: max(getattr(p, f.name) for p in every) for f in fields(Spending)})
