"""Labels as tables."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from craft_ray.classifiers.label_issues import LabelIssue
from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError
from craft_ray.inference.issue_table import write_issues
from craft_ray.inference.output import columns, on_screen, open_table, rows_of
from craft_ray.inference.predictor import Batch

NAMES = ("cat", "dog", 'say "fox",\tplease')
LOGITS = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]], dtype=np.float32))
BATCH = Batch([Item(b"", 0, "a b.png"), Item(b"", 0, "c,d.png")], LOGITS, [])
EXPECTED: list[list[Any]] = [
    ["a b.png", NAMES[2], 0.5, "dog", 0.3],
    ["c,d.png", "cat", 0.6, "dog", 0.2],
]


def test_a_row_has_the_likeliest_classes_and_of_equal_ones_the_first() -> None:
    assert columns(2) == ["path", "label", "probability", "label_2", "probability_2"]
    rows = rows_of(BATCH, NAMES, 2)
    assert [[row[0], row[1], row[3]] for row in rows] == [[r[0], r[1], r[3]] for r in EXPECTED]
    for place in (2, 4):
        found, expected = ([float(row[place]) for row in each] for each in (rows, EXPECTED))
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
def test_a_file_holds_what_was_written_in_several_parts(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels{suffix}"
    with open_table(path) as table:
        for row in rows_of(BATCH, NAMES, 2):
            table.write(columns(2), [row])
        table.write(columns(2), [])
        assert not path.exists(), "half a file has not its name"
    assert list(tmp_path.iterdir()) == [path]
    if suffix == ".parquet":
        read = [list(row.values()) for row in pq.read_table(path).to_pylist()]
        assert read == rows_of(BATCH, NAMES, 2)
        return
    assert b"\r" not in path.read_bytes()  # of `cut` and `awk` the last column would have one
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == columns(2)
    assert rows == [[str(cell) for cell in row] for row in rows_of(BATCH, NAMES, 2)]


def test_bytes_of_a_name_that_are_no_text_are_written_as_such(tmp_path: Path) -> None:
    image = Item(b"", 0, os.fsdecode(b"a\xff.png"))
    batch = Batch([image], LOGITS[:1], [])
    assert rows_of(batch, NAMES, 1)[0][0] == r"a\xff.png"
    write_issues(tmp_path / "issues.csv", [LabelIssue(image, 0, 1, 0.9, 0.1)], NAMES)
    assert r"a\xff.png,cat,dog" in (tmp_path / "issues.csv").read_text()


def test_the_screen_gets_lines_without_a_header() -> None:
    screen = io.StringIO()
    on_screen(screen).write(columns(1), rows_of(BATCH, NAMES, 1))
    assert screen.getvalue().splitlines()[1] == "c,d.png\tcat\t0.6"


def test_what_cannot_be_written_is_said_and_a_fault_leaves_no_file(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "labels.xlsx", r"--out: must end on .csv or .parquet"),
        (tmp_path / "absent" / "labels.csv", "cannot be written"),
    ):
        with pytest.raises(ConfigError, match=message), open_table(path):
            pytest.fail("nothing is written")
    earlier = tmp_path / "labels.csv"
    earlier.write_text("earlier")

    def write_and_fail() -> None:
        with open_table(earlier) as table:
            table.write(columns(1), rows_of(BATCH, NAMES, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert earlier.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [earlier]
