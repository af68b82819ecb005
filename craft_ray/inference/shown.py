"""An evaluation for a human in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from craft_ray.inference.evaluation import Evaluation


def show_evaluation(evaluation: Evaluation, console: Console) -> None:
    """For a human: one line, and a table of the classes, the worst first."""
    (low, high), score = evaluation.interval, evaluation.score
    console.print(
        f"Accuracy {score.accuracy:.1%} (95 %: {low:.1%} to {high:.1%}) on "
        f"{evaluation.images:,} images; calibration error {score.calibration_error:.3f}.",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("class", box=box.SIMPLE_HEAD)
    for column in ("images", "recall", "precision"):
        table.add_column(column, justify="right")
    classes = [each for each in evaluation.classes if each.images or each.predicted]
    for each in sorted(classes, key=lambda each: 1.0 if each.recall is None else each.recall):
        shares = [each.recall, each.precision]
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(escape(each.name), f"{each.images:,}", *cells)
    console.print(table)
