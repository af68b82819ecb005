"""What the pages of a run and of an evaluation have in common: classes, confusions, confidence and
the surest mistakes, of one classifier or of one beside the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from craft_ray.classifiers.confusion import ClassEvaluation, ConfidenceBin, CountArray
from craft_ray.reports.charts import change, reliability
from craft_ray.reports.page import dim, folded, section, share, table

MOST_CLASSES_IN_A_MATRIX = 30
MOST_CONFUSIONS = 20
MOST_CLASSES_DRAWN = 100
MOST_CLASSES_SHOWN = 30
"""Of a longer table the rest is folded away."""


@dataclass(frozen=True)
class Examined:
    """What one classifier did on labelled images.

    Attributes:
        name: of the classifier, for a reader.
        classes: in the task's order.
        confusion_CC: rows are true classes.
        bins: of confidence.
    """

    name: str
    classes: Sequence[ClassEvaluation]
    confusion_CC: CountArray
    bins: Sequence[ConfidenceBin | None]


@dataclass(frozen=True)
class Picture:
    """A mistake.

    Attributes:
        source: address that holds the picture itself; empty if the image is gone.
        name: of the image.
        said: the class that was said, and its probability.
        probability: of that.
        true: the class that it has.
    """

    source: str
    name: str
    said: str
    probability: float
    true: str


def results_on_images(
    examined: Examined, before: Examined | None, mistakes: Sequence[Picture]
) -> Iterator[str]:
    """All sections.

    Args:
        examined: the classifier that the page is about.
        before: another one on the same images, such as zero-shot.
        mistakes: the surest ones first.
    """
    yield section("Classes, the worst first", _about_classes(before))
    yield _classes(examined, before)
    yield section("What is taken for what")
    yield from _confusions([each for each in (before, examined) if each is not None])
    yield section(
        "How sure, and how often right",
        "A bar is the share of right answers among those that were given with this probability; "
        "the dashed line is what it should be: where a bar ends below it, the classifier is too "
        "sure. Pale bars stand on few images.",
    )
    yield '<div class="pair">'
    for each in (before, examined):
        if each is not None:
            css = "var(--main)" if each is examined else "var(--zero)"
            title = f"<h3>{escape(each.name)}</h3>" if before is not None else ""
            yield f'<div class="small-chart">{title}{reliability(each.bins, css)}</div>'
    yield "</div>"
    yield section("The surest mistakes")
    yield _mistakes(mistakes)


def _about_classes(before: Examined | None) -> str:
    words = (
        "Recall: share of the images of a class that are recognised. Precision: share of what is "
        "said to be of a class that is."
    )
    return words if before is None else f"{words} Before: the recall of {before.name}."


def _classes(examined: Examined, before: Examined | None) -> str:
    head = ["class", "images", "recall", "precision"]
    earlier: Sequence[ClassEvaluation | None] = [None] * len(examined.classes)
    if before is not None:
        head, earlier = ["class", "images", "before", "recall", "precision"], before.classes
    pairs = [
        (each, old)
        for each, old in zip(examined.classes, earlier, strict=True)
        if each.images or each.predicted
    ]
    pairs.sort(key=lambda pair: 2.0 if pair[0].recall is None else pair[0].recall)
    is_drawn = len(pairs) <= MOST_CLASSES_DRAWN
    if is_drawn:
        head.append("recall, 0 to 100 %" if before is None else "recall, from ○ to ●")
    rows = []
    for each, old in pairs:
        cells = [escape(each.name), f"{each.images:,}", share(each.recall), share(each.precision)]
        if old is not None:
            cells.insert(2, f'<span class="dim">{share(old.recall)}</span>')
        if is_drawn:
            cells.append(change(None if old is None else old.recall, each.recall))
        rows.append(cells)
    if len(rows) <= MOST_CLASSES_SHOWN * 4 // 3:
        return table(head, rows)
    first, rest = rows[:MOST_CLASSES_SHOWN], rows[MOST_CLASSES_SHOWN:]
    return table(head, first) + folded(f"{len(rest):,} more classes", table(head, rest))


def _confusions(all_examined: Sequence[Examined]) -> Iterator[str]:
    """Matrices, or of many classes the most frequent confusions."""
    is_small = len(all_examined[0].classes) <= MOST_CLASSES_IN_A_MATRIX
    if is_small:
        yield dim("Rows: true classes. Columns: what was said. Numbers are images.")
    yield '<div class="pair">'
    for each in all_examined:
        title = f"<h3>{escape(each.name)}</h3>" if len(all_examined) > 1 else ""
        yield f"<div>{title}{_matrix(each) if is_small else _most_frequent(each)}</div>"
    yield "</div>"


def _matrix(examined: Examined) -> str:
    names = [each.name for each in examined.classes]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for row, (name, values) in enumerate(zip(names, examined.confusion_CC.tolist(), strict=True)):
        total = max(sum(values), 1)
        cells = "".join(
            f'<td style="background: rgba(var(--{"good" if row == column else "bad"}), '
            f'{0.75 * value / total:.2f})">{value}</td>'
            if value
            else "<td></td>"
            for column, value in enumerate(values)
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return (
        f'<div class="wide"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _most_frequent(examined: Examined) -> str:
    names, confusion_CC = [each.name for each in examined.classes], examined.confusion_CC
    pairs = [
        (-int(confusion_CC[row, column]), row, column)
        for row, column in zip(*map(list, confusion_CC.nonzero()), strict=True)
        if row != column
    ]
    return table(
        ["true class", "said", "images"],
        [
            [escape(names[row]), escape(names[column]), f"{-images:,}"]
            for images, row, column in sorted(pairs)[:MOST_CONFUSIONS]
        ],
        left=2,
    )


def _mistakes(mistakes: Sequence[Picture]) -> str:
    if not mistakes:
        return "<p>None: every image was labelled rightly.</p>"
    figures = []
    for each in mistakes:
        picture = (
            f'<img class="picture" alt="" src="{each.source}">'
            if each.source
            else '<span class="picture"></span>'
        )
        figures.append(
            f'<figure title="{escape(each.name)}">{picture}<figcaption>'
            f'{escape(each.said)} <span class="dim">{each.probability:.0%}</span><br>'
            f'<span class="dim">is</span> <b>{escape(each.true)}</b></figcaption></figure>'
        )
    note = "What was said, with which probability, and in bold what it is."
    return f'{dim(note)}<div class="grid">{"".join(figures)}</div>'
