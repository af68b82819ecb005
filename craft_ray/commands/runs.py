"""`craft-ray runs`: what there is, what came of it, and how to go on."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from craft_ray.commands import export
from craft_ray.commands.as_json import print_json
from craft_ray.commands.common import (
    add_output_dir,
    add_screen_options,
    exit_with,
    terminal_columns,
)
from craft_ray.config.money import run_cost
from craft_ray.config.places import expand_home
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from craft_ray.files.remote import Place
    from craft_ray.jobs.run_list import RunFacts

GOES_ON = ("unfinished", "has failures")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["export"]:  # has its own options
        return export.main(words[1:])
    options = _parser().parse_args(words)
    code = 0

    def command() -> None:
        nonlocal code
        if options.action == "resume":
            code = _resume(options)
        else:
            {"list": _list, "show": _show, "compare": _compare, "remove": _remove}[
                options.action or "list"
            ](options)

    return exit_with(command) or code


class _Parser(argparse.ArgumentParser):
    """Knows that the name of a run was meant to be shown."""

    def error(self, message: str) -> NoReturn:
        """Print the message with what was meant, and exit."""
        if found := re.search(r"ACTION: invalid choice: '([^']+)'", message):
            message += f"; to see the run of this name: craft-ray runs show {found[1]}"
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--output-dir",
        type=expand_home,
        default=argparse.SUPPRESS,  # that of an action would undo what stands before it
        metavar="DIR",
        help="where runs are (default: runs)",
    )
    parser = _Parser(
        prog="craft-ray runs",
        description="The runs in a folder. Without a word: all of them, the newest first.",
        epilog="Example: craft-ray runs compare quickstart-20260102-030405-a1b2 latest",
    )
    parser.set_defaults(json=False)
    add_output_dir(parser)
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=argparse.ArgumentParser
    )

    def add(name: str, words: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"Example: craft-ray runs {example}",
            parents=[place],
        )

    for name, words, example in (
        ("list", "list the runs, the newest first", "list --json"),
        ("show", "show a run: its result, and the commands that go on from it", "show latest"),
    ):
        add(name, words, example).add_argument("--json", action="store_true", help="print JSON")
    compare = add("compare", "show runs side by side, and the settings that differ", "compare a b")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="a name, or `latest`")
    resume = add(
        "resume", "continue a run that was cut short, as it was started", "resume latest trials=20"
    )
    # Named here for its help; `main` has handed it on already.
    add("export", "write a run's classifier as hubs of models want it", "export latest FOLDER")
    remove = add("remove", "remove a run: its record, states and result", "remove NAME")
    for each in (actions.choices["show"], resume, remove):
        each.add_argument("run", metavar="RUN", help="a name, or `latest`: the newest one")
    resume.add_argument(
        "words",
        nargs="*",
        metavar="key=value",
        help="settings that may be others than before, such as trials=20",
    )
    add_screen_options(resume)
    return parser


def _named(name: str, output_dir: Place) -> RunFacts:
    from craft_ray.config.suggestions import did_you_mean
    from craft_ray.jobs.run_list import runs_in

    runs = runs_in(output_dir)
    for facts in runs:
        if name in ("latest", facts.name):
            return facts
    near = did_you_mean(name, [facts.name for facts in runs])
    raise ConfigError("RUN", [f"must be the name of a run in {output_dir}, but got {name!r}{near}"])


def _list(options: argparse.Namespace) -> None:
    from craft_ray.files.remote import locate
    from craft_ray.jobs.run_list import runs_in

    output_dir = locate(options.output_dir)
    runs = runs_in(output_dir)
    if options.json:
        print_json([asdict(facts) for facts in runs], indent=2)
        return
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


def _show(options: argparse.Namespace) -> None:
    from craft_ray.files.remote import locate

    output_dir = locate(options.output_dir)
    facts = _named(options.run, output_dir)
    folder = output_dir / facts.name
    if options.json:
        print_json(asdict(facts), indent=2)
        return
    print(f"{facts.name}: craft-ray {facts.kind}, {facts.state}")
    if facts.tuned is not None:
        print(f"test accuracy {_share(facts.tuned)}, zero-shot {_share(facts.zero_shot)}")
    elif facts.state == "finished" and facts.kind != "reproduce" and (folder / "best").exists():
        evaluate = f"craft-ray evaluate {shlex.quote(str(folder))} IMAGES"
        print(f"no test images, so no test accuracy: {evaluate} measures it on labelled images")
    if facts.verdict:
        print(facts.verdict)
    if facts.queries is not None:
        cost = "" if facts.cost is None else f", which cost {run_cost(facts.cost, facts.currency)}"
        print(f"{facts.queries:,} candidate {'query' if facts.queries == 1 else 'queries'}{cost}")
    print(f"folder      {folder}")
    if facts.state in GOES_ON:
        print(f"continue    {_resume_command(facts.name, options)}")
    if (folder / "report.html").is_file():
        print(f"look at     {folder / 'report.html'}")
    if (folder / "best").exists():
        print(f"label       craft-ray predict {shlex.quote(str(folder))} photos/")


def _resume_command(name: str, options: argparse.Namespace) -> str:
    where = [] if options.output_dir == "runs" else ["--output-dir", options.output_dir]
    return shlex.join(["craft-ray", "runs", "resume", name, *where])


def _compare(options: argparse.Namespace) -> None:
    from craft_ray.files.remote import locate
    from craft_ray.files.whole_files import read_json
    from craft_ray.jobs.run_comparison import RunRecord, as_lines, compare
    from craft_ray.jobs.run_folder import SETTINGS_FILE, SUMMARY_FILE

    output_dir = locate(options.output_dir)
    names = [_named(name, output_dir).name for name in options.runs]
    records = []
    for name in names:
        folder = output_dir / name
        summary = folder / SUMMARY_FILE
        records.append(
            RunRecord(
                name,
                read_json(folder / SETTINGS_FILE),
                read_json(summary) if summary.is_file() else None,
            )
        )
    results, settings = compare(records)
    columns = terminal_columns()
    print("\n".join(as_lines(names, results, columns)))
    if settings:
        print("\nSettings that differ")
        print("\n".join(as_lines(names, settings, columns)))


def _resume(options: argparse.Namespace) -> int:
    """Go on with the settings that the run has stored."""
    from craft_ray.files.remote import locate
    from craft_ray.jobs.run_folder import SETTINGS_FILE

    output_dir = locate(options.output_dir)
    facts = _named(options.run, output_dir)
    if facts.state == "unreadable":
        problem = f"{output_dir / facts.name / SETTINGS_FILE} must be readable, but is not"
        raise ConfigError("RUN", [problem])
    with tempfile.TemporaryDirectory(prefix="craft-ray-") as scratch:
        # JSON is YAML; from an object store it is brought here.
        path = Path(scratch) / f"{facts.name}.yaml"
        path.write_bytes((output_dir / facts.name / SETTINGS_FILE).read_bytes())
        # JSON again: a folder may be called 2024, or `run: 1`.
        words = [str(path), *options.words, f"output_dir={json.dumps(options.output_dir)}"]
        command = importlib.import_module(f"craft_ray.commands.{facts.kind}")
        screen = [f"--{name}" for name in ("quiet", "json") if getattr(options, name)]
        again = shlex.split(_resume_command(facts.name, options)) + options.words
        code: int = command.main([*words, f"name={facts.name}", "--resume", *screen], again)
        return code


def _remove(options: argparse.Namespace) -> None:
    from craft_ray.files.folders import remove_folder
    from craft_ray.files.remote import locate

    output_dir = locate(options.output_dir)
    facts = _named(options.run, output_dir)
    folder = output_dir / facts.name
    if facts.state == "at work":
        raise ConfigError("RUN", [f"{folder} must have ended, but a driver works in it"])
    remove_folder(folder)
    print(f"{folder} is removed; what MLflow has of it stays there")


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.1%}"
