"""`python -m craft_ray.train`: one fine-tuning, without a search."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.cli import check_inputs, exit_with, pool_request, print_plan, split_words
from craft_ray.config.loading import load_run_config
from craft_ray.errors import RunInterruptedError

if TYPE_CHECKING:
    from craft_ray.config.run import RunConfig
    from craft_ray.training.preparation import FewShotData


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    return exit_with(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m craft_ray.train",
        description="Fine-tune a black-box vision-language model once, in a Ray Train worker. "
        "Without arguments: 16 shots and 8,000 queries on the embedded oracle and data set.",
        epilog="Example: python -m craft_ray.train max_queries=2000 seed=2 method=prompt",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG.yaml | key=value",
        help="settings of the run (default: those of craft_ray/config/run.py), then overrides",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the settings, what will be spent and what will be asked of Ray; start nothing",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run: the newest unfinished one, or name=RUN",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    path, overrides = split_words(options.words)
    config = load_run_config(path, overrides)
    data = check_inputs(config)
    settings = config.model_dump(mode="json", exclude={"name"})
    if options.dry_run:
        _print_plan(config, settings, data)
        return
    from rich.console import Console

    from craft_ray.run_folder import open_run_folder
    from craft_ray.tracking import ui_command
    from craft_ray.training.run import run_training

    console = Console()
    output_dir = Path(config.output_dir)
    stem = path.stem if path else "train"
    with open_run_folder(output_dir, config.name, stem, settings, resume=options.resume) as folder:
        console.print(f"Run {folder.name} on {data.describe()}", highlight=False)
        try:
            summary = run_training(config, data, folder, console)
        except (RunInterruptedError, KeyboardInterrupt) as error:
            words = [word for word in options.words if not word.startswith("name=")]
            command = ["python", "-m", "craft_ray.train", *words, f"name={folder.name}", "--resume"]
            message = f"{error or 'stopped'}; continue with\n  {shlex.join(command)}"
            raise RunInterruptedError(message) from error
    before = summary["zero_shot"]["test"]["accuracy"]
    after = summary["tuned"]["test"]["accuracy"]
    for line in (
        f"Test accuracy {after:.1%}, zero-shot {before:.1%}: {100 * (after - before):+.1f} points "
        f"(validation chose generation {summary['tuned']['generation']}).",
        f"Spent {summary['ledger']['candidate_queries']:,} candidate queries "
        f"({summary['ledger']['image_predictions']:,} image predictions) in "
        f"{summary['seconds']:.0f} s.",
        f"Summary:    {folder / 'summary.json'}",
        f"Classifier: {folder / 'best'}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if command_of_ui := ui_command(config.mlflow, output_dir):
        console.print(f"Look at it: {command_of_ui}", highlight=False, soft_wrap=True)


def _print_plan(config: RunConfig, settings: dict[str, object], data: FewShotData) -> None:
    from craft_ray.training.plan import plan_examination, plan_run

    requests = [pool_request(config), f"worker: {config.ray.cpus_per_worker:g} CPU"]
    print_plan(settings, plan_run(config, data.size) + plan_examination(data.size), requests)


if __name__ == "__main__":
    sys.exit(main())
