"""ImageNet and its four shifted test sets: one label space, found by WordNet id or number."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from craft_ray.config.data import CoopName, CoopSource
from craft_ray.data.dataset import Dataset, check_fine_tunable
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from tests.support.coop_trees import (
    IMAGENET_NAMES,
    OWN_CLASSES,
    SHIFTED_SETS,
    WORDNET_IDS,
    write_class_names,
    write_coop,
)

SHIFTED: tuple[CoopName, ...] = tuple(SHIFTED_SETS)


def load(root: Path, name: CoopName) -> Dataset:
    return load_dataset(CoopSource(root=str(root), dataset=name))


def folder_of(root: Path, name: CoopName) -> Path:
    return root.joinpath(*SHIFTED_SETS[name])


def test_the_validation_images_of_imagenet_are_its_test_split_and_nothing_else(
    tmp_path: Path,
) -> None:
    expected = write_coop(tmp_path, "imagenet")
    dataset = load(tmp_path, "imagenet")
    assert dataset.class_names == IMAGENET_NAMES
    assert dataset.class_ids == WORDNET_IDS
    assert set(dataset.splits) == {"train", "test"}
    for split, items in dataset.splits.items():
        assert [(item.encoded, item.label) for item in items] == expected.splits[split]
    check_fine_tunable(dataset)


def test_the_order_of_classnames_txt_does_not_decide_imagenets_labels(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    path = tmp_path / "imagenet" / "classnames.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n\n")
    dataset = load(tmp_path, "imagenet")
    assert (dataset.class_names, dataset.class_ids) == (IMAGENET_NAMES, WORDNET_IDS)


@pytest.mark.parametrize("name", SHIFTED)
@pytest.mark.parametrize("has_own_list", [True, False])
def test_a_shifted_set_has_imagenets_classes_and_only_a_test_split(
    tmp_path: Path, name: CoopName, has_own_list: bool
) -> None:
    write_coop(tmp_path, "imagenet")
    expected = write_coop(tmp_path, name)
    if has_own_list:
        write_class_names(expected.folder / "classnames.txt")
        shutil.rmtree(tmp_path / "imagenet")
    dataset = load(tmp_path, name)
    assert (dataset.class_names, dataset.class_ids) == (IMAGENET_NAMES, WORDNET_IDS)
    assert set(dataset.splits) == {"test"}
    found = [(item.encoded, item.label) for item in dataset.splits["test"]]
    assert found == expected.splits["test"]
    is_part = name in ("imagenet_a", "imagenet_r")
    assert dataset.scored_classes == (OWN_CLASSES if is_part else None)
    with pytest.raises(DataError, match="split train must have at least one image for a fine-tun"):
        check_fine_tunable(dataset)


def test_folders_of_imagenetv2_are_numbers_not_words(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, "imagenetv2")
    for item in load(tmp_path, "imagenetv2").splits["test"]:
        assert int(Path(item.name).parent.name) == item.label


def test_imagenetv2_needs_the_order_that_its_folders_are_numbered_in(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, "imagenetv2")
    path = tmp_path / "imagenet" / "classnames.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    with pytest.raises(DataError, match=r"classnames\.txt: lines must be in the order of their id"):
        load(tmp_path, "imagenetv2")


def test_the_sketches_may_also_lie_in_sketch(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, "imagenet_sketch")
    folder = folder_of(tmp_path, "imagenet_sketch")
    folder.rename(folder.with_name("sketch"))
    items = load(tmp_path, "imagenet_sketch").splits["test"]
    assert [item.label for item in items] == [label for label in range(12) for _ in range(2)]


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_without_a_readme_the_folders_are_the_scored_classes(
    tmp_path: Path, name: CoopName
) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, name)
    (folder_of(tmp_path, name) / "README.txt").unlink()
    assert load(tmp_path, name).scored_classes == OWN_CLASSES


@pytest.mark.parametrize("name", [*SHIFTED, "imagenet"])
def test_a_part_of_the_classes_is_refused_by_name(tmp_path: Path, name: CoopName) -> None:
    # Its accuracy would pass for that of the whole.
    write_coop(tmp_path, "imagenet")
    if name == "imagenet":
        gone = tmp_path / "imagenet" / "images" / "val" / WORDNET_IDS[5]
    else:
        write_coop(tmp_path, name)
        gone = folder_of(tmp_path, name) / ("5" if name == "imagenetv2" else WORDNET_IDS[5])
    shutil.rmtree(gone)
    with pytest.raises(DataError, match=f"folder {gone.name} must be there, but is missing"):
        load(tmp_path, name)


@pytest.mark.parametrize("name", SHIFTED)
def test_a_folder_that_is_no_class_is_refused_by_name(tmp_path: Path, name: CoopName) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, name)
    folder = folder_of(tmp_path, name)
    (folder / "n09999999").mkdir()
    (folder / ".git").mkdir()
    with pytest.raises(DataError, match="folder n09999999 must be one of the listed classes"):
        load(tmp_path, name)


def test_validation_images_that_were_not_sorted_into_folders_are_told(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    val = tmp_path / "imagenet" / "images" / "val"
    shutil.rmtree(val)
    val.mkdir()
    (val / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match="val: must have a folder for each class, named by its id"):
        load(tmp_path, "imagenet")


def test_lists_that_disagree_are_refused(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    expected = write_coop(tmp_path, "imagenet_r")
    own = expected.folder / "classnames.txt"
    write_class_names(own)
    own.write_text(own.read_text().replace("tench", "fish"))
    with pytest.raises(DataError, match=r"imagenet-rendition/classnames\.txt: must equal "):
        load(tmp_path, "imagenet_r")


def test_a_set_without_any_list_of_classes_is_told_where_one_may_be(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet_a")
    message = r"imagenet-adversarial/classnames\.txt: must list .*imagenet/classnames\.txt are miss"
    with pytest.raises(DataError, match=message):
        load(tmp_path, "imagenet_a")


def test_a_readme_with_an_unknown_class_is_refused(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    write_coop(tmp_path, "imagenet_a")
    folder = folder_of(tmp_path, "imagenet_a")
    (folder / "n09999999").mkdir()
    with (folder / "README.txt").open("a") as readme:
        readme.write("n09999999 unicorn\n")
    with pytest.raises(DataError, match=r"n09999999 must be one of classnames\.txt"):
        load(tmp_path, "imagenet_a")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tench", r"line 13: must be 'n01440764 tench', but got 'tench'"),
        ("n01440764", "line 13: must be 'n01440764 tench'"),
        (f"{WORDNET_IDS[0]} tench again", "line 13: n01440764 must be there once, but is twice"),
    ],
)
def test_a_wrong_line_of_classnames_txt_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_coop(tmp_path, "imagenet")
    with (tmp_path / "imagenet" / "classnames.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        load(tmp_path, "imagenet")
