"""`craft-ray runs`: what there is, what came of it, and how to go on."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from craft_ray.commands import export
from craft_ray.commands.common import exit_with
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from craft_ray.files.remote import Place
    from craft_ray.jobs.run_list import RunFacts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["export"]:
        return export.main(words[1:])
    parser = argparse.ArgumentParser(
        prog="craft-ray runs",
        description="The runs in a folder, the newest first. With the name of one: its result, and "
        "the commands that go on from it. Starts nothing. `craft-ray runs export RUN FOLDER` "
        "writes its classifier as hubs of models want it.",
        epilog="Example: craft-ray runs quickstart-20260102-030405-a1b2",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="name of one")
    parser.add_argument(
        "--output-dir", default="runs", metavar="DIR", help="where runs are (default: runs)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--remove", action="store_true", help="remove RUN: its record, states and result"
    )
    options = parser.parse_args(words)
    if options.remove and options.run is None:
        parser.error("--remove needs the name of a run")
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    from craft_ray.files.remote import locate
    from craft_ray.jobs.run_list import runs_in

    output_dir = locate(options.output_dir)
    runs = runs_in(output_dir)
    if options.run is not None:
        runs = [_named(options.run, runs, output_dir)]
    if options.remove:
        _remove(output_dir / options.run, runs[0])
    elif options.json:
        print(json.dumps([asdict(facts) for facts in runs], indent=2))
    elif options.run is not None:
        _show(runs[0], output_dir / options.run)
    else:
        _list(runs, output_dir)


def _named(name: str, runs: Sequence[RunFacts], output_dir: Place) -> RunFacts:
    from craft_ray.config.suggestions import did_you_mean

    for facts in runs:
        if facts.name == name:
            return facts
    near = did_you_mean(name, [facts.name for facts in runs])
    raise ConfigError("RUN", [f"must be the name of a run in {output_dir}, but got {name!r}{near}"])


def _list(runs: Sequence[RunFacts], output_dir: Place) -> None:
    if not runs:
        print(f"{output_dir} has no run: craft-ray tune makes one")
        return
    width = max(len(facts.name) for facts in runs)
    print(f"{'run':<{width}}  {'started':<16}  {'state':<12}  zero-shot   tuned  queries")
    for facts in runs:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts.started))
        queries = "" if facts.queries is None else f"{facts.queries:,}"
        print(
            f"{facts.name:<{width}}  {started}  {facts.state:<12}  {_share(facts.zero_shot):>9}  "
            f"{_share(facts.tuned):>6}  {queries:>7}"
        )


def _show(facts: RunFacts, folder: Place) -> None:
    print(f"{facts.name}: craft-ray {facts.kind}, {facts.state}")
    if facts.tuned is not None:
        print(f"test accuracy {_share(facts.tuned)}, zero-shot {_share(facts.zero_shot)}")
    if facts.queries is not None:
        cost = "" if facts.cost is None else f", which cost {facts.cost:,.2f}"
        print(f"{facts.queries:,} candidate queries{cost}")
    print(f"folder      {folder}")
    if facts.state in ("unfinished", "has failures"):
        print(
            f"continue    craft-ray {facts.kind} [the words it was started with] "
            f"name={facts.name} --resume"
        )
    if (folder / "best").exists():
        print(f"label       craft-ray predict {folder} photos/")


def _remove(folder: Place, facts: RunFacts) -> None:
    from craft_ray.files.folders import remove_folder

    if facts.state == "at work":
        raise ConfigError("--remove", [f"{folder} must have ended, but a driver works in it"])
    remove_folder(folder)
    print(f"{folder} is removed; what MLflow has of it stays there")


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.1%}"
