"""`python -m craft_ray.data`: convert a data set to Parquet, or check it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from craft_ray.commands.common import exit_with, path_argument, positive, tell_notes
from craft_ray.commands.data_labels import add_label_options, label_settings, look_at_labels
from craft_ray.commands.intermixed import IntermixedParser
from craft_ray.config.data import CoopName, DataSource
from craft_ray.errors import ConfigError, RunInterruptedError

if TYPE_CHECKING:
    from craft_ray.data.check import Report
    from craft_ray.data.dataset import Dataset

EXIT_CODE_FINDINGS = 1
"""Of `check`, when there is something to look at."""

SOURCE_SETTINGS = "data.source."

OPTIONS = ("image_column", "label_column", "class_names")
"""Settings of a source that are options, too."""

BYTES_PER_MB = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    num_findings = 0

    def command() -> None:
        nonlocal num_findings
        try:
            if options.command == "convert":
                _convert(options)
            else:
                num_findings = _check(options)
        except KeyboardInterrupt as error:
            raise RunInterruptedError(
                f"{options.command} was stopped, and wrote nothing"
            ) from error

    code = exit_with(command)
    return EXIT_CODE_FINDINGS if code == 0 and num_findings else code


def _parser() -> argparse.ArgumentParser:
    parser = IntermixedParser(
        prog="craft-ray data",
        description="Convert a data set to Parquet files, or check it.",
        epilog="Example: craft-ray data check --dataset eurosat /path/to/data",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser(
        "convert",
        help="write a data set as Parquet files in the Hugging Face layout",
        description="Write a data set as Parquet files in the Hugging Face layout.",
    )
    check = commands.add_parser(
        "check",
        help="look for broken images, leaks and near-duplicates between splits, bad class names",
        description="Look for broken images, leaks between splits (the same file, or one that "
        "looks the same) and bad class names; with --labels also for labels that look wrong. Exit "
        "code 0: nothing found, 1: findings, 2: the data set cannot be read.",
        epilog="Example: craft-ray data check images/ --labels --model ViT-B-32/openai "
        "--sheet wrong.html",
    )
    for command in (convert, check):
        command.add_argument(
            "source",
            metavar="SRC",
            help="a table (CSV or .jsonl), a folder with Parquet files, Arrow files (save_to_disk) "
            "or tar shards (webdataset), a tree of class folders, an address such as "
            "s3://bucket/prefix where Parquet files are; with --dataset, the folder that holds "
            "CoOp's data sets",
        )
        command.add_argument(
            "--dataset",
            choices=get_args(CoopName),
            metavar="NAME",
            help=f"read this data set in CoOp's layout: {', '.join(get_args(CoopName))}",
        )
        for column in ("image_column", "label_column"):
            command.add_argument(
                f"--{column.replace('_', '-')}",
                metavar="NAME",
                help=f"the same as {SOURCE_SETTINGS}{column}=NAME",
            )
        command.add_argument(
            "--class-names",
            metavar="FILE",
            help="names of the classes, one a line or in JSON, where Parquet files, Arrow files or "
            "tar shards say numbers",
        )
    convert.add_argument(
        "destination", type=path_argument, metavar="DST", help="a folder, made anew"
    )
    for command in (convert, check):
        command.add_argument(
            "settings",
            nargs="*",
            default=[],  # else argparse lists it among the words that are required
            metavar="KEY=VALUE",
            help="how the images are read, as for tune: data.source.layout=classes"
            + ("; with --labels also settings of the model, oracle.KEY" * (command is check)),
        )
    convert.add_argument(
        "--shard-mb", type=positive, default=500, help="size of a file (default: %(default)s)"
    )
    convert.add_argument(
        "--skip-broken", action="store_true", help="leave out, and list, what cannot be decoded"
    )
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    add_label_options(check)
    return parser


def _read(options: argparse.Namespace, *, names_may_be_any: bool) -> Dataset:
    # Imported late: `--help` and a mistyped option wait for no library.
    from craft_ray.data.sources import load_dataset, read_index

    source = _source(options)
    return read_index(source) if names_may_be_any else load_dataset(source)


def _source(options: argparse.Namespace) -> DataSource:
    """What SRC is, with the settings that were given, as `tune` takes them.

    Raises:
        ConfigError: a word is another setting, or the source does not have it.
    """
    from craft_ray.config.loading import load_run_config
    from craft_ray.data.sources.detect import settings_at

    for word in options.settings:
        if not word.startswith(SOURCE_SETTINGS) or "=" not in word:
            raise ConfigError("command line", [f"must be {SOURCE_SETTINGS}KEY=VALUE, got {word!r}"])
    words = [
        f"{SOURCE_SETTINGS}{key}={json.dumps(value)}"
        for key in OPTIONS
        if (value := getattr(options, key)) is not None
    ]
    known = json.dumps(settings_at(options.source, options.dataset))
    return load_run_config(None, [f"data.source={known}", *words, *options.settings]).data.source


def _convert(options: argparse.Namespace) -> None:
    from rich.console import Console

    from craft_ray.data.convert import convert
    from craft_ray.data.progress import image_progress

    dataset = _read(options, names_may_be_any=False)
    tell_notes(dataset.notes)
    console = Console(emoji=False)
    total = sum(len(items) for items in dataset.splits.values())
    with image_progress(console, "writing", total) as advance:
        converted = convert(
            dataset,
            options.destination,
            shard_bytes=options.shard_mb * BYTES_PER_MB,
            skip_broken=options.skip_broken,
            progress=lambda _, count: advance(count),
        )
    for reason in converted.skipped:
        console.print(f"left out: {reason}", markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{count:,} {split}" for split, count in converted.num_images.items())
    left_out = f", {len(converted.skipped):,} left out" if converted.skipped else ""
    console.print(
        f"{len(dataset.class_names):,} classes, {counts} images in {len(converted.files)} "
        f"file(s){left_out}: {options.destination}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _check(options: argparse.Namespace) -> int:
    from rich.console import Console

    from craft_ray.data.check import check_dataset
    from craft_ray.data.progress import image_progress
    from craft_ray.data.sources.coop_table import COOP_TABLE

    of_source = [word for word in options.settings if word.startswith(SOURCE_SETTINGS)]
    others = [word for word in options.settings if word not in of_source]
    label_config = label_settings(options, others)
    options.settings = of_source
    # A model is asked about the names, which must be usable then.
    dataset = _read(options, names_may_be_any=label_config is None)
    about = COOP_TABLE[options.dataset] if options.dataset else None
    total = sum(len(items) for items in dataset.splits.values())
    # Beside the report, not in it: standard output may go into a file.
    with image_progress(Console(stderr=True, emoji=False), "reading", total) as advance:
        report = check_dataset(dataset, about, advance)
    if label_config is not None:
        labels = look_at_labels(options, label_config, dataset)
        report = replace(report, labels=labels)
    if options.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        _show(report)
    return report.num_findings


def _show(report: Report) -> None:
    from rich.console import Console

    from craft_ray.data.report import show_report

    show_report(report, Console(emoji=False))
