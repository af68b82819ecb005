"""`craft-ray predict`: labels for new images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.commands.common import exit_with, positive
from craft_ray.config.loading import load_oracle_config
from craft_ray.errors import DataError

if TYPE_CHECKING:
    from craft_ray.inference.predictor import Predictor

NAMED_AT_MOST = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray predict",
        description="Label images with the classifier that a run has found. Without --out: a line "
        "an image, of path, label and probability, separated by tabs.",
        epilog="Example: craft-ray predict latest photos/ --top 3 --out labels.csv",
    )
    add_run_options(parser)
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGES",
        help="images, folders of images, or CSV tables with a column of paths",
    )
    parser.add_argument(
        "--top", type=positive, default=1, metavar="K", help="the K likeliest classes (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a .csv or .parquet file, made anew"
    )
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(options))


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What says which classifier, and how to load its model."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="name of a run, its folder or address, or `latest`: the newest one with a classifier",
    )
    parser.add_argument(
        "--output-dir", default="runs", metavar="DIR", help="where runs are (default: runs)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="oracle.KEY=VALUE",
        help="another setting of the model than the run had, such as oracle.precision=fp32 or "
        "oracle.pretrained=/path/to/weights.pt; its weights must be the same",
    )


def load_predictor(options: argparse.Namespace) -> tuple[Predictor, str]:
    """The classifier that was named, with its model; and the name of its run.

    Raises:
        UserError: there is none, or its model cannot be loaded or is another one.
    """
    from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
    from craft_ray.files.remote import locate
    from craft_ray.inference.predictor import Predictor
    from craft_ray.inference.runs import find_classifier

    folder = find_classifier(options.run, locate(options.output_dir))
    artifact = Artifact.load(folder)
    config = load_oracle_config(artifact.oracle, options.set)
    note(f"Loading {config.model} ...")
    name = folder.parent.name if folder.name == RESULT_FOLDER else folder.name
    return Predictor.load(artifact, config), name


def note(text: str) -> None:
    """A line beside the output."""
    print(text, file=sys.stderr, flush=True)


def tell_unreadable(unreadable: Sequence[str], num_readable: int) -> None:
    """Name images that were passed over.

    Raises:
        DataError: there was no other.
    """
    for reason in unreadable[:NAMED_AT_MOST]:
        note(f"not read: {reason}")
    if len(unreadable) > NAMED_AT_MOST:
        note(f"not read: {len(unreadable) - NAMED_AT_MOST:,} more")
    if not num_readable:
        raise DataError(f"none of {len(unreadable):,} images could be read")


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from craft_ray.data.progress import image_progress
    from craft_ray.inference.images import images_at
    from craft_ray.inference.output import columns, open_table, rows_of

    items = images_at(options.images)
    num_rows = 0
    unreadable: list[str] = []
    # Before the model is loaded: a name that cannot be written is known at once.
    with open_table(options.out, sys.stdout) as table:
        predictor, _ = load_predictor(options)
        top = min(options.top, len(predictor.class_names))
        with image_progress(Console(stderr=True, emoji=False), "labelling", len(items)) as advance:
            for batch in predictor.predict(items):
                rows = rows_of(batch, predictor.class_names, top)
                table.write(columns(top), rows)
                num_rows += len(rows)
                unreadable += batch.unreadable
                advance(len(rows) + len(batch.unreadable))
        tell_unreadable(unreadable, num_rows)
    asked = num_rows * predictor.predictions_per_image
    where = f" in {options.out}" if options.out else ""
    note(f"{num_rows:,} images labelled{where}, for {asked:,} image predictions.")
