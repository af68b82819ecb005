"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from craft_ray.commands.common import (
    check_inputs,
    command_parser,
    exit_with,
    pool_request,
    print_outcome,
    print_plan,
    split_words,
)
from craft_ray.commands.frame import RunRequest
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import DEFAULT_SPACE
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunFailedError

if TYPE_CHECKING:
    from craft_ray.task.preparation import FewShotData


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = command_parser(
        "tune",
        "Search the hyperparameters of a black-box fine-tuning with Ray Tune and Optuna. Without "
        "arguments: probes, then the paper's method and variants of it, in a minute or two on the "
        "embedded oracle and data set.",
        "tune_spaces/quickstart.yaml trials=16 data.shots=4 "
        "mlflow.tracking_uri=http://127.0.0.1:5000",
        "SPACE.yaml",
        "a search space (default: tune_spaces/quickstart.yaml), then settings of it or of its "
        "base run; base=RUN.yaml searches around the settings in a file",
    )
    options = parser.parse_intermixed_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    path, overrides = split_words(options.words)
    space = load_space_config(path or DEFAULT_SPACE, overrides)
    settings = space.model_dump(mode="json", exclude={"base": {"name"}})
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
    data = check_inputs(space.base, decode=not options.dry_run)
    if options.dry_run:
        _print_plan(space, settings, data)
        return

    def headline(name: str) -> list[str]:
        return [f"Search {name} on {data.describe()}"]

    with request.open(space.base.ray, headline) as (folder, console):
        from craft_ray.jobs.run_folder import NUM_FAILED
        from craft_ray.search.run import run_search
        from craft_ray.tracking import tracking_folder, ui_command

        summary = run_search(space, data, folder, console)
        if (best := summary["best"]) is not None:
            label = f"Best: trial {best['number']}"
            ui = ui_command(space.base.mlflow, tracking_folder(folder.parent))
            print_outcome(console, summary, best, label, folder, ui)
        if num_failed := summary[NUM_FAILED]:
            errors = [trial["error"] for trial in summary["trials"] if trial["error"]]
            why = errors[0] if errors else f"see {folder / 'trials'}"
            raise RunFailedError(f"{num_failed} of {space.trials} trials have failed: {why}")


def _print_plan(space: SpaceConfig, settings: dict[str, Any], data: FewShotData) -> None:
    from craft_ray.search.plan import plan_search

    ray = space.base.ray
    requests = [
        pool_request(space.base),
        f"trials: {space.trials}, at most {space.max_concurrent_trials} at a time, each "
        f"{ray.cpus_per_trial:g} CPU and a worker of {ray.cpus_per_worker:g} CPU",
    ]
    price = space.base.price_per_thousand_predictions
    print_plan(settings, plan_search(space, data.size), requests, price)
