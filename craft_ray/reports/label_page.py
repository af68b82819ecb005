"""The page of labels that look wrong: one picture beside the other, to be looked through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from craft_ray.data.label_check import LabelCheck, WrongLabel
from craft_ray.reports.page import card, dim, page, section, table
from craft_ray.reports.sheet import STYLE, common_folder, picture, sheet, within

MOST_PAIRS = 15


def label_page(name: str, model: str, check: LabelCheck, pictures: Sequence[str]) -> str:
    """The whole document.

    Args:
        name: of the data set.
        model: that was asked.
        check: what it said.
        pictures: of the first images, addresses that hold the pictures themselves; empty where one
            is gone.
    """
    title = f"Labels that look wrong in {name}"
    return page(title, _body(title, model, check, pictures))


def _body(title: str, model: str, check: LabelCheck, pictures: Sequence[str]) -> Iterator[str]:
    yield STYLE
    yield f"<h1>{escape(title)}</h1>"
    yield dim(
        f"The model {model} was asked about each image, and a classifier was fitted to the labels: "
        "every image is judged by one that was not fitted to it. It is often wrong itself, so look "
        "at each image before you change its label."
    )
    yield '<div class="cards">'
    yield card(f"{len(check.wrong):,}", "labels that look wrong")
    yield card(f"{check.num_asked:,}", f"of {check.num_images:,} images were looked at")
    yield "</div>"
    if check.left_out:
        yield dim(f"Not looked at: {'; '.join(check.left_out)}.")
    if not check.wrong:
        yield "<p>No label looks wrong.</p>"
        return
    yield section("Images, the surest first")
    if len(pictures) < len(check.wrong):
        yield dim(f"The first {len(pictures):,} of them.")
    folder = common_folder([each.image for each in check.wrong])
    if folder:
        yield dim(f"All of them are in {folder}/")
    figures = [
        _figure(each, source, within(folder, each.image))
        for each, source in zip(check.wrong, pictures, strict=False)
    ]
    yield sheet(figures)
    yield section("What is labelled as what", "The most frequent pairs.")
    pairs = Counter((each.label, each.looks_like) for each in check.wrong).most_common(MOST_PAIRS)
    rows = [(escape(label), escape(like), f"{count:,}") for (label, like), count in pairs]
    yield table(("label", "looks like", "images"), rows, left=2)


def _figure(wrong: WrongLabel, source: str, path: str) -> str:
    return (
        f'<figure title="{escape(wrong.image)}">{picture(source)}<figcaption>'
        f'<span class="dim">is labelled</span> {escape(wrong.label)}<br>'
        f'<span class="dim">looks like</span> <b>{escape(wrong.looks_like)}</b> '
        f'<span class="dim">{wrong.confidence:.0%}</span>'
        f'<span class="dim path">{escape(path)} ({wrong.split})</span></figcaption></figure>'
    )
