"""The report of `python -m craft_ray.data check`, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from craft_ray.data.check import Duplicate, Report
from craft_ray.data.label_check import LabelCheck
from craft_ray.data.near_duplicates import NearDuplicate

SHOWN_AT_MOST = 20
"""Findings of a kind that are printed; `--json` has them all."""


def show_report(report: Report, console: Console) -> None:
    """Print counts and findings."""
    sizes = ", ".join(f"{sum(counts):,} {split}" for split, counts in report.counts.items())
    _say(console, f"{report.name}: {len(report.class_names):,} classes, {sizes} images")
    if report.licence is not None:
        _say(console, f"Licence: {report.licence}")
    if report.usual_template is not None:
        _say(console, f"Usual template: {report.usual_template}")
    console.print(_counts(report))
    _show_findings(console, "Images that cannot be decoded", report.broken)
    _show_findings(
        console, "Leaks: the same image in two splits", [_leak(pair) for pair in report.leaks]
    )
    _show_findings(
        console,
        "Near-duplicates: the image looks like one of another split",
        [_near(pair) for pair in report.near_duplicates],
    )
    _show_findings(
        console,
        "Contradictions: the same image in two classes",
        [_contradiction(pair) for pair in report.contradictions],
    )
    _show_findings(console, "Classes", report.class_problems)
    if report.labels is not None:
        _show_labels(console, report.labels)
    if report.shared_names:
        names = ", ".join(report.shared_names)
        _say(
            console,
            f"Names of several classes: {names}. A prompt gives them equal logits, of which the "
            "first class is predicted.",
        )
    if report.num_repeated:
        _say(console, f"Repeated within a class of a split: {report.num_repeated:,} images.")
    for note in report.notes:
        _say(console, f"Note: {note}")
    for sentence in report.looks:
        _say(console, f"Good to know: {sentence}.")
    count = report.num_findings
    _say(console, f"{count:,} finding(s)." if count else "Nothing to complain of.")


def _counts(report: Report) -> Table:
    table = Table("class", box=None, pad_edge=False)
    for split in report.counts:
        table.add_column(split, justify="right", no_wrap=True)
    for label, class_name in enumerate(report.class_names):
        cells = [f"{counts[label]:,}" for counts in report.counts.values()]
        table.add_row(escape(class_name), *cells)
    return table


def _show_findings(console: Console, title: str, findings: Sequence[str]) -> None:
    if not findings:
        return
    _say(console, f"{title} ({len(findings):,}):")
    for finding in findings[:SHOWN_AT_MOST]:
        _say(console, f"  {finding}")
    _say_more(console, len(findings))


def _say_more(console: Console, number: int) -> None:
    if number > SHOWN_AT_MOST:
        _say(console, f"  and {number - SHOWN_AT_MOST:,} more: --json lists them all")


def _show_labels(console: Console, labels: LabelCheck) -> None:
    asked = f"{labels.num_asked:,} of {labels.num_images:,} images"
    if not labels.wrong:
        _say(console, f"Labels: none looks wrong in {asked}.")
    else:
        _say(console, f"Labels that look wrong ({len(labels.wrong):,} in {asked}):")
        rows = [("label", "looks like", "sure", "image")]
        rows += [
            (each.label, each.looks_like, f"{each.confidence:.0%}", f"{each.image} ({each.split})")
            for each in labels.wrong[:SHOWN_AT_MOST]
        ]
        widths = [max(cell_len(row[place]) for row in rows) for place in range(3)]
        for row in rows:
            cells = [set_cell_size(row[place], widths[place]) for place in range(3)]
            _say(console, "  ".join(["", *cells, row[3]]))
        _say_more(console, len(labels.wrong))
    if labels.left_out:
        _say(console, f"Labels not looked at: {'; '.join(labels.left_out)}.")


def _leak(pair: Duplicate) -> str:
    return f"{pair.image} ({pair.split}) is {pair.other_image} ({pair.other_split})"


def _near(pair: NearDuplicate) -> str:
    likeness = "is the mirror image of" if pair.mirrored else "looks like"
    said = f"{pair.image} ({pair.split}) {likeness} {pair.other_image} ({pair.other_split})"
    if pair.class_name == pair.other_class_name:
        return said
    return f"{said}, and is {pair.class_name} where that is {pair.other_class_name}"


def _contradiction(pair: Duplicate) -> str:
    return f"{pair.image} ({pair.class_name}) is {pair.other_image} ({pair.other_class_name})"


def _say(console: Console, text: str) -> None:
    # Paths stay whole, so that they can be copied.
    console.print(text, markup=False, highlight=False, soft_wrap=True)
