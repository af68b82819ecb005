"""Accuracy against shots and against queries, a panel for each data set."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from craft_ray.files.remote import Place
from craft_ray.reproduction.grid import shots_in_words
from craft_ray.reproduction.results import UNTUNED, ZERO_SHOT, Row

BY_SHOTS_FILE = "accuracy_by_shots.png"
BY_QUERIES_FILE = "accuracy_by_queries.png"
COLUMNS = 4
PANEL_INCHES = (3.4, 2.8)


def plot_by_shots(rows: Sequence[Row], path: Place) -> None:
    """Test accuracy against shots, a line a backbone and method with bars of one standard
    deviation; dashed what is published for CraFT, dotted zero-shot."""
    tuned = [row for row in rows if row.method not in UNTUNED]
    datasets = list(dict.fromkeys(row.dataset for row in tuned))
    figure, panels = _panels(len(datasets))
    for axes, dataset in zip(panels, datasets, strict=True):
        own = [row for row in tuned if row.dataset == dataset]
        for backbone, method in dict.fromkeys((row.backbone, row.method) for row in own):
            line = [row for row in own if (row.backbone, row.method) == (backbone, method)]
            line.sort(key=lambda row: row.shots)
            axes.errorbar(
                [row.shots for row in line],
                [row.mean for row in line],
                [row.std or 0.0 for row in line],
                marker="o",
                capsize=2,
                label=f"{backbone} {method}",
            )
            published = [(row.shots, row.published) for row in line if row.published is not None]
            if published:
                axes.plot(*zip(*published, strict=True), "k--", label=f"{method}, published")
        for row in rows:
            if row.dataset == dataset and row.method == ZERO_SHOT:
                axes.axhline(
                    row.mean, color="grey", linestyle=":", label=f"{row.backbone} zero-shot"
                )
        axes.set(title=dataset, xlabel="shots", ylabel="test accuracy (%)", xscale="log")
        ticks = sorted({row.shots for row in own})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.legend(fontsize=6)
    _save(figure, path)


def plot_by_queries(results: Sequence[Mapping[str, Any]], path: Place) -> None:
    """Validation accuracy of the working classifier against candidate queries, a line a cell.

    Validation, because test images are asked about once, at the end of a fine-tuning.
    """
    curves = [result for result in results if len(result["curve"]) > 1]
    datasets = list(dict.fromkeys(result["dataset"] for result in curves))
    if not datasets:
        return
    figure, panels = _panels(len(datasets))
    for axes, dataset in zip(panels, datasets, strict=True):
        labels: dict[tuple[str, str, int], str] = {}
        for result in (result for result in curves if result["dataset"] == dataset):
            key = (result["backbone"], result["method"], result["shots"])
            is_new = key not in labels
            colour = labels.setdefault(key, f"C{len(labels) % 10}")
            label = f"{key[0]} {key[1]}, {shots_in_words(key[2])}" if is_new else None
            queries, accuracies = zip(*result["curve"], strict=True)
            percent = [100 * accuracy for accuracy in accuracies]
            axes.plot(queries, percent, color=colour, linewidth=0.9, label=label)
        axes.set(title=dataset, xlabel="candidate queries", ylabel="validation accuracy (%)")
        axes.legend(fontsize=6, loc="lower right")
    _save(figure, path)


def _save(figure: Figure, path: Place) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    path.write_bytes(content.getvalue())


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(max(columns * width, 4.5), rows * height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, panels[:count]
