"""`craft-ray evaluate`: how good a run's classifier is on labelled images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.commands.as_json import print_json
from craft_ray.commands.asked_model import (
    FIRST_LINE,
    add_run_options,
    counted,
    find_asked,
    note,
    open_predictor,
    price_line,
    tell_unreadable,
)
from craft_ray.commands.common import exit_with, path_argument, tell_notes

if TYPE_CHECKING:
    from craft_ray.inference.evaluation import EvaluationCount


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray evaluate",
        description="Accuracy of the classifier that a run has found on labelled images, with a "
        "95 % interval, and recall and precision of each class.",
        epilog="Example: craft-ray evaluate latest labelled/",
    )
    add_run_options(parser)
    parser.add_argument(
        "labelled",
        type=path_argument,
        metavar="LABELLED",
        help="a tree of class folders, LABELLED/<class>/<image>, with classes of the run; or a CSV "
        "or Parquet table with columns path (or image) and label",
    )
    parser.add_argument(
        "--report",
        type=path_argument,
        metavar="FILE.html",
        help="also write a page of one file: classes, confusions, calibration, surest mistakes",
    )
    parser.add_argument(
        "--label-issues",
        type=path_argument,
        metavar="FILE.csv",
        help="also write the images whose label may be wrong, with the class that they may be of",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    note(FIRST_LINE)  # the libraries below take seconds to load
    from rich.console import Console

    from craft_ray.data.progress import image_progress
    from craft_ray.data.sources.image_names import PassedOver
    from craft_ray.inference.evaluation import EvaluationCount
    from craft_ray.inference.labelled import are_predictions, labelled_items
    from craft_ray.inference.out_file import check_file
    from craft_ray.inference.report import check_report, write_report
    from craft_ray.inference.shown import show_evaluation
    from craft_ray.task.trained_on import digests, read_training_images

    if options.report is not None:
        check_report(options.report)
    if options.label_issues is not None:
        check_file("--label-issues", options.label_issues, [".csv"])

    asked = find_asked(options)
    passed_over = PassedOver()
    items = labelled_items(options.labelled, asked.artifact.task.class_names, passed_over)
    tell_notes(passed_over.notes())
    if are_predictions(options.labelled):
        note(
            f"warning: {options.labelled} is what craft-ray predict writes: its labels are "
            "predictions unless they were corrected, and agreeing with them is no accuracy"
        )
    note(price_line(asked, options.price, len(items)))
    count = EvaluationCount(asked.artifact.task.class_names)
    unreadable: list[str] = []
    trained_on = read_training_images(asked.run_folder) if asked.run_folder else frozenset()
    num_trained_on = 0
    console = Console(stderr=True, emoji=False)
    with (
        open_predictor(asked, options.replicas) as predictor,
        image_progress(console, "asking", len(items)) as advance,
    ):
        for batch in predictor.predict(items):
            count.add(batch.logits_NC, batch.items)
            unreadable += batch.unreadable
            if trained_on:
                num_trained_on += sum(each in trained_on for each in digests(batch.items))
            advance(len(batch.items) + len(batch.unreadable))
    tell_unreadable(unreadable, count.num_images)
    if num_trained_on:
        note(
            f"warning: {num_trained_on:,} of {counted(count.num_images, 'image')} "
            f"{'is' if num_trained_on == 1 else 'are'} among those that the run was trained on: "
            "the accuracy is better than on others"
        )
    evaluation = count.evaluation
    if options.json:
        print_json(asdict(evaluation), indent=2)
    else:
        show_evaluation(evaluation, Console(file=sys.stdout, emoji=False))
    if options.report is not None:
        command = _again(options, asked.name)
        write_report(options.report, asked.name, options.labelled, predictor, count, command)
        note(f"Report: {options.report}")
    _tell_label_issues(count, options.label_issues)
    asked_for = count.num_images * predictor.predictions_per_image
    note(f"{counted(asked_for, 'image prediction')}.")


def _tell_label_issues(count: EvaluationCount, path: Path | None) -> None:
    from craft_ray.inference.issue_table import write_issues

    issues = count.label_issues
    if path is not None:
        write_issues(path, issues, count.class_names)
        note(f"{len(issues):,} labels may be wrong: {path}")
    elif issues:
        note(f"{len(issues):,} labels may be wrong; --label-issues FILE.csv names them")


def _again(options: argparse.Namespace, name: str) -> list[str]:
    """The command that was typed; with the name of its run for `latest`, which soon is another."""
    from craft_ray.inference.runs import LATEST

    words = ["craft-ray", "evaluate", name if options.run == LATEST else options.run]
    words.append(str(options.labelled))
    if options.output_dir != "runs":
        words += ["--output-dir", options.output_dir]
    for setting in options.set:
        words += ["--set", setting]
    if options.replicas is not None:
        words += ["--replicas", str(options.replicas)]
    return [*words, "--report", options.report.name]
