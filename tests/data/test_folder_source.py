"""Trees `root/{train,val,test}/<class>/<image>`."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest
from torchvision.datasets.folder import IMG_EXTENSIONS

from craft_ray.config.data import CsvSource, FolderSource
from craft_ray.data.dataset import SPLITS, Dataset, Split, check_fine_tunable
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.listing import IMAGE_EXTENSIONS
from craft_ray.errors import DataError
from tests.support.images import encoded, noise, write_tree


def load(root: Path) -> Dataset:
    return load_dataset(FolderSource(root=str(root)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pets")


def test_a_tree_is_read_with_its_folders_as_classes(root: Path) -> None:
    dataset = load(root)
    assert dataset.name == "pets"
    assert dataset.class_names == ("cat", "dog")
    for split in ("train", "val", "test"):
        items = dataset.splits[split]
        assert [item.label for item in items] == [0, 0, 1, 1]
        assert [item.encoded for item in items] == [
            root / split / name / f"{index}.png" for name in ("cat", "dog") for index in range(2)
        ]
        assert items[0].decode().size == (10, 12)


def test_spaces_and_accents_in_names_are_kept(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "my images", ("Siberian husky", "café au lait"))
    dataset = load(root)
    assert dataset.class_names == ("Siberian husky", "café au lait")
    assert dataset.splits["test"][3].decode().mode == "RGB"


def test_upper_case_extensions_count_and_other_files_do_not(root: Path) -> None:
    folder = root / "train" / "cat"
    (folder / "A.JPG").write_bytes(encoded(noise(), "JPEG"))
    (folder / "B.Png").write_bytes(encoded(noise()))
    (folder / "notes.txt").write_text("no image")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (root / "train" / "README.md").write_text("no class")
    items = load(root).splits["train"]
    assert [Path(item.name).name for item in items if item.label == 0] == [
        "0.png",
        "1.png",
        "A.JPG",
        "B.Png",
    ]


def test_images_are_what_torchvision_takes_for_images() -> None:
    assert IMAGE_EXTENSIONS[: len(IMG_EXTENSIONS)] == IMG_EXTENSIONS, "and some more"


def test_the_order_of_a_listing_does_not_decide_anything(tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", ("a", "b", "c"))
    other = tmp_path / "other"
    for name in ("c", "a", "b"):  # written in another order
        for split in ("test", "train", "val"):
            shutil.copytree(one / split / name, other / split / name)
    labels = [[item.label for item in load(root).splits["train"]] for root in (one, other)]
    assert labels[0] == labels[1]
    assert load(one).class_names == load(other).class_names


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_may_be_missing(root: Path, split: Split) -> None:
    shutil.rmtree(root / split)
    dataset = load(root)
    assert set(dataset.splits) == set(SPLITS) - {split}
    assert dataset.class_names == ("cat", "dog")


def test_training_images_alone_are_a_data_set(root: Path) -> None:
    shutil.rmtree(root / "val")
    shutil.rmtree(root / "test")
    assert set(load(root).splits) == {"train"}


@pytest.mark.parametrize("name", ["validation", "valid", "Val", "DEV"])
def test_the_validation_folder_may_have_its_other_names(root: Path, name: str) -> None:
    (root / "val").rename(root / name)
    items = load(root).splits["val"]
    assert items[0].encoded == root / name / "cat" / "0.png"
    shutil.copytree(root / name, root / "val")
    with pytest.raises(DataError, match=r"(?i)must not be there beside .*: both are val"):
        load(root)


def test_the_validation_folder_may_be_missing(root: Path) -> None:
    shutil.rmtree(root / "val")
    dataset = load(root)
    check_fine_tunable(dataset)
    assert set(dataset.splits) == {"train", "test"}


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: must be a folder with .*, but is missing"):
        load(tmp_path / "nowhere")


def test_images_without_class_folders_are_answered_with_what_to_do(root: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"cat: must be .*but has 2 image\(s\) and no folder: move.* craft-ray suggest",
    ):
        load(root / "train" / "cat")


def test_a_table_in_place_of_a_folder_is_answered_with_its_kind(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("path,label\n")
    with pytest.raises(DataError, match=r"but is a file: say data\.source\.kind=csv data.*a\.csv"):
        load(table)
    with pytest.raises(DataError, match=r"is a folder: .* say data\.source\.kind=folder"):
        load_dataset(CsvSource(file=str(tmp_path)))


def test_an_empty_folder_is_said_to_have_no_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a folder with .*, but has no folder of images"):
        load(tmp_path)


def test_a_class_without_training_images_is_named(root: Path) -> None:
    (root / "train" / "horse").mkdir()
    (root / "train" / "horse" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="train/horse: must have at least one image"):
        load(root)


def test_a_class_may_be_absent_from_validation(root: Path) -> None:
    shutil.rmtree(root / "val" / "cat")
    assert {item.label for item in load(root).splits["val"]} == {1}


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_train_does_not_have_is_named(root: Path, split: str) -> None:
    shutil.copytree(root / split / "cat", root / split / "lynx")
    with pytest.raises(DataError, match=f"{split}/lynx: class must also exist in train"):
        load(root)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_any_image_is_refused(root: Path, split: str) -> None:
    for path in (root / split).rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=f"split {split} must have at least one image"):
        load(root)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2 classes are needed, but got 1"):
        load(write_tree(tmp_path / "pets", ("cat",)))


@pytest.mark.parametrize("twin", ["Cat", "CAT", "cat ", " cat", "cat_"])
def test_class_names_that_make_the_same_prompt_are_refused(tmp_path: Path, twin: str) -> None:
    with pytest.raises(DataError, match="class names must differ, but got"):
        load(write_tree(tmp_path / "pets", ("cat", twin, "dog")))


def test_a_corrupt_image_is_found_when_it_is_decoded(root: Path) -> None:
    broken = root / "train" / "dog" / "1.png"
    broken.write_bytes(b"no image")
    items = load(root).splits["train"]
    with pytest.raises(DataError, match=r"train/dog/1\.png: must be a readable image"):
        items[3].decode()


def test_accents_may_be_encoded_in_either_way(tmp_path: Path) -> None:
    """macOS takes letters and their accents apart; the names look the same."""
    together, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    root = write_tree(tmp_path / "pets", (together, "dog"))
    (root / "test" / together).rename(root / "test" / apart)
    dataset = load(root)
    assert dataset.class_names == (together, "dog")
    assert [item.label for item in dataset.splits["test"]] == [0, 0, 1, 1]
    (root / "train" / together).rename(root / "train" / apart)
    rows = [f"train/{name}/{index}.png,{name}" for name in (together, "dog") for index in (0, 1)]
    (root / "t.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    source = CsvSource(file=str(root / "t.csv"), train_share=0.5, val_share=0)
    assert all(item.read() for item in load_dataset(source).splits["train"])
    shutil.copytree(root / "train" / apart, root / "train" / together)
    with pytest.raises(DataError, match="class names must differ"):
        load(root)
