"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.commands.common import (
    check_inputs,
    command_parser,
    exit_with,
    show_outcome,
)
from craft_ray.commands.dry_run import (
    MANY_QUERIES,
    planned_time,
    pool_request,
    print_plan,
    spending_line,
)
from craft_ray.commands.frame import RunRequest
from craft_ray.commands.planned_bill import PlannedBill, bill_line, planned_search_bill
from craft_ray.commands.service_tuning import add_service_option, tune_at_service
from craft_ray.commands.shorthand import (
    Asked,
    about_model,
    add_shorthand,
    dialect_of,
    names_a_model,
    typed_words,
    what_is_asked,
)
from craft_ray.config.documents import to_yaml
from craft_ray.config.endpoint import GIVES_FEATURES
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import DEFAULT_SPACE, SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunFailedError

if TYPE_CHECKING:
    from craft_ray.task.preparation import FewShotData

PRESETS = {path.stem: path for path in sorted(SPACES.glob("*.yaml"))}
EMBEDDINGS, ENDPOINT = "embeddings", "endpoint"
"""The presets of endpoints: that give features, and that give scores."""
OWN_IMAGES = "own_images"
"""The preset of somebody's images and a published model; the default one is for the small oracle
that ships."""


def main(arguments: Sequence[str] | None = None, again: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. `again`: a command line that continues the run, if it is
    not this one with `--resume`."""
    parser = command_parser(
        "tune",
        "Search the hyperparameters of a black-box fine-tuning with Ray Tune and Optuna. Without "
        "arguments: probes, then the paper's method and variants of it, in a minute or two on the "
        "embedded oracle and data set.",
        "photos/ --model ViT-B-32/openai trials=16 data.shots=4",
        "IMAGES | SPACE.yaml",
        "where images are (class folders, a CSV table, Parquet files, a data set of CoOp), a "
        "search space (default: tune_spaces/quickstart.yaml, or own_images.yaml for IMAGES and a "
        "model), then settings of it or of its base run; base=RUN.yaml searches around the "
        "settings in a file",
    )
    add_shorthand(parser, PRESETS)
    add_service_option(parser)
    options = parser.parse_intermixed_args(arguments)
    options.again = again
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if options.service is not None:
        tune_at_service(options)
        return
    asked = what_is_asked(options, PRESETS)
    space = load_space_config(asked.file or _default_space(asked), asked.words)
    settings = space.model_dump(mode="json", exclude={"base": {"name"}})
    if options.print_config:
        print(to_yaml(settings), end="")
        return
    request = RunRequest(
        "tune",
        options,
        space.base.output_dir,
        space.base.name,
        space.name,
        settings,
        SpaceConfig,
    )
    request.check()
    from craft_ray.search.answerable import check_answerable
    from craft_ray.search.comparable import check_comparable
    from craft_ray.search.plan import dearest_runs

    data = check_inputs(
        space.base,
        options,
        decode=not options.dry_run,
        check_model=lambda: check_answerable(space),
    )
    for config in dearest_runs(space):  # a variant may have descriptions of its own
        data = data.described_for(config)
    check_comparable(space, data)
    bill = planned_search_bill(space, data.size)
    if space.base.max_cost is not None:
        from craft_ray.search.affordable import check_first_trial_is_affordable

        check_first_trial_is_affordable(space, data.size)
    if options.dry_run:
        _print_plan(space, settings, data, bill)
        return

    def headline(name: str) -> list[str]:
        costs = [*_costs(space, data, options), *bill_line(bill)]
        return [f"Search {name} on {data.describe()}", *about_model(asked), *costs]

    with request.open(space.base.ray, headline) as (folder, console):
        from craft_ray.jobs.run_folder import NUM_FAILED
        from craft_ray.search.run import run_search
        from craft_ray.tracking import tracking_folder, ui_command

        summary = run_search(space, data, folder, console)
        if (best := summary["best"]) is not None:
            label = f"Best: trial {best['number']}"
            ui = ui_command(space.base.mlflow, tracking_folder(folder.parent))
            show_outcome(options, summary, best, label, folder, ui)
        if num_failed := summary[NUM_FAILED]:
            errors = [trial["error"] for trial in summary["trials"] if trial["error"]]
            why = errors[0] if errors else f"see {folder / 'trials'}"
            raise RunFailedError(f"{num_failed} of {space.trials} trials have failed: {why}")


def _default_space(asked: Asked) -> Path:
    if (dialect := dialect_of(asked)) is not None:
        return PRESETS[EMBEDDINGS if dialect in GIVES_FEATURES else ENDPOINT]
    is_own = asked.data is not None and names_a_model(asked)
    return PRESETS[OWN_IMAGES] if is_own else DEFAULT_SPACE


def _costs(space: SpaceConfig, data: FewShotData, options: argparse.Namespace) -> list[str]:
    """At most what; and what costs less, if that is much."""
    from craft_ray.search.plan import plan_search

    spending = plan_search(space, data.size)
    lines = [spending_line(spending, space.base)]
    if spending.candidate_queries > MANY_QUERIES and not options.resume:
        words = shlex.join(["craft-ray", "tune", *typed_words(options), "max_total_queries=2000"])
        lines.append(f"That is much; with fewer trials: {words}")
    return lines


def _print_plan(
    space: SpaceConfig, settings: dict[str, Any], data: FewShotData, bill: PlannedBill | None
) -> None:
    from craft_ray.search.plan import plan_search

    ray = space.base.ray
    requests = [
        pool_request(space.base),
        f"trials: {space.trials}, at most {space.max_concurrent_trials} at a time, each "
        f"{ray.cpus_per_trial:g} CPU and a worker of {ray.cpus_per_worker:g} CPU",
    ]
    price = space.base.price_per_thousand_predictions
    spending = plan_search(space, data.size)
    time = planned_time(space.base, "tune", spending)
    most = space.base.max_cost
    print_plan(SpaceConfig, settings, spending, requests, price, time, most, bill)
