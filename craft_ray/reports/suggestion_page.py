"""The page of images that are worth a label, in the order of the table that is filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from craft_ray.reports.page import dim, page
from craft_ray.reports.sheet import STYLE, common_folder, picture, sheet, within

STANDS_FOR = (
    "images in its cluster, which look alike to the model, itself among them; several images of "
    "one cluster have the same number"
)
"""What `stands for` means."""


@dataclass(frozen=True)
class Shown:
    """A suggested image.

    Attributes:
        path: of its file.
        stands_for: images in its cluster, itself among them.
        picture: an address that holds a small picture of it; empty where it is gone.
    """

    path: str
    stands_for: int
    picture: str


def suggestion_page(place: str, model: str, number: int, shown: Sequence[Shown]) -> str:
    """The whole document.

    Args:
        place: where the images are.
        model: that was asked.
        number: of images that are suggested.
        shown: the first of them, in order.
    """
    title = f"Images of {place} to label"
    return page(title, _body(title, model, number, shown))


def _body(title: str, model: str, number: int, shown: Sequence[Shown]) -> Iterator[str]:
    yield STYLE
    yield f"<h1>{escape(title)}</h1>"
    yield dim(
        f"These {number:,} images were chosen by what the model {model} sees in all of them: they "
        "are typical and differ from each other, and the first ones stand for most images. Their "
        "numbers are those of the lines without a label in the table. An image of no class, or of "
        "one that you cannot tell, may stay without a label; with - as its label it is not named "
        "again."
    )
    yield dim(f"Stands for: {STANDS_FOR}.")
    if len(shown) < number:
        yield dim(f"Shown are the first {len(shown):,} of them.")
    folder = common_folder([each.path for each in shown])
    if folder:
        yield dim(f"All of them are in {folder}/")
    yield sheet(_figure(place, each, folder) for place, each in enumerate(shown, start=1))


def _figure(number: int, shown: Shown, folder: str) -> str:
    return (
        f'<figure title="{escape(shown.path)}">{picture(shown.picture)}<figcaption>'
        f'<b>{number}</b> <span class="dim">stands for {shown.stands_for:,}</span>'
        f'<span class="dim path">{escape(within(folder, shown.path))}</span></figcaption></figure>'
    )
