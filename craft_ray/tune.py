"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.cli import check_inputs, exit_with, pool_request, print_plan, split_words
from craft_ray.config.loading import load_space_config
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunInterruptedError

if TYPE_CHECKING:
    from craft_ray.training.preparation import FewShotData

DEFAULT_SPACE = Path(__file__).resolve().parent.parent / "tune_spaces" / "quickstart.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    return exit_with(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m craft_ray.tune",
        description="Search the hyperparameters of a black-box fine-tuning with Ray Tune and "
        "Optuna. Without arguments: a few minutes on the embedded oracle and data set.",
        epilog="Example: python -m craft_ray.tune tune_spaces/quickstart.yaml trials=16 "
        "data.shots=4 mlflow.tracking_uri=http://127.0.0.1:5000",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="SPACE.yaml | key=value",
        help="a search space (default: tune_spaces/quickstart.yaml), then settings of it or of "
        "its base run",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the settings, what will be spent and what will be asked of Ray; start nothing",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted search: the newest unfinished one, or name=RUN",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    path, overrides = split_words(options.words)
    space = load_space_config(path or DEFAULT_SPACE, overrides)
    data = check_inputs(space.base)
    settings = space.model_dump(mode="json", exclude={"base": {"name"}})
    if options.dry_run:
        _print_plan(space, settings, data)
        return
    from rich.console import Console

    from craft_ray.run_folder import open_run_folder
    from craft_ray.search.run import run_search
    from craft_ray.tracking import ui_command

    console = Console()
    output_dir = Path(space.base.output_dir)
    with open_run_folder(
        output_dir, space.base.name, space.name, settings, resume=options.resume
    ) as folder:
        console.print(f"Search {folder.name} on {data.describe()}", highlight=False)
        try:
            summary = run_search(space, data, folder, console)
        except (RunInterruptedError, KeyboardInterrupt) as error:
            words = [word for word in options.words if not word.startswith("name=")]
            command = ["python", "-m", "craft_ray.tune", *words, f"name={folder.name}", "--resume"]
            message = f"{error or 'stopped'}; continue with\n  {shlex.join(command)}"
            raise RunInterruptedError(message) from error
    _print_outcome(console, summary, folder, ui_command(space.base.mlflow, output_dir))


def _print_plan(space: SpaceConfig, settings: dict[str, Any], data: FewShotData) -> None:
    from craft_ray.search.plan import plan_search

    ray = space.base.ray
    requests = [
        pool_request(space.base),
        f"trials: {space.trials}, at most {space.max_concurrent_trials} at a time, each "
        f"{ray.cpus_per_trial:g} CPU and a worker of {ray.cpus_per_worker:g} CPU",
    ]
    print_plan(settings, plan_search(space, data.size), requests)


def _print_outcome(
    console: Any, summary: dict[str, Any], folder: Path, ui_command: str | None
) -> None:
    best = summary["best"]
    if best is None:
        console.print(f"[red]No trial gave a result; see {folder}.")
        return
    before, after = summary["zero_shot"]["test"]["accuracy"], best["test"]["accuracy"]
    gain = f"{100 * (after - before):+.1f} points"
    lines = [
        f"Best: trial {best['number']}. Test accuracy [bold]{after:.1%}[/], "
        f"zero-shot {before:.1%}: [bold]{gain}[/].",
        f"Spent {summary['ledger']['candidate_queries']:,} candidate queries "
        f"({summary['ledger']['image_predictions']:,} image predictions) in "
        f"{summary['seconds']:.0f} s.",
        f"Summary:    {folder / 'summary.json'}",
        f"Classifier: {folder / 'best'}",
    ]
    if ui_command:
        lines.append(f"Look at it: {ui_command}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
