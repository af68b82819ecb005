"""Public reports of other readers of images, tried on these; listed in tests/tried.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from craft_ray.commands import data as data_command
from craft_ray.config.data import CsvSource, FolderSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.detect import detect_source
from craft_ray.errors import DataError


def load(root: Path) -> Dataset:
    return load_dataset(FolderSource(root=str(root)))


def fill(root: Path, names: Iterable[str]) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / name, "PNG")
    return root


def of(*folders: str, number: int = 4) -> list[str]:
    return [f"{folder}/{index}.png" for folder in folders for index in range(number)]


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(items) for split, items in dataset.splits.items()}


def test_folders_of_notebooks_are_no_classes(tmp_path: Path) -> None:
    root = fill(tmp_path, of("a", "b", ".ipynb_checkpoints", "a/.ipynb_checkpoints"))
    dataset = load(root)
    assert dataset.class_names == ("a", "b")
    assert sum(sizes(dataset).values()) == 8


def test_an_empty_folder_beside_splits_is_told_and_beside_classes_refused(tmp_path: Path) -> None:
    splits = ("train", "test", "validation")
    root = fill(tmp_path / "one", of(*(f"{s}/{c}" for s in splits for c in ("hat", "shirt"))))
    (root / "empty_subfolder_XYZ").mkdir()
    (root / "LICENSE").touch()
    dataset = load(root)
    assert (set(dataset.splits), dataset.class_names) == (
        {"train", "val", "test"},
        ("hat", "shirt"),
    )
    assert "empty_subfolder_XYZ" in dataset.notes[0]
    other = fill(tmp_path / "other", of("hat", "shirt"))
    (other / "empty_subfolder_XYZ").mkdir()
    with pytest.raises(DataError, match="but has none: remove the folder, or put images of the cl"):
        load(other)


def test_names_of_files_are_no_splits(tmp_path: Path) -> None:
    names = ["photo of a cat.png", "photo of a dog.png", "photo of a train.png", "test tubes.png"]
    names += [f"{number}_{name}" for name in names for number in range(2)]
    root = fill(tmp_path, names)
    lines = [json.dumps({"file_name": name, "label": name.split()[-1]}) for name in names]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    dataset = load(root)
    assert dataset.class_names == ("cat.png", "dog.png", "train.png", "tubes.png")
    assert sizes(dataset) == {"train": 4, "val": 4, "test": 4}


@pytest.mark.parametrize("prefix", [True, False])
def test_a_validation_folder_with_its_own_table_is_found(tmp_path: Path, prefix: bool) -> None:
    for split in ("train", "test", "validation"):
        names = [f"{split}_{n}.png" if prefix else f"{n}.png" for n in range(4)]
        fill(tmp_path / split, names)
        lines = [json.dumps({"file_name": n, "label": "ab"[i % 2]}) for i, n in enumerate(names)]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(lines))
    assert sizes(load(tmp_path)) == {"train": 4, "val": 4, "test": 4}


def test_one_table_above_the_folders_of_splits_is_read(tmp_path: Path) -> None:
    names = of("train", "test")
    fill(tmp_path, names)
    lines = [json.dumps({"file_name": n, "label": "ab"[i % 2]}) for i, n in enumerate(names)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert sizes(load(tmp_path)) == {"train": 4, "test": 4}


def test_a_table_of_open_clip_is_read_with_either_delimiter(tmp_path: Path) -> None:
    names = of("cat", "dog")
    fill(tmp_path, names)
    table = tmp_path / "train.csv"
    for delimiter in "\t,":
        lines = [f"filepath{delimiter}title", *(f"{n}{delimiter}{n[:3]}" for n in names)]
        table.write_text("\n".join(lines))
        with pytest.raises(DataError, match=r"has \['filepath', 'title'\]: name it with data\.so"):
            load_dataset(CsvSource(file=str(table)))
        dataset = load_dataset(CsvSource(file=str(table), label_column="title"))
        assert dataset.class_names == ("cat", "dog")


def test_a_test_folder_beside_classes_is_no_class_without_a_word(tmp_path: Path) -> None:
    """`data/{ok,nok,unsure}` of training images, and `data/test/{ok,nok,unsure}`."""
    classes = ("nok", "ok", "unsure")
    root = fill(tmp_path, of(*classes, *(f"test/{name}" for name in classes)))
    with pytest.raises(DataError, match=r"test has folders of images, .* but nok beside it"):
        load(root)


def test_an_image_that_was_moved_away_from_its_table_is_named(tmp_path: Path) -> None:
    names = of("folder")
    fill(tmp_path, names)
    lines = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    (tmp_path / "test").mkdir()
    (tmp_path / names[0]).rename(tmp_path / "test" / "0.png")
    with pytest.raises(DataError, match=r"labels\.csv: all of its 4 images must exist, but 1 do n"):
        load_dataset(CsvSource(file=str(tmp_path / "labels.csv")))


def test_valid_and_invalid_are_classes(tmp_path: Path) -> None:
    dataset = load(fill(tmp_path, of("valid", "invalid")))
    assert dataset.class_names == ("invalid", "valid")
    assert dataset.notes == ()


def test_a_table_that_windows_wrote_is_read(tmp_path: Path) -> None:
    names = of("train/cat", "train/dog")
    fill(tmp_path, names)
    lines = [json.dumps({"file_name": n.replace("/", "\\"), "label": n[6:9]}) for n in names]
    (tmp_path / "metadata.jsonl").write_text("\r\n".join(lines))
    assert sizes(load(tmp_path)) == {"train": 8}


@pytest.mark.parametrize(
    ("names", "other", "remedy"),
    [
        ((), "data.zip", "data.zip is an archive: unpack it"),
        (("1.png",), "metadata1000.jsonl", "if .*metadata1000.jsonl lists the images, name"),
        (
            ("photos/1.png",),
            "labels.csv",
            "folders, but has one, photos; if .*labels.csv lists",
        ),
        (("p/a/1.png",), "labels.csv", "if these are the classes; if .*labels.csv lists"),
        (("train/1.png", "test/1.png"), "test/labels.csv", "if .*test/labels.csv lists"),
        (
            ("train/a/1.png", "train/b/1.png"),
            "test/data.zip",
            "test: must be .*data.zip is an",
        ),
        (("a/1.png",), "b/b.zip", "b.zip is an archive: unpack it"),
        ((), "labels.xlsx", "labels.xlsx is a spreadsheet: save it as 'CSV UTF-8'"),
    ],
)
def test_what_lies_where_images_were_looked_for_is_said(
    tmp_path: Path, names: tuple[str, ...], other: str, remedy: str
) -> None:
    fill(tmp_path, names)
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).touch()
    with pytest.raises(DataError, match=remedy):
        load(tmp_path)


def test_images_of_a_table_that_are_still_packed_are_said(tmp_path: Path) -> None:
    (tmp_path / "images.zip").touch()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "label": "a"}\n')
    with pytest.raises(DataError, match=r"1 do not: .*1.png; .*images.zip is an archive: "):
        load(tmp_path)


def test_a_file_that_is_not_read_as_it_is_is_named_with_what_to_do(tmp_path: Path) -> None:
    for name, remedy in (("a.zip", "is an archive: unpack it"), ("b.xlsx", "is a spreadsheet")):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=remedy):
            detect_source(tmp_path / name)


def test_names_of_classes_are_not_taken_where_nothing_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, of("0", "1", "10"))
    assert data_command.main(["check", str(tmp_path), "--class-names", "names.txt"]) == 2
    assert "data.source.class_names: is not a known setting" in capsys.readouterr().err


def test_a_table_without_names_of_columns_is_refused_with_what_to_do(tmp_path: Path) -> None:
    fill(tmp_path, of("photos"))
    (tmp_path / "labels.csv").write_text("photos/0.png;cat\nphotos/1.png;dog\n")
    with pytest.raises(DataError, match=r"line 1: must name the columns, .* path,label above"):
        load_dataset(CsvSource(file=str(tmp_path / "labels.csv")))


def test_a_class_of_too_few_images_to_split_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but got 2: add images, leave the class out, or split"):
        load(fill(tmp_path, of("a", "b", number=2)))


def test_words_of_splits_inside_of_names_of_classes_are_no_splits(tmp_path: Path) -> None:
    root = fill(tmp_path, of("train station", "test tube", "validated", "training camp"))
    (root / "train station" / "train_1.png").write_bytes((root / "validated/0.png").read_bytes())
    dataset = load(root)
    assert dataset.class_names == ("test tube", "train station", "training camp", "validated")
    assert set(dataset.splits) == {"train", "val", "test"}


def test_images_of_splits_without_classes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    root = fill(tmp_path / "one", ["train/file0.png", "test/file1.png"])
    with pytest.raises(DataError, match="test: must be a folder of class folders, but has 1 image"):
        load(root)
    prepared = fill(tmp_path / "two", [*of("train/n01", "train/n02"), *of("val")])
    (prepared / ".DS_Store").touch()
    (prepared / "train" / ".DS_Store").touch()
    with pytest.raises(DataError, match=r"val: must be .*, but has 4 image\(s\) itself: move them"):
        load(prepared)


def test_folders_that_are_numbers_keep_their_images(tmp_path: Path) -> None:
    names = ("0", "1", "10", "100", "2")
    dataset = load(fill(tmp_path, of(*names)))
    assert dataset.class_names == names
    for items in dataset.splits.values():
        for item in items:
            assert Path(item.name).parent.name == names[item.label]
