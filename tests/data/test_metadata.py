"""Hugging Face's imagefolder with `metadata.csv` or `metadata.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from craft_ray.config.data import FolderSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from tests.support.images import encoded, noise, write_tree

NAMES = [f"{index}.png" for index in range(6)]
LABELS = ["cat", "dog"] * 3


def load(root: Path, label_column: str | None = None) -> Dataset:
    return load_dataset(FolderSource(root=str(root), label_column=label_column))


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name).write_bytes(encoded(noise()))
    return folder


def table(folder: Path, kind: str, prefix: str = "", label: str = "label") -> None:
    rows = [(prefix + name, text) for name, text in zip(NAMES, LABELS, strict=True)]
    if kind == "csv":
        lines = [f"file_name,{label}", *(f"{name},{text}" for name, text in rows)]
    else:
        lines = [json.dumps({"file_name": name, label: text}) for name, text in rows]
    (folder / f"metadata.{kind}").write_text("\n".join(lines) + "\n")


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(items) for split, items in dataset.splits.items()}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_in_the_folder_of_each_split(tmp_path: Path, kind: str) -> None:
    for split in ("train", "validation", "test"):
        table(fill(tmp_path / split), kind)
    dataset = load(tmp_path)
    assert sizes(dataset) == {"train": 6, "val": 6, "test": 6}
    assert dataset.class_names == ("cat", "dog")
    assert dataset.splits["test"][1].encoded == tmp_path / "test" / "1.png"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_of_a_folder_is_split_by_the_seed(tmp_path: Path, kind: str) -> None:
    table(fill(tmp_path), kind)
    assert sizes(load(tmp_path)) == {"train": 2, "val": 2, "test": 2}


def test_a_table_of_all_splits_names_them_in_its_paths(tmp_path: Path) -> None:
    lines = ["file_name,label"]
    for split in ("train", "test"):
        fill(tmp_path / split)
        lines += [f"{split}/{name},{text}" for name, text in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    assert sizes(load(tmp_path)) == {"train": 6, "test": 6}


def test_another_column_of_labels_is_named(tmp_path: Path) -> None:
    table(fill(tmp_path), "csv", label="breed")
    with pytest.raises(DataError, match=r"must have a column 'label', .*data\.source\.label_colum"):
        load(tmp_path)
    assert load(tmp_path, label_column="breed").class_names == ("cat", "dog")


def test_captions_beside_class_folders_are_told_and_the_folders_read(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "metadata.csv").write_text("file_name,text\ntrain/cat/0.png,a cat on a mat\n")
    dataset = load(root)
    assert dataset.class_names == ("cat", "dog")
    assert "metadata.csv has no column of labels" in dataset.notes[0]


def test_an_image_that_is_missing_is_named(tmp_path: Path) -> None:
    table(fill(tmp_path), "csv")
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"metadata\.csv: all of its 6 images must exist, but 1 do"):
        load(tmp_path)


def test_a_label_column_that_is_named_must_be_there(tmp_path: Path) -> None:
    """Else a mistyped one would be passed over for the names of folders."""
    root = write_tree(tmp_path / "pets")
    with pytest.raises(DataError, match=r"label_column: must be a column of a table, but .*pets"):
        load_dataset(FolderSource(root=str(root), label_column="breed"))
    (root / "metadata.csv").write_text("file_name,bread\ntrain/cat/0.png,x\n")
    with pytest.raises(DataError, match="must have a column 'breed', as data"):
        load_dataset(FolderSource(root=str(root), label_column="breed"))
