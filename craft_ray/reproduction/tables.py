"""Rows as Markdown for people, CSV and Parquet for programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from craft_ray.files.remote import Place
from craft_ray.reproduction.grid import shots_in_words
from craft_ray.reproduction.results import HAND_CRAFTED, UNTUNED, ZERO_SHOT, Row

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
        ("published", pa.float64()),
        ("queries", pa.float64()),
        ("image_predictions", pa.float64()),
        ("seconds", pa.float64()),
        ("difference", pa.float64()),
    ]
)


def write_tables(rows: Sequence[Row], folder: Place) -> None:
    """Write all three files."""
    table = pa.Table.from_pylist([row.as_dict() for row in rows], schema=SCHEMA)
    csv, parquet = io.BytesIO(), io.BytesIO()
    pyarrow.csv.write_csv(table, csv)
    pq.write_table(table, parquet)
    (folder / CSV_FILE).write_bytes(csv.getvalue())
    (folder / PARQUET_FILE).write_bytes(parquet.getvalue())
    (folder / TABLE_FILE).write_bytes(markdown(rows).encode())


def markdown(rows: Sequence[Row]) -> str:
    """For each backbone and method a table of data sets x shots, then what it cost."""
    parts = [
        "Test accuracy in percent, mean ± standard deviation over seeds; in brackets the published "
        "number and the difference in points.\n"
    ]
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        for method in dict.fromkeys(row.method for row in own if row.method not in UNTUNED):
            parts.append(
                f"## {backbone}, {method}\n\n" + "\n".join(_accuracies(own, method)) + "\n"
            )
        parts.append(
            f"## {backbone}, spent for each fine-tuning\n\n" + "\n".join(_costs(own)) + "\n"
        )
    return "\n".join(parts)


def _accuracies(rows: Sequence[Row], method: str) -> Iterator[str]:
    by_place = {(row.dataset, row.method, row.shots): row for row in rows}
    shots = sorted({row.shots for row in rows if row.method == method})
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.method == method))
    untuned = [
        (name, title) for name, title in ZERO_SHOT_TITLES if name in {r.method for r in rows}
    ]
    columns: list[tuple[str, int]] = [(name, 0) for name, _ in untuned]
    columns += [(method, n) for n in shots]
    yield _line(["data set", *(title for _, title in untuned), *map(shots_in_words, shots)])
    yield _line(["---"] + ["---:"] * len(columns))
    for dataset in datasets:
        cells = [by_place.get((dataset, name, n)) for name, n in columns]
        yield _line([dataset, *("-" if row is None else _accuracy(row) for row in cells)])
    if len(datasets) > 1:
        yield _line(["**mean**", *(_mean_of(by_place, datasets, *place) for place in columns)])
    yield ""
    yield from _templates([row for row in rows if row.dataset in datasets], method)


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


def _costs(rows: Sequence[Row]) -> Iterator[str]:
    yield _line(["data set", "method", "shots", "seeds", "queries", "image predictions", "seconds"])
    yield _line(["---", "---"] + ["---:"] * 5)
    for row in rows:
        if row.method not in UNTUNED:
            numbers = (row.queries, row.image_predictions, row.seconds)
            counts = [str(row.shots), str(row.seeds), *(f"{number:,.0f}" for number in numbers)]
            yield _line([row.dataset, row.method, *counts])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
