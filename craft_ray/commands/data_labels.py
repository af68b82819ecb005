"""`craft-ray data check --labels`: a model is asked which labels look wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from craft_ray.commands.asked_model import note
from craft_ray.commands.asking_once import SETTINGS, asked_config, metered, tell_cost
from craft_ray.commands.common import path_argument, positive
from craft_ray.commands.shorthand import add_model_options
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from craft_ray.classifiers.label_issues import LabelIssue
    from craft_ray.data.dataset import Dataset
    from craft_ray.data.label_check import LabelCheck
    from craft_ray.inference.label_check import ChosenImages, Placed

OPTIONS = ("sheet", "images_a_class", "model", "endpoint", "dialect", "key_env", "budget")
"""That mean nothing without --labels, as argparse names them."""
KNOWN = (*SETTINGS, "head.folds")
"""Settings that may be typed beside those of the model."""


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """What says that labels are looked at, and by which model."""
    parser.add_argument(
        "--labels",
        action="store_true",
        help="also ask a model which labels look wrong: one prediction an image",
    )
    parser.add_argument(
        "--sheet",
        type=path_argument,
        metavar="FILE.html",
        help="with --labels: also write a page with these images",
    )
    parser.add_argument(
        "--images-a-class",
        type=positive,
        metavar="N",
        help="with --labels: look at no more images of a class (default: 100, and fewer where "
        "there are more than 20 classes)",
    )
    add_model_options(parser)


def label_settings(options: argparse.Namespace, words: Sequence[str]) -> RunConfig | None:
    """Which model is asked, and how; None: without --labels. Everything that can be wrong with it
    is found here, before an image is read.

    Args:
        options: of the command line.
        words: settings `key=value` that are not of the source.

    Raises:
        UserError: an option or a setting breaks a law, or the model cannot be asked.
    """
    if not options.labels:
        for name in OPTIONS:
            if getattr(options, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(option, ["must be given with --labels, but there is none"])
        for word in words:
            problem = f"must be data.source.KEY=VALUE without --labels, got {word!r}"
            raise ConfigError("command line", [problem])
        return None
    config = asked_config(options, words, str(options.source), KNOWN, also=("data.source.KEY",))
    if options.sheet is not None:
        from craft_ray.inference.label_sheet import check_sheet

        check_sheet(options.sheet)
    return config


def look_at_labels(options: argparse.Namespace, config: RunConfig, dataset: Dataset) -> LabelCheck:
    """Ask the model, and write the sheet if one is wanted. What is asked is said before.

    Raises:
        UserError: it costs more than the budget, or the model fails.
    """
    from rich.console import Console

    from craft_ray.data.progress import image_progress
    from craft_ray.inference.label_check import as_check, choose_images, default_per_class

    console = Console(stderr=True, emoji=False)
    per_class = options.images_a_class or default_per_class(len(dataset.class_names))
    total = sum(len(items) for items in dataset.splits.values())
    with image_progress(console, "choosing", total) as advance:
        chosen = choose_images(dataset, per_class, config.seed, advance)
    issues = _ask(config, dataset, chosen, console)
    check = as_check(issues, dataset, chosen)
    if options.sheet is not None:
        from craft_ray.inference.label_sheet import write_sheet

        write_sheet(options.sheet, dataset, config, check, issues)
        note(f"Sheet: {options.sheet}")
    return check


def _ask(
    config: RunConfig, dataset: Dataset, chosen: ChosenImages, console: Console
) -> list[LabelIssue[Placed]]:
    from craft_ray.data.progress import image_progress
    from craft_ray.inference.label_check import ask, find_wrong, names_asked
    from craft_ray.oracle.contract import ClassificationTask

    names = names_asked(config, dataset, chosen)
    num_images = len(chosen.images)
    remedy = "a smaller --images-a-class or head.names costs less"
    tell_cost(config, "Labels", num_images, len(names), remedy)
    task = ClassificationTask(names, config.data.template)
    with metered(config) as oracle, image_progress(console, "asking", num_images) as advance:
        logits_NF = ask(oracle, task, chosen, advance)
    note(f"Fitting a head to {num_images:,} images of {len(chosen.classes):,} classes ...")
    return find_wrong(logits_NF, chosen, getattr(config.head, "folds", 5), config.seed)
