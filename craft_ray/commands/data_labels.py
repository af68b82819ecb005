"""`craft-ray data check --labels`: a model is asked which labels look wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.commands.asked_model import counted, note
from craft_ray.commands.common import path_argument, positive
from craft_ray.commands.planned_bill import PlannedBill
from craft_ray.commands.shorthand import (
    Asked,
    about_model,
    add_model_options,
    check_given_once,
    model_words,
)
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.loading import load_run_config
from craft_ray.config.money import billed_money, money
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from craft_ray.classifiers.label_issues import LabelIssue
    from craft_ray.data.dataset import Dataset
    from craft_ray.data.label_check import LabelCheck
    from craft_ray.inference.label_check import ChosenImages, Placed

OPTIONS = ("sheet", "images_a_class", "model", "endpoint", "dialect", "key_env", "budget")
"""That mean nothing without --labels, as argparse names them."""
SETTINGS = (
    *("head.names", "head.vocabulary", "head.folds", "data.template", "seed", "output_dir"),
    *("price_per_thousand_predictions", "max_cost"),
)
"""That may be typed beside those of the model, `oracle.KEY`."""


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
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or not (key.split(".")[0] == "oracle" or key in SETTINGS):
            known = f"data.source.KEY, oracle.KEY, {', '.join(SETTINGS)}"
            raise ConfigError("command line", [f"must be KEY=VALUE of {known}, but got {word!r}"])
    meant = list(model_words(options))
    check_given_once(meant, words)
    config = load_run_config(DEFAULT_RUN, [*meant, *words])
    if options.sheet is not None:
        from craft_ray.inference.label_sheet import check_sheet

        check_sheet(options.sheet)
    from craft_ray.oracle.usable import check_usable

    check_usable(config)
    for line in about_model(Asked(None, str(options.source), [*meant, *words])):
        note(line)
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
    from craft_ray.oracle.loaded import load_here

    names = names_asked(config, dataset, chosen)
    num_images = len(chosen.images)
    _tell_cost(config, num_images, len(names))
    place = Path(config.output_dir) if "://" not in config.output_dir else Path("runs")
    oracle = load_here(config.oracle, place, config.max_cost)
    task = ClassificationTask(names, config.data.template)
    with image_progress(console, "asking", num_images) as advance:
        logits_NF = ask(oracle, task, chosen, advance)
    if (bill := getattr(oracle, "bill", None)) is not None:
        note(bill.sentence())
    note(f"Fitting a head to {num_images:,} images of {len(chosen.classes):,} classes ...")
    return find_wrong(logits_NF, chosen, getattr(config.head, "folds", 5), config.seed)


def _tell_cost(config: RunConfig, num_images: int, num_names: int) -> None:
    """Raises:
    ConfigError: it may cost more than the budget.
    """
    model = config.oracle.model or "the endpoint"
    images = counted(num_images, "image")
    text = f"Labels: asking {model} about {images}, 1 prediction each with {num_names:,} names"
    if isinstance(config.oracle, EndpointConfig):
        from craft_ray.metering.planned_bill import asker_of, cost

        units = asker_of(config.oracle).about([num_images], num_names)
        may_cost = cost(units, config.oracle)
        amount = billed_money(may_cost, config.oracle.prices.currency)
        note(f"{text}.")
        note(PlannedBill(units, config.oracle).line())
    else:
        price = config.price_per_thousand_predictions
        may_cost = num_images / 1000 * (price or 0)
        amount = money(may_cost)
        note(f"{text}: costs {amount}." if price else f"{text}.")
    if config.max_cost is not None and may_cost > config.max_cost:
        problem = f"must pay for asking about the labels, which may cost {amount}, but got "
        problem += f"{config.max_cost:g}: a smaller --images-a-class or head.names costs less"
        raise ConfigError("max_cost (--budget)", [problem])
