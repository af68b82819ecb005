"""What a user may name to have it labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.errors import DataError
from craft_ray.inference.images import images_at


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/er/c.webp", ".git/d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def named(*places: Path) -> list[str]:
    return [item.name for item in images_at(places)]


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
        (tree / "absent", "must be an image, a folder or a CSV table, but is missing"),
        (tree / "empty", "must have an image"),
        (tree / "ids.csv", "must have a column image or path .*, but has id"),
        (tree / "bytes.csv", "must be a CSV table in UTF-8"),
    ):
        with pytest.raises(DataError, match=message):
            images_at([place])
