"""`craft-ray reproduce`: ours on the few-shot data sets, beside what is published."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from craft_ray.commands.as_json import print_json
from craft_ray.commands.common import (
    command_parser,
    exit_with,
    tell_notes,
)
from craft_ray.commands.dry_run import pool_request, print_plan
from craft_ray.commands.frame import RunRequest
from craft_ray.commands.shorthand import split_words
from craft_ray.config.data import DataConfig
from craft_ray.config.documents import to_yaml
from craft_ray.config.loading import load_reproduction_config
from craft_ray.config.reproduction import LEFT_OUT, ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import SPACES
from craft_ray.errors import ConfigError, DataError
from craft_ray.reproduction.grid import Cell, make_cells, settings_of

SMOKE, PAPER = SPACES / "reproduce" / "smoke.yaml", SPACES / "reproduce" / "paper.yaml"


def main(arguments: Sequence[str] | None = None, again: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. `again`: a command line that continues the run, if it is
    not this one with `--resume`."""
    parser = command_parser(
        "reproduce",
        "Fine-tune on data sets x shots x seeds x backbones x methods and write tables beside the "
        "published numbers. Without arguments: a smoke test on the embedded oracle and data set; "
        "with root=FOLDER: ours on what is found there of the eleven few-shot data sets.",
        "root=/data datasets=[dtd,eurosat] shots=[1,16] backbones=[RN50,ViT-B-16]",
        "GRID.yaml",
        "a grid (default: tune_spaces/reproduce/smoke.yaml, or paper.yaml if root is given), then "
        "settings of it or of its runs",
    )
    options = parser.parse_intermixed_args(arguments)
    options.again = again
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    path, images, overrides = split_words(options.words)
    if images is not None:
        problem = f"root={images} names the folder of all data sets, but got it without root="
        raise ConfigError("command line", [problem])
    if path is None:
        path = PAPER if any(word.startswith("root=") for word in overrides) else SMOKE
    config = load_reproduction_config(path, overrides)
    if options.print_config:
        print(to_yaml(config.model_dump(mode="json", exclude={"name"})), end="")
        return
    # All of them at once: a mistake in the last preset must not be found after two days.
    settings = {cell: settings_of(cell, config) for cell in make_cells(config)}
    document = config.model_dump(mode="json", exclude={"name"})
    request = RunRequest(
        "reproduce",
        options,
        config.output_dir,
        config.name,
        "reproduce",
        document,
        ReproductionConfig,
    )
    request.check()
    from craft_ray.oracle.check import check_model_exists
    from craft_ray.reproduction.presence import find_missing

    for oracle in {run.oracle.model: run.local_model for run in settings.values()}.values():
        check_model_exists(oracle)
    missing = find_missing(config)
    found = {cell: run for cell, run in settings.items() if cell.dataset not in missing}
    if not found:
        raise DataError(
            f"root: {config.root} must hold at least one of the data sets, but misses\n  "
            + "\n  ".join(f"{name}: {path}" for name, path in missing.items())
        )
    from craft_ray.reproduction.too_few import refusal, without_too_few

    cells, left_out = without_too_few(found)
    if not cells:
        raise refusal(left_out)
    headline = [*_describe(config, cells, missing), *(each.line() for each in left_out)]
    if options.dry_run:
        _print_plan(config, document, cells, missing, headline)
        return
    first = next(iter(cells.values()))
    with request.open(first.ray, lambda _: headline) as (folder, console):
        from rich.console import Console

        from craft_ray.reproduction.run import run_reproduction
        from craft_ray.reproduction.tables import TABLE_FILE
        from craft_ray.tracking import tracking_folder, ui_command

        summary = run_reproduction(config, cells, missing, left_out, folder, console)
    if options.json:
        print_json(summary)
        return
    console = Console(emoji=False)
    console.print((folder / TABLE_FILE).read_text(), highlight=False, markup=False, soft_wrap=True)
    lines = [*(each.line() for each in left_out), f"Tables and plots: {folder}"]
    if command := ui_command(first.mlflow, tracking_folder(folder.parent)):
        lines.append(f"Look at it: {command}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _describe(
    config: ReproductionConfig, cells: Mapping[Cell, RunConfig], missing: Mapping[str, str]
) -> list[str]:
    datasets = list(dict.fromkeys(cell.dataset for cell in cells))
    lines = [
        f"{len(cells)} fine-tunings: {', '.join(datasets)} x {_join(config.shots)} shots x seeds "
        f"{_join(config.seeds)} x {_join(config.backbones)} x {_join(config.methods)}"
    ]
    lines += [
        f"Left out: {name} with {method}: {why}"
        for (method, name), why in LEFT_OUT.items()
        if method in config.methods and name in datasets
    ]
    return lines + [f"Missing, and left out: {name}: {path}" for name, path in missing.items()]


def _print_plan(
    config: ReproductionConfig,
    document: Mapping[str, Any],
    cells: Mapping[Cell, RunConfig],
    missing: Mapping[str, str],
    headline: Sequence[str],
) -> None:
    from craft_ray.data.dataset import check_testable
    from craft_ray.metering.ledger import Spending
    from craft_ray.metering.planned_spending import DataSize
    from craft_ray.reproduction.cell_spending import plan_cell
    from craft_ray.reproduction.shifted import load_shifted
    from craft_ray.reproduction.words import shots_in_words
    from craft_ray.reproduction.zero_shot import ZeroShotTurns
    from craft_ray.task.preparation import sample_data

    shifted = [name for name in config.shifted if name not in missing]
    num_shifted: dict[DataConfig, list[int]] = {}
    total = Spending()
    turns = ZeroShotTurns(cells, config, shifted)
    sizes: dict[DataConfig, DataSize] = {}  # methods and seeds share them: an index is read once
    failed: dict[DataConfig, str] = {}
    for cell, run in cells.items():
        if run.data not in sizes and run.data not in failed:
            try:
                data = sample_data(run)
                check_testable(data.dataset)
                names = shifted if cell.dataset == "imagenet" else []
                num_shifted[run.data] = [len(load_shifted(run, n).splits["test"]) for n in names]
            except DataError as error:  # the others are run without it
                shots = shots_in_words(cell.shots)
                failed[run.data] = f"Cannot run: {cell.dataset}, {shots}, {cell.method}: {error}"
            else:
                tell_notes(data.dataset.notes)
                sizes[run.data] = data.size
        if run.data in sizes:
            total += plan_cell(cell, run, sizes[run.data], num_shifted[run.data], turns.take(cell))
    if not sizes:
        raise DataError(next(iter(failed.values())))
    first = next(iter(cells.values()))
    requests = [
        f"{pool_request(first)}, for each of {_join(config.backbones)} in turn",
        f"cells: {len(cells)}, at most {config.max_concurrent_cells} at a time, each "
        f"a worker of {first.ray.cpus_per_worker:g} CPU",
    ]
    print("\n".join([*headline, *failed.values()]) + "\n")
    price = first.price_per_thousand_predictions
    print_plan(ReproductionConfig, document, total, requests, price)


def _join(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)
