"""Rows as Markdown for people, CSV and Parquet for programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence, Set
from typing import cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from craft_ray.config.reproduction import MethodName
from craft_ray.files.remote import Place
from craft_ray.reproduction.comparison import SHIFTED, comparison
from craft_ray.reproduction.markdown_table import markdown_table
from craft_ray.reproduction.results import HAND_CRAFTED, UNTUNED, ZERO_SHOT, Row
from craft_ray.reproduction.words import METHODS, shots_in_words

TABLE_FILE = "table.md"
CSV_FILE = "results.csv"
PARQUET_FILE = "results.parquet"

ZERO_SHOT_TITLES = (
    (ZERO_SHOT, "zero-shot"),
    (HAND_CRAFTED, "zero-shot, hand-crafted template"),
)
SCHEMA = pa.schema(
    [
        ("backbone", pa.string()),
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("shots", pa.int64()),
        ("seeds", pa.int64()),
        ("mean", pa.float64()),
        ("template", pa.string()),
        ("std", pa.float64()),
        ("queries", pa.float64()),
        ("image_predictions", pa.float64()),
        ("seconds", pa.float64()),
        ("published", pa.float64()),
        ("published_method", pa.string()),
        ("difference", pa.float64()),
    ]
)


def write_tables(rows: Sequence[Row], comparable: Set[tuple[str, str]], folder: Place) -> None:
    """Write all three files.

    Args:
        rows: of the reproduction.
        comparable: backbones and data sets that published numbers may stand beside.
        folder: where to.
    """
    table = pa.Table.from_pylist([row.as_dict() for row in rows], schema=SCHEMA)
    csv, parquet = io.BytesIO(), io.BytesIO()
    pyarrow.csv.write_csv(table, csv)
    pq.write_table(table, parquet)
    (folder / CSV_FILE).write_bytes(csv.getvalue())
    (folder / PARQUET_FILE).write_bytes(parquet.getvalue())
    (folder / TABLE_FILE).write_bytes(markdown(rows, comparable).encode())


def markdown(rows: Sequence[Row], comparable: Set[tuple[str, str]]) -> str:
    """First methods by data sets, one table for each number of shots; then for each method data
    sets by shots, with the spread over seeds; then what it cost."""
    parts = [
        "Test accuracy in percent, mean over seeds. **Ours**: one configuration for all data sets "
        "and shots; labelled images are N a class and no others, unless its name says more.\n",
        comparison(rows, comparable),
    ]
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        for method in dict.fromkeys(row.method for row in own if row.method not in UNTUNED):
            parts.append(f"## {backbone}, {METHODS[_name(method)].title}\n")
            parts.append("\n".join(_accuracies(own, method)) + "\n")
        parts.append(f"## {backbone}, spent for each fine-tuning\n\n{_costs(own)}\n")
    return "\n".join(parts)


def _name(method: str) -> MethodName:
    return cast(MethodName, method)  # rows are of cells


def _accuracies(rows: Sequence[Row], method: str) -> Iterator[str]:
    by_place = {(row.dataset, row.method, row.shots): row for row in rows}
    shots = sorted({row.shots for row in rows if row.method == method})
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.method == method))
    untuned = [
        (name, title) for name, title in ZERO_SHOT_TITLES if name in {r.method for r in rows}
    ]
    columns: list[tuple[str, int]] = [(name, 0) for name, _ in untuned]
    columns += [(method, n) for n in shots]
    header = ["data set", *(title for _, title in untuned), *map(shots_in_words, shots)]
    table = []
    for dataset in datasets:
        cells = [by_place.get((dataset, name, n)) for name, n in columns]
        table.append([dataset, *("-" if row is None else _accuracy(row) for row in cells)])
    if len(datasets) > 1:
        table.append(["**mean**", *(_mean_of(by_place, datasets, *place) for place in columns)])
    yield "Mean ± standard deviation over seeds" + _beside(
        [by_place.get((d, *c)) for d in datasets for c in columns]
    )
    yield ""
    yield markdown_table(header, table, 1)
    yield ""
    yield from _templates([row for row in rows if row.dataset in datasets], method)


def _beside(rows: Sequence[Row | None]) -> str:
    """Which published numbers stand in brackets."""
    names = dict.fromkeys(row.beside.method for row in rows if row is not None and row.beside)
    if not names:
        return "."
    return f"; in brackets {' and '.join(names)} as published, and the difference in points."


def _templates(rows: Sequence[Row], method: str) -> Iterator[str]:
    """Which template the numbers belong to; of each, for which data sets."""
    for name, title in ((method, "Tuned, and zero-shot"), (HAND_CRAFTED, "Hand-crafted")):
        datasets: dict[str, list[str]] = {}
        for row in rows:
            if row.method == name and row.dataset not in datasets.setdefault(row.template, []):
                datasets[row.template].append(row.dataset)
        each = [f'"{template}" ({", ".join(of)})' for template, of in datasets.items()]
        if len(each) == 1:
            each = [f'"{template}"' for template in datasets]
        if each:
            yield f"- {title}: {'; '.join(each)}"


def _accuracy(row: Row) -> str:
    text = f"{row.mean:.2f}" if row.std is None else f"{row.mean:.2f} ± {row.std:.2f}"
    if row.published is None or row.difference is None:
        return text
    return f"{text} ({row.published:.2f}, {row.difference:+.2f})"


def _mean_of(
    by_place: dict[tuple[str, str, int], Row], datasets: Sequence[str], method: str, shots: int
) -> str:
    """Over all data sets, and only where each of them has a value: anything else would mislead."""
    rows = [by_place.get((dataset, method, shots)) for dataset in datasets]
    present = [row for row in rows if row is not None]
    if len(present) < len(rows):
        return "-"
    mean = sum(row.mean for row in present) / len(present)
    published = [row.published for row in present if row.published is not None]
    if len(published) < len(present):
        return f"{mean:.2f}"
    theirs = sum(published) / len(published)
    return f"{mean:.2f} ({theirs:.2f}, {mean - theirs:+.2f})"


def _costs(rows: Sequence[Row]) -> str:
    """Of a method and a number of shots, the mean over data sets and seeds; each data set's own is
    in the files for programs."""
    header = ["method", "shots", "fine-tunings", "queries", "image predictions", "seconds"]
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in rows:  # those of shifted sets are of fine-tunings that are counted already
        if row.method not in UNTUNED and row.dataset not in SHIFTED:
            cells.setdefault((row.method, row.shots), []).append(row)
    table = []
    for (method, shots), own in cells.items():
        count = sum(row.seeds for row in own)
        totals = [
            sum(row.seeds * each for row, each in zip(own, values, strict=True))
            for values in (
                [row.queries for row in own],
                [row.image_predictions for row in own],
                [row.seconds for row in own],
            )
        ]
        means = [f"{total / count:,.0f}" for total in totals]
        table.append([METHODS[_name(method)].title, str(shots), str(count), *means])
    return markdown_table(header, table, 1)
