"""Labelled images are found in folders, CSV tables and Parquet files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.parquet_layout import schema_of
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.errors import DataError
from craft_ray.inference.images import ImagesAt
from craft_ray.inference.labelled import labelled_items

NAMES = ("dog", "cat")
"""The classifier's order."""


def found(place: Path) -> list[tuple[str, int]]:
    return [(item.name.rpartition("/")[2], item.label) for item in labelled_items(place, NAMES)]


def test_a_tree_a_table_and_parquet_say_the_same(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    table = tmp_path / "tree" / "list.csv"
    table.write_text("path,label\ncat/1.png,cat\n,dog\ndog/2.png,dog\n")
    rows = pa.table({"path": ["cat/1.png", "dog/2.png"], "class": ["cat", "dog"]})
    pq.write_table(rows, tmp_path / "tree" / "list.parquet")
    expected = [("1.png", 1), ("2.png", 0)]
    for place in (tmp_path / "tree", table, tmp_path / "tree" / "list.parquet"):
        assert found(place) == expected


def test_numbers_mean_the_names_that_the_file_has(tmp_path: Path) -> None:
    items = labelled_items(_hugging_face(tmp_path, [0, 1]), NAMES)
    assert [item.label for item in items] == [1, 0]  # "cat" is the file's first class
    assert items[0].read() == b"0"


def _hugging_face(folder: Path, labels: list[int]) -> Path:
    schema = schema_of(Dataset("pets", ("cat", "dog"), {"train": [Item(b"", 0, "one")]}))
    images = [{"bytes": str(label).encode(), "path": None} for label in labels]
    pq.write_table(pa.table([images, labels], schema=schema), folder / "pets.parquet")
    return folder / "pets.parquet"


def test_labels_that_are_none_are_said(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    for text, message in (
        ("path,label\n1.png,kat\n", "each label must be a class of the run .* 'kat'.*mean cat"),
        ("path,label\n1.png,\n", "each label must be a class"),
        ("path,name\n1.png,cat\n", "must have a column label or class or class_name or labels"),
        ("id,label\n1,cat\n", "must have a column path or file_name"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            labelled_items(table, NAMES)
    with pytest.raises(DataError, match=r"each label must be a class .* got '7'"):
        labelled_items(_hugging_face(tmp_path, [0, 7]), NAMES)


@pytest.mark.parametrize("labels", [[["cat"]], [{"name": "cat"}]])
def test_labels_are_one_value_an_image(labels: list[object], tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["1.png"], "label": labels}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match="column label must be integers or words, but"):
        labelled_items(tmp_path / "list.parquet", NAMES)


@pytest.mark.parametrize("twice", ["path", "label"])
def test_a_column_that_is_there_twice_is_refused(twice: str, tmp_path: Path) -> None:
    columns = sorted(["path", "label", twice])
    arrays = [pa.array(["cat"]) for _ in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=columns), tmp_path / "list.parquet")
    with pytest.raises(
        DataError, match=rf"must have (one column {twice}, but has 2|a column '{twice}' once)"
    ):
        labelled_items(tmp_path / "list.parquet", NAMES)


def test_tables_are_read_as_for_training(tmp_path: Path) -> None:
    """The same columns are taken where several may be meant, and labels may be as there."""
    table = tmp_path / "list.csv"
    table.write_text("image,path,labels\n7,cat/1.png,cat\n8,dog/2.png,dog\n")
    assert found(table) == [("1.png", 1), ("2.png", 0)]
    columns = {"img": [b"1", b"2"], "fine_label": ["cat", "dog"], "id": [7, 8]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    items = labelled_items(tmp_path / "list.parquet", NAMES)
    assert [(item.read(), item.label) for item in items] == [(b"1", 1), (b"2", 0)]


def test_accents_may_be_encoded_in_either_way(tmp_path: Path) -> None:
    """macOS takes letters and their accents apart; the names look the same."""
    composed, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    (tmp_path / apart).mkdir()
    (tmp_path / apart / "1.png").write_bytes(b"1")
    table = tmp_path / "list.csv"
    table.write_text(f"path,label\n{composed}/1.png,{composed}\n", encoding="utf-8")
    for names in ((composed, "dog"), (apart, "dog")):
        for place in (tmp_path, table):
            items = labelled_items(place, names)
            assert [(item.read(), item.label) for item in items] == [(b"1", 0)]


def test_images_beside_the_folders_of_classes_are_told(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("cat/1.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    passed_over = PassedOver()
    assert len(labelled_items(tmp_path, NAMES, passed_over)) == 1
    assert "1 image(s) lie beside the folders of classes" in passed_over.notes()[0]


def test_what_is_packed_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "labelled.zip").touch()
    for place in (tmp_path, tmp_path / "labelled.zip"):
        with pytest.raises(DataError, match="is an archive: unpack it"):
            labelled_items(place, NAMES)
        with pytest.raises(DataError, match="is an archive: unpack it"):
            ImagesAt([place])


def test_a_folder_of_parquet_files_is_answered_with_a_file_to_name(tmp_path: Path) -> None:
    (tmp_path / "test-00000-of-00001.parquet").touch()
    with pytest.raises(DataError, match=r"if .*test-00000-of-00001.parquet lists the images"):
        labelled_items(tmp_path, NAMES)
