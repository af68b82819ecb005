"""`python -m craft_ray.train`: one fine-tuning, without a search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from craft_ray.commands.common import (
    check_inputs,
    command_parser,
    exit_with,
    show_outcome,
)
from craft_ray.commands.dry_run import planned_time, pool_request, print_plan, spending_line
from craft_ray.commands.frame import RunRequest
from craft_ray.commands.planned_bill import bill_line, planned_bill
from craft_ray.commands.shorthand import about_model, add_shorthand, what_is_asked
from craft_ray.config.documents import to_yaml
from craft_ray.config.loading import load_default_run, load_run_config
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import SPACES

PRESETS = {path.stem: path for path in sorted((SPACES / "runs").glob("*.yaml"))}


def main(arguments: Sequence[str] | None = None, again: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. `again`: a command line that continues the run, if it is
    not this one with `--resume`."""
    parser = command_parser(
        "train",
        "Fine-tune a black-box vision-language model once, in a Ray Train worker. Without a file: "
        "probes, the first trial of `craft-ray tune`, on the embedded oracle and data "
        "set. The paper's method: tune_spaces/runs/craft.yaml.",
        "tune_spaces/runs/craft.yaml max_queries=2000 seed=2 method=prompt",
        "IMAGES | CONFIG.yaml",
        "where images are (class folders, a CSV table, Parquet files, a data set of CoOp), "
        "settings of the run (default: tune_spaces/runs/probes.yaml), then overrides",
    )
    add_shorthand(parser, PRESETS)
    options = parser.parse_intermixed_args(arguments)
    options.again = again
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    asked = what_is_asked(options, PRESETS)
    if asked.file is not None:
        config = load_run_config(asked.file, asked.words)
    else:
        config = load_default_run(asked.words)
    settings = config.model_dump(mode="json", exclude={"name"})
    if options.print_config:
        print(to_yaml(settings), end="")
        return
    stem = asked.file.stem if asked.file else "train"
    request = RunRequest(
        "train", options, config.output_dir, config.name, stem, settings, RunConfig
    )
    request.check()
    from craft_ray.oracle.usable import check_usable

    data = check_inputs(
        config, options, decode=not options.dry_run, check_model=lambda: check_usable(config)
    )
    from craft_ray.metering.affordable import check_run_affordable
    from craft_ray.metering.planned_spending import plan_driver, plan_run

    plan = plan_run(config, data.size) + plan_driver(config, data.size)
    check_run_affordable(config, data.size)
    bill = planned_bill(config, data.size)
    price = config.price_per_thousand_predictions
    if options.dry_run:
        requests = [pool_request(config), f"worker: {config.ray.cpus_per_worker:g} CPU"]
        time = planned_time(config, "train", plan)
        print_plan(RunConfig, settings, plan, requests, price, time, bill=bill)
        return

    def headline(name: str) -> list[str]:
        costs = [spending_line(plan, config), *bill_line(bill)]
        return [f"Run {name} on {data.describe()}", *about_model(asked), *costs]

    with request.open(config.ray, headline) as (folder, console):
        from craft_ray.jobs.single_run import run_training
        from craft_ray.tracking import tracking_folder, ui_command

        summary = run_training(config, data, folder, console)
        tuned = summary["tuned"]
        label = f"Generation {tuned['generation']}, {_how_chosen(config, tuned.get('judged_by'))}"
        if config.data.shots == 0:
            label = "Without training images"
        ui = ui_command(config.mlflow, tracking_folder(folder.parent))
        show_outcome(options, summary, tuned, label, folder, ui)


def _how_chosen(config: RunConfig, judged_by: str | None) -> str:
    if config.fidelity.selection == "last":
        return "the last"
    if judged_by == "nothing":
        return "unjudged"
    return "chosen by held-out images" if judged_by == "held_out" else "chosen by validation"
