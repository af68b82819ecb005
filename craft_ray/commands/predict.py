"""`craft-ray predict`: labels for new images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.commands.asked_model import (
    FIRST_LINE,
    Asked,
    add_run_options,
    counted,
    find_asked,
    note,
    open_predictor,
    price_line,
    tell_unreadable,
)
from craft_ray.commands.common import exit_with, path_argument, positive, tell_notes
from craft_ray.errors import ConfigError, RunInterruptedError

if TYPE_CHECKING:
    from craft_ray.inference.images import ImagesAt
    from craft_ray.inference.parts import Parts
    from craft_ray.inference.predictor import Predictor


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
        type=path_argument,
        metavar="IMAGES",
        help="images, folders of images, CSV tables with a column of paths, or Parquet files with "
        "a column of paths or of images",
    )
    parser.add_argument(
        "--top", type=positive, default=1, metavar="K", help="the K likeliest classes (default: 1)"
    )
    parser.add_argument(
        "--out",
        type=path_argument,
        metavar="FILE",
        help="a .csv or .parquet file, made anew; it appears when it is whole, and what was "
        "answered until then is kept beside it",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a FILE whose making was cut short, and ask nothing again",
    )
    options = parser.parse_args(arguments)
    if options.resume and options.out is None:
        parser.error("--resume needs --out FILE")
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    from craft_ray.inference.out_file import LABEL_KINDS, check_file

    if options.out is not None:  # known at once
        check_file("--out", options.out, LABEL_KINDS)
    note(FIRST_LINE)  # the libraries below take seconds to load
    from craft_ray.inference.images import ImagesAt
    from craft_ray.inference.parts import folder_of_parts

    is_whole = options.out is not None and options.out.exists()
    if options.resume and is_whole and not folder_of_parts(options.out).exists():
        note(
            f"{options.out} is whole: nothing is left to ask (nothing was compared; without "
            "--resume it is made anew)"
        )
        return
    images = ImagesAt(options.images)
    tell_notes(images.notes)
    asked = find_asked(options)
    if options.out is None:
        _print(options, asked, images)
    else:
        _write(options, asked, images)


def _print(options: argparse.Namespace, asked: Asked, images: ImagesAt) -> None:
    from craft_ray.inference.output import columns, on_screen, rows_of

    note(price_line(asked, options.price, len(images)))
    top = min(options.top, len(asked.artifact.task.class_names))
    table, num_rows = on_screen(sys.stdout), 0
    unreadable: list[str] = []
    # Rows in a terminal are the progress: a bar would stand in the middle of them.
    bar = nullcontext(lambda _: None) if sys.stdout.isatty() else _progress(len(images))
    with open_predictor(asked, options.replicas) as predictor, bar as advance:
        for batch in predictor.predict(images):
            rows = rows_of(batch, predictor.class_names, top)
            table.write(columns(top), rows)
            num_rows += len(rows)
            unreadable += batch.unreadable
            advance(len(rows) + len(batch.unreadable))
    tell_unreadable(unreadable, num_rows)
    note(_done(predictor, num_rows, ""))


def _write(options: argparse.Namespace, asked: Asked, images: ImagesAt) -> None:
    from craft_ray.inference.output import columns, rows_of
    from craft_ray.inference.parts import Parts

    top = min(options.top, len(asked.artifact.task.class_names))
    request = _request(asked, top, options.images)
    parts = Parts(options.out, request, columns(top), resume=options.resume)
    known = parts.num_images
    if known > len(images):
        raise ConfigError("--resume", [f"IMAGES must be at least {known:,}, but got {len(images)}"])
    left = parts.left(images)
    before = f"{known:,} images are labelled already; " if known else ""
    note(before + price_line(asked, options.price, len(images) - known))
    unreadable, num_rows = parts.unreadable, known - len(parts.unreadable)
    asked_now = 0
    with _kept(parts, options), open_predictor(asked, options.replicas) as predictor:
        with _progress(len(images), known) as advance:
            for batch in predictor.predict(left):
                rows = rows_of(batch, predictor.class_names, top)
                parts.add(batch.given, rows, batch.unreadable)
                num_rows += len(rows)
                asked_now += len(rows)
                unreadable += batch.unreadable
                advance(len(batch.given))
        if not num_rows:
            parts.discard()
        tell_unreadable(unreadable, num_rows)
        parts.finish()
    note(_done(predictor, asked_now, f" in {options.out}" if not known else ""))
    if known:
        note(f"{options.out} has {num_rows:,} rows.")


def _request(asked: Asked, top: int, places: Sequence[Path]) -> dict[str, Any]:
    """What labels depend on besides the names of the images: a row of a Parquet file has only a
    number for a name, whatever the file holds now."""
    tables = [place for place in places if place.suffix.lower() == ".parquet"]
    return {
        "tables": [[place.stat().st_size, place.stat().st_mtime_ns] for place in tables],
        "classifier": asked.artifact.content_id,
        "oracle": asked.config.model_dump(mode="json"),
        "top": top,
    }


@contextmanager
def _kept(parts: Parts, options: argparse.Namespace) -> Iterator[None]:
    """Tell who is cut short how to go on.

    Raises:
        RunInterruptedError: in place of Ctrl-C, if there is something to go on from.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        parts.keep()
        if not parts.num_images:
            raise
        raise RunInterruptedError(
            f"{parts.num_images:,} images are labelled; the same command with --resume goes on"
        ) from error
    except Exception:  # a pool that is lost, say: what was paid for stays
        parts.keep()
        raise
    finally:
        parts.abandon_if_empty()


@contextmanager
def _progress(total: int, known: int = 0) -> Iterator[Any]:
    from rich.console import Console

    from craft_ray.data.progress import image_progress

    with image_progress(Console(stderr=True, emoji=False), "labelling", total) as advance:
        advance(known)
        yield advance


def _done(predictor: Predictor, num_images: int, where: str) -> str:
    asked = num_images * predictor.predictions_per_image
    said = f"{counted(num_images, 'image')} labelled{where}"
    return f"{said}, for {counted(asked, 'image prediction')}."
