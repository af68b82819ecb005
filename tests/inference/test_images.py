"""What a user may name to have it labelled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.errors import DataError
from craft_ray.inference.images import ImagesAt


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/er/c.webp", ".git/d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def named(*places: Path) -> list[str]:
    return [item.name for item in ImagesAt(places)]


def test_a_folder_is_all_images_below_it(tree: Path) -> None:
    assert named(tree) == [str(tree / name) for name in ("a.JPG", "b.png", "deep/er/c.webp")]


def test_a_file_is_an_image_whatever_it_is_called(tree: Path) -> None:
    assert named(tree / "notes.txt", tree / "b.png") == [
        str(tree / "notes.txt"),
        str(tree / "b.png"),
    ]


@pytest.mark.parametrize("column", ["image", "path", "filename"])
def test_a_table_names_paths_relative_to_itself(tree: Path, column: str) -> None:
    table = tree / "list.csv"
    table.write_text(f"id,{column}\n1,b.png\n2,\n3,deep/er/c.webp\n4,/else/where.png\n")
    expected = [str(tree / "b.png"), str(tree / "deep/er/c.webp"), "/else/where.png"]
    assert named(table) == expected


def test_what_is_no_image_is_said(tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "ids.csv").write_text("id\n1\n")
    (tree / "bytes.csv").write_bytes(b"path\n\xff\xfe\n")
    for place, message in (
        (tree / "absent", "must be an image, a folder or a table, but is missing"),
        (tree / "empty", "must have an image"),
        (tree / "ids.csv", "must have a column path or file_name .*, but has id"),
        (tree / "bytes.csv", "must be a CSV file in UTF-8"),
    ):
        with pytest.raises(DataError, match=message):
            ImagesAt([place])


def test_parquet_may_hold_paths_or_the_images_themselves(tree: Path) -> None:
    paths = pa.table({"path": ["a.JPG", None, "/else/where.png"]})
    pq.write_table(paths, tree / "paths.parquet")
    assert named(tree / "paths.parquet") == [str(tree / "a.JPG"), str(tree), "/else/where.png"]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": bytes([n]), "path": None} for n in range(5)], kind)
    pq.write_table(pa.table({"image": images}), tree / "images.parquet", row_group_size=2)
    items = ImagesAt([tree / "images.parquet", tree / "b.png"])
    assert len(items) == 6
    assert [item.read() for item in items][:5] == [bytes([n]) for n in range(5)]
    assert next(iter(items)).name == f"{tree / 'images.parquet'} row 0"
    assert list(items) == list(items), "each pass lists them anew"
    pq.write_table(pa.table({"image": [b"x", b"y", b"z"]}), tree / "bytes.parquet", 2)
    assert [item.read() for item in ImagesAt([tree / "bytes.parquet"])] == [b"x", b"y", b"z"]
    pq.write_table(pa.table({"image": [1, 2]}), tree / "numbers.parquet")
    pq.write_table(pa.table({"id": [1, 2]}), tree / "ids.parquet")
    (tree / "text.parquet").write_text("no parquet")
    for name, message in (
        ("numbers", r"column image must be paths \(string\) or images .* but is int64"),
        ("ids", "must have a column image or path .*, but has id"),
        ("text", "must be a Parquet file"),
    ):
        with pytest.raises(DataError, match=message):
            ImagesAt([tree / f"{name}.parquet"])


def test_a_folder_that_cannot_be_read_is_said_and_not_passed_over(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def locked(folder: Any) -> Any:
        if str(folder).endswith("er"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(DataError, match=r"deep/er: must be a folder that can be read"):
        ImagesAt([tree])


def test_a_named_pipe_is_refused_and_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe.png")
    for item in ImagesAt([tree]):
        if item.name.endswith("pipe.png"):
            for act in (item.read, item.decode):
                with pytest.raises(DataError, match="must be an image file, but is a named pipe"):
                    act()
