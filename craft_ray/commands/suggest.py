"""`craft-ray suggest`: which images of an unlabelled folder to label."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from craft_ray.commands.as_json import print_json
from craft_ray.commands.asked_model import note
from craft_ray.commands.asking_once import SETTINGS, asked_config, metered, tell_cost
from craft_ray.commands.common import exit_with, path_argument, positive, tell_notes
from craft_ray.commands.intermixed import IntermixedParser
from craft_ray.commands.shorthand import add_model_options, typed_flags
from craft_ray.errors import ConfigError, RunInterruptedError

if TYPE_CHECKING:
    from craft_ray.config.run import RunConfig
    from craft_ray.inference.images import ImagesAt
    from craft_ray.inference.suggestion import Labelled, Pool, Suggested

LABELS = 40
ALL_OF_A_TABLE = ("data.shots=all", "data.validation=none")
"""What trains with every label of a table of `--out`, of which no image is for validation."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)

    def command() -> None:
        try:
            _run(options)
        except KeyboardInterrupt as error:
            raise RunInterruptedError("suggest was stopped, and wrote nothing") from error

    return exit_with(command)


def _parser() -> argparse.ArgumentParser:
    parser = IntermixedParser(
        prog="craft-ray suggest",
        description="Name the images of an unlabelled folder whose labels are worth most: typical "
        "ones that differ from each other. A model is asked about each image once.",
        epilog="Example: craft-ray suggest photos/ --labels 40 --model ViT-B-32/openai "
        "--out labels.csv --sheet photos.html",
    )
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="IMAGES | key=value",
        help="images, folders of images, or tables with a column of paths; and settings of the "
        f"model, oracle.KEY, or of {', '.join(SETTINGS)}",
    )
    parser.add_argument(
        "--labels",
        type=positive,
        default=LABELS,
        metavar="N",
        help="so many images are named (default: %(default)s)",
    )
    parser.add_argument(
        "--labelled",
        type=path_argument,
        metavar="PLACE",
        help="what is labelled already: the table of --out with some labels filled in, or a folder "
        "of class folders; images like these are not named again, and one whose label is - is "
        "left out for good",
    )
    parser.add_argument(
        "--out",
        type=path_argument,
        metavar="FILE.csv",
        help="write a table path,label,split to be filled in, for train and tune; labels of "
        "--labelled come first. A label of - says that an image is of no class, or that nobody can "
        "tell: it is not learned from, and with --labelled not named again",
    )
    parser.add_argument(
        "--sheet",
        type=path_argument,
        metavar="FILE.html",
        help="write a page with the pictures",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it may cost at most; ask nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_model_options(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    places, settings = _places_and_settings(options.settings)
    config = asked_config(options, settings, places[0], SETTINGS)
    from craft_ray.inference.images import ImagesAt
    from craft_ray.inference.suggestion import labelled_so_far, names_asked
    from craft_ray.inference.suggestion_files import check_out, check_sheet

    labelled = [] if options.labelled is None else labelled_so_far(options.labelled)
    if options.out is not None:
        check_out(options.out, options.labelled)
    if options.sheet is not None:
        check_sheet(options.sheet)
    names_asked(config)
    images = ImagesAt([path_argument(place) for place in places])
    tell_notes(images.notes)
    if options.dry_run:
        _tell(config, len(images) + len(labelled))
        return
    pool, suggested = _suggest(config, images, labelled, options.labels)
    _write(options, places, config, labelled, suggested)
    if options.json:
        print_json(_document(pool, suggested), indent=2)
    else:
        _show(pool, suggested)
        _tell_next(options, settings)


def _places_and_settings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Raises:
    ConfigError: no word is a place.
    """
    places = [word for word in words if _is_place(word)]
    if not places:
        raise ConfigError("IMAGES", ["must say where images are, but there is none"])
    return places, [word for word in words if word not in places]


def _is_place(word: str) -> bool:
    return "=" not in word or os.path.exists(word)  # False of what is too long for a path


def _tell(config: RunConfig, num_images: int) -> None:
    from craft_ray.inference.suggestion import names_asked

    num_names = len(names_asked(config))
    remedy = f"fewer IMAGES {'or a smaller head.names ' * (num_names > 0)}cost less"
    tell_cost(config, "Suggestions", num_images, num_names, remedy)


def _suggest(
    config: RunConfig, images: ImagesAt, labelled: Sequence[Labelled], budget: int
) -> tuple[Pool, list[Suggested]]:
    from rich.console import Console

    from craft_ray.data.progress import image_progress
    from craft_ray.inference.suggestion import ask, gather, suggest

    console = Console(stderr=True, emoji=False)
    with image_progress(console, "reading", len(images) + len(labelled)) as advance:
        pool = gather(images, labelled, advance)
    _tell(config, len(pool.items))
    with metered(config) as oracle, image_progress(console, "asking", len(pool.items)) as advance:
        answers_NF = ask(oracle, config, pool, advance)
    num_left = len(pool.items) - len(pool.known)
    note(f"Choosing {min(budget, num_left):,} of {num_left:,} images ...")
    return pool, suggest(answers_NF, pool, budget, config)


def _write(
    options: argparse.Namespace,
    places: Sequence[str],
    config: RunConfig,
    labelled: Sequence[Labelled],
    suggested: Sequence[Suggested],
) -> None:
    from craft_ray.inference.suggestion_files import write_sheet, write_table

    if options.out is not None:
        write_table(options.out, labelled, suggested)
    if options.sheet is not None:
        write_sheet(options.sheet, ", ".join(places), str(config.oracle.model), suggested)


def _show(pool: Pool, suggested: Sequence[Suggested]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from craft_ray.reports.suggestion_page import STANDS_FOR

    console = Console(emoji=False)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("stands for", justify="right")
    for number, each in enumerate(suggested, start=1):
        table.add_row(str(number), escape(str(each.path)), f"{each.stands_for:,}")
    console.print(table)
    console.print(f"stands for: {STANDS_FOR}.", highlight=False, markup=False)
    known = f", {len(pool.known):,} of which are labelled" if pool.known else ""
    console.print(
        f"{len(suggested):,} of {len(pool.items):,} images{known}.", highlight=False, markup=False
    )
    if pool.left_out:
        console.print(f"Left out: {'; '.join(pool.left_out)}.", highlight=False, markup=False)


def _tell_next(options: argparse.Namespace, settings: Sequence[str]) -> None:
    if options.sheet is not None:
        note(f"Sheet: {options.sheet}")
    if options.out is None:
        return
    words = [str(options.out), *ALL_OF_A_TABLE, *settings, *typed_flags(options)]
    note(f"Fill in the column label of {options.out} (- for an image of no class), then type:")
    note(f"  craft-ray train {shlex.join(words)}")
    note("If a class is on none of these images, add data.more_classes=[NAME, ...].")


def _document(pool: Pool, suggested: Sequence[Suggested]) -> dict[str, Any]:
    return {
        "num_images": pool.num_images,
        "num_asked": len(pool.items),
        "num_labelled": len(pool.known),
        "left_out": list(pool.left_out),
        "images": [{"path": str(each.path), "stands_for": each.stands_for} for each in suggested],
    }
