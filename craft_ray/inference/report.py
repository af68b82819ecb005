"""An evaluation as a page: one file without scripts and without anything from a network, readable
on a phone, in print, light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError, DataError
from craft_ray.files.whole_files import written_whole
from craft_ray.inference.evaluation import (
    ClassEvaluation,
    ConfidenceBin,
    Evaluation,
    EvaluationCount,
    Mistake,
)
from craft_ray.inference.predictor import Predictor

MOST_CLASSES_IN_A_MATRIX = 40
MOST_CONFUSIONS = 20
THUMBNAIL = 96
"""Pixels of a side."""
BAR_HEIGHT = 160
"""Units of the calibration's picture, which is as high as it is scaled."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: 46, 125, 50; --bad: 198, 40, 40; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.big { font-size: 2.6rem; font-weight: 600; line-height: 1.2; margin: .6rem 0; }
.dim { opacity: .7; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
td, th { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child { text-align: left; } th { font-weight: 600; }
.matrix td, .matrix th { padding: .2rem .35rem; font-size: .8rem; border: 1px solid var(--line); }
.matrix thead th { writing-mode: vertical-rl; text-align: left; }
.mistakes { display: grid; gap: .8rem; }
.mistakes { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
figure { margin: 0; font-size: .85rem; overflow-wrap: anywhere; }
img { width: 6rem; height: 6rem; object-fit: contain; background: #8882; }
svg { width: 100%; max-width: 34rem; } svg text { font-size: 9px; fill: currentColor; }
code { font-size: .9em; overflow-wrap: anywhere; }
@media print { body { margin: 0; } h2 { break-after: avoid; } tr, figure { break-inside: avoid; } }
"""


def check_report(path: Path) -> None:
    """That a page can be written there, before anything is asked for it.

    Raises:
        ConfigError: it cannot.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError("--report", [f"must end on .html, but got {path}"])
    if not path.parent.is_dir():
        raise ConfigError("--report", [f"{path.parent} must be a folder, but is missing"])


def write_report(
    path: Path, run: str, labelled: Path, predictor: Predictor, count: EvaluationCount
) -> None:
    """Write the page; it appears under its name when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    page = "".join(_page(run, labelled, predictor, count))
    try:
        with written_whole(path) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError("--report", [f"{path} cannot be written: {error}"]) from error


def _page(run: str, labelled: Path, predictor: Predictor, count: EvaluationCount) -> Iterator[str]:
    evaluation, names = count.evaluation, predictor.class_names
    title = f"{run} on {labelled}"
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
    yield from _headline(title, predictor, evaluation)
    yield "<h2>Classes, the worst first</h2>"
    yield from _classes(evaluation.classes)
    yield "<h2>What is taken for what</h2>"
    yield from _confusions(count, names)
    yield "<h2>How sure, and how often right</h2>"
    yield "<p class=dim>Bars: share of right answers among those of this confidence; line: what it "
    yield "should be. Under each bar its number of images.</p>"
    yield _calibration(count.confidence_bins)
    yield f"<h2>The surest mistakes</h2>{_mistakes(count.mistakes, names)}"
    yield "<h2>Again</h2><p><code>"
    yield escape(f"craft-ray evaluate {run} {labelled} --report report.html")
    yield "</code></p></body></html>\n"


def _headline(title: str, predictor: Predictor, evaluation: Evaluation) -> Iterator[str]:
    low, high = evaluation.interval
    artifact = predictor.artifact
    model = artifact.oracle.model if artifact.oracle else artifact.oracle_id[:12]
    asked = evaluation.images * predictor.predictions_per_image
    yield f"<h1>{escape(title)}</h1><p class=big>{evaluation.score.accuracy:.1%}</p>"
    yield f"<p>of {evaluation.images:,} images are labelled rightly; with 95 % confidence the true "
    yield f"share is {low:.1%} to {high:.1%}. Calibration error "
    yield f"{evaluation.score.calibration_error:.3f}, mean cross-entropy "
    yield f"{evaluation.score.loss:.3f}.</p><p class=dim>Model {escape(model)}, "
    yield f"{len(artifact.task.class_names):,} classes, {artifact.classifier.kind}, "
    yield f"{predictor.predictions_per_image} prediction(s) an image: {asked:,} in all.</p>"


def _classes(classes: Sequence[ClassEvaluation]) -> Iterator[str]:
    yield "<div class=wide><table><thead><tr><th>class<th>images<th>recall<th>precision</thead>"
    known = [each for each in classes if each.images or each.predicted]
    for each in sorted(known, key=lambda each: 1.0 if each.recall is None else each.recall):
        yield f"<tr><td>{escape(each.name)}<td>{each.images:,}"
        yield f"<td>{_share(each.recall)}<td>{_share(each.precision)}"
    yield "</table></div>"


def _confusions(count: EvaluationCount, names: Sequence[str]) -> Iterator[str]:
    """A matrix, or of many classes the most frequent confusions."""
    confusion_CC = count.confusion
    if len(names) <= MOST_CLASSES_IN_A_MATRIX:
        yield "<p class=dim>Rows: true classes, columns: what was said.</p>"
        yield "<div class=wide><table class=matrix><thead><tr><th>"
        yield "".join(f"<th>{escape(name)}" for name in names) + "</thead>"
        for row, (name, values) in enumerate(zip(names, confusion_CC.tolist(), strict=True)):
            total = max(sum(values), 1)
            cells = (
                f'<td style="background: rgba(var(--{"good" if row == column else "bad"}), '
                f'{0.7 * value / total:.2f})">{value or ""}'
                for column, value in enumerate(values)
            )
            yield f"<tr><th>{escape(name)}{''.join(cells)}"
        yield "</table></div>"
        return
    pairs = [
        (int(confusion_CC[row, column]), row, column)
        for row, column in zip(*confusion_CC.nonzero(), strict=True)
        if row != column
    ]
    yield "<div class=wide><table><thead><tr><th>true class<th>said<th>images</thead>"
    for images, row, column in sorted(pairs, reverse=True)[:MOST_CONFUSIONS]:
        yield f"<tr><td>{escape(names[row])}<td>{escape(names[column])}<td>{images:,}"
    yield "</table></div>"


def _calibration(bins: Sequence[ConfidenceBin | None]) -> str:
    width = 24
    bars = []
    for place, each in enumerate(bins):
        if each is None:
            continue
        height, x = BAR_HEIGHT * each.accuracy, place * width
        bars.append(
            f'<rect x="{x + 2}" y="{BAR_HEIGHT - height:.1f}" width="{width - 4}" '
            f'height="{height:.1f}" fill="rgba(var(--good), .55)"/>'
            f'<text x="{x + width / 2}" y="{BAR_HEIGHT + 11}" text-anchor="middle">{each.images}'
            "</text>"
        )
    total = width * len(bins)
    return (
        f'<svg viewBox="-34 -8 {total + 42} {BAR_HEIGHT + 24}" role="img" '
        'aria-label="reliability diagram">'
        f'<path d="M0 {BAR_HEIGHT} H{total} M0 {BAR_HEIGHT} V0" stroke="currentColor" fill="none"/>'
        f'{"".join(bars)}<path d="M0 {BAR_HEIGHT} L{total} 0" stroke="currentColor" '
        'stroke-dasharray="4 3"/>'
        f'<text x="-3" y="6" text-anchor="end">100%</text>'
        f'<text x="-3" y="{BAR_HEIGHT}" text-anchor="end">0%</text></svg>'
    )


def _mistakes(mistakes: Iterable[Mistake], names: Sequence[str]) -> str:
    figures = [
        f'<figure><img alt="" src="{_thumbnail(each.item)}"><figcaption>'
        f"{escape(names[each.predicted])} {each.probability:.0%}<br>"
        f"<b>{escape(names[each.item.label])}</b><br>"
        f"<span class=dim>{escape(Path(each.item.name).name)}</span></figcaption></figure>"
        for each in mistakes
    ]
    if not figures:
        return "<p>None.</p>"
    words = "What was said with which probability, and in bold what it is."
    return f"<p class=dim>{words}</p><div class=mistakes>{''.join(figures)}</div>"


def _thumbnail(item: Item) -> str:
    """A small picture as an address that holds it; empty if the image has gone meanwhile."""
    try:
        image = item.decode()
    except DataError:
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
