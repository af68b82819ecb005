"""CoOp's data sets with a split file, each on a small tree of the real layout."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from craft_ray.config.data import CoopName, CoopSource
from craft_ray.data.dataset import Dataset, Item, check_fine_tunable
from craft_ray.data.few_shot import sample_few_shot
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.errors import DataError
from tests.support.coop_trees import AIRCRAFT, SPLIT_SETS, write_coop

ALL_NAMES: tuple[CoopName, ...] = get_args(CoopName)
WITH_VAL: tuple[CoopName, ...] = (*SPLIT_SETS, "fgvc_aircraft")


def load(root: Path, name: CoopName) -> Dataset:
    return load_dataset(CoopSource(root=str(root), dataset=name))


def rows_of(items: Any) -> list[tuple[Path, int]]:
    return [(item.encoded, item.label) for item in items]


def dassl_sample(items: list[Item], num_shots: int) -> list[Item]:
    """`DatasetBase.generate_fewshot_dataset` of Dassl, on which CoOp stands, by itself."""
    tracker = defaultdict(list)
    for item in items:
        tracker[item.label].append(item)
    chosen = []
    for of_class in tracker.values():
        enough = len(of_class) >= num_shots
        chosen += random.sample(of_class, num_shots) if enough else of_class
    return chosen


def test_every_data_set_has_an_entry_with_a_template_and_a_licence() -> None:
    assert set(COOP_TABLE) == set(ALL_NAMES)
    assert len(ALL_NAMES) == 15
    for entry in COOP_TABLE.values():
        assert entry.template.count("{}") == 1
        assert entry.licence


@pytest.mark.parametrize("name", WITH_VAL)
def test_classes_labels_order_and_files_are_those_of_the_split_file(
    tmp_path: Path, name: CoopName
) -> None:
    expected = write_coop(tmp_path / "all my data", name)
    dataset = load(tmp_path / "all my data", name)
    if name == "eurosat":
        assert dataset.class_names == ("Annual Crop Land", "Forest", "Sea or Lake")
    else:
        assert dataset.class_names == expected.class_names
    assert {split: rows_of(items) for split, items in dataset.splits.items()} == expected.splits
    check_fine_tunable(dataset)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", ALL_NAMES)
def test_images_of_every_kind_are_decoded(tmp_path: Path, name: CoopName) -> None:
    write_coop(tmp_path, "imagenet")
    if name != "imagenet":
        write_coop(tmp_path, name)
    for items in load(tmp_path, name).splits.values():
        for item in items:
            image = item.decode()
            assert (image.mode, image.size) == ("RGB", (11, 9))


@pytest.mark.parametrize("name", WITH_VAL)
@pytest.mark.parametrize("shots", [1, 2, 4])
def test_few_shot_samples_are_coops_in_train_and_validation(
    tmp_path: Path, name: CoopName, shots: int
) -> None:
    write_coop(tmp_path, name)
    dataset = load(tmp_path, name)
    sample = sample_few_shot(dataset, shots, 7, validation="few_shot")
    random.seed(7)
    train = dassl_sample(list(dataset.splits["train"]), shots)
    validation = dassl_sample(list(dataset.splits["val"]), min(shots, 4))
    assert (list(sample.train), list(sample.validation)) == (train, validation)
    assert sample_few_shot(dataset, shots, 7).train == tuple(train)


def test_a_few_shot_sample_of_imagenet_is_that_of_its_sorted_training_folders(
    tmp_path: Path,
) -> None:
    expected = write_coop(tmp_path, "imagenet")
    dataset = load(tmp_path, "imagenet")
    random.seed(3)
    chosen = dassl_sample([Item(p, label, "") for p, label in expected.splits["train"]], 2)
    sample = sample_few_shot(dataset, 2, 3)
    assert rows_of(sample.train) == rows_of(chosen)
    left = set(rows_of(dataset.splits["train"])) - set(rows_of(chosen))
    assert set(rows_of(sample.validation)) == left, "one image a class is left"


def test_names_of_eurosat_that_were_replaced_before_are_kept(tmp_path: Path) -> None:
    write_coop(tmp_path, "eurosat")
    path = tmp_path / "eurosat" / "split_zhou_EuroSAT.json"
    path.write_text(path.read_text().replace('"SeaLake"', '"Sea or Lake"'))
    assert load(tmp_path, "eurosat").class_names == ("Annual Crop Land", "Forest", "Sea or Lake")


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A change of the split file's document."""

    def apply(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return apply


def entry_becomes(entry: Any) -> Callable[[Path], None]:
    return changed(lambda document: document["val"].__setitem__(1, entry))


SHARED = "Siberian_husky"
MALFORMED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no file": (Path.unlink, "must be a split file in JSON, but: .*No such file"),
    "no JSON": (lambda path: path.write_text("{"), "must be a split file in JSON, but"),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff\xfe"), "must be a split file in JSON"),
    "deep": (lambda path: path.write_text("[" * 100_000), "must be a split file in JSON"),
    "a list": (lambda path: path.write_text("[]"), "must be an object with lists train, val and"),
    "no split": (changed(lambda document: document.pop("val")), "with lists train, val and test"),
    "no list": (changed(lambda d: d.update(test={})), "with lists train, val and test"),
    "short entry": (entry_becomes(["a.jpg", 0]), r"val entry 1: must be \[path, label, class name"),
    "no entry": (entry_becomes(None), r"val entry 1: must be .*got None"),
    "label is text": (entry_becomes(["a.jpg", "0", SHARED]), "val entry 1: must be .*'0'"),
    "label is true": (entry_becomes(["a.jpg", True, SHARED]), "val entry 1: must be .*True"),
    "label below 0": (entry_becomes(["a.jpg", -1, SHARED]), "label >= 0 must hold, but got .*-1"),
    "label of no size": (
        entry_becomes(["a.jpg", 10**20, "lynx"]),
        "val entry 1: labels must be 0, 1, ..., so label < 30, .*but got .*100000000000000000000",
    ),
    "label beyond all": (entry_becomes(["a.jpg", 30, "lynx"]), "val entry 1: .* label < 30, .*30"),
    "traversal": (entry_becomes(["../x.jpg", 2, SHARED]), r"val entry 1: path must .*'\.\./x\.jpg"),
    "deep traversal": (entry_becomes(["a/../../x.jpg", 2, SHARED]), "path must lead to a file"),
    "absolute": (entry_becomes(["/etc/passwd", 2, SHARED]), "path must .*got '/etc/passwd'"),
    "of Windows": (entry_becomes(["C:\\x.jpg", 2, SHARED]), "path must lead to a file below"),
    "back": (entry_becomes(["a\\..\\..\\x.jpg", 2, SHARED]), "path must lead to a file below"),
    "empty path": (entry_becomes(["", 2, SHARED]), "path must lead to a file below"),
    "null byte": (entry_becomes(["a\0/b.jpg", 2, SHARED]), "all of its 30 images must exist"),
    "other name": (
        entry_becomes(["a.jpg", 2, "lynx"]),
        "val entry 1: label 2 must be class 'Siberian_husky' as in an earlier entry, but got 'lynx",
    ),
    "other label": (
        entry_becomes(["a.jpg", 7, SHARED]),
        "val entry 1: class 'Siberian_husky' must have label 2 as in an earlier entry, but got 7",
    ),
    "gap": (entry_becomes(["a.jpg", 7, "lynx"]), "labels must be 0, 1, ..., but 3 is left out"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_split_file_is_refused_with_the_entry(tmp_path: Path, fault: str) -> None:
    write_coop(tmp_path, "dtd")
    path = tmp_path / "dtd" / "split_zhou_DescribableTextures.json"
    spoil, message = MALFORMED[fault]
    spoil(path)
    with pytest.raises(DataError, match=r"split_zhou_DescribableTextures\.json.*" + message):
        load(tmp_path, "dtd")


def test_missing_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    expected = write_coop(tmp_path, "food101")
    gone = [path for path, _ in expected.splits["train"][:5]]
    for path in gone:
        path.unlink()
    message = r"all of its 30 images must exist, but 5 do not: .*Siberian husky/1\.jpg"
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, "food101")
    assert str(gone[2]) in str(caught.value)
    assert str(gone[3]) not in str(caught.value)
    assert str(caught.value).endswith("and 2 more")


@pytest.mark.parametrize("name", ALL_NAMES)
def test_a_missing_folder_is_named_with_the_data_set(tmp_path: Path, name: CoopName) -> None:
    folder = COOP_TABLE[name].folder
    with pytest.raises(DataError, match=f"{folder}: must be the folder of {name}, but is missing"):
        load(tmp_path, name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000001 Concorde", "line 3: class must be one of variants.txt, but got 'Concorde'"),
        ("0000001", "line 3: class must be one of variants.txt, but got ''"),
        (f"../x {AIRCRAFT[0]}", "line 3: must begin with the id of an image, but got '../x'"),
        (f"/etc/x {AIRCRAFT[0]}", "line 3: must begin with the id of an image"),
        (f"0000001 {AIRCRAFT[0]}", "all of its 9 images must exist, but 1 do not: .*0000001.jpg"),
    ],
)
def test_a_wrong_line_of_fgvc_aircraft_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_coop(tmp_path, "fgvc_aircraft")
    path = tmp_path / "fgvc_aircraft" / "images_variant_val.txt"
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"images_variant_val\.txt.*" + message):
        load(tmp_path, "fgvc_aircraft")


@pytest.mark.parametrize("file", ["variants.txt", "images_variant_test.txt"])
def test_a_missing_list_of_fgvc_aircraft_is_named(tmp_path: Path, file: str) -> None:
    write_coop(tmp_path, "fgvc_aircraft")
    (tmp_path / "fgvc_aircraft" / file).unlink()
    with pytest.raises(DataError, match=f"{file}: must be a text file"):
        load(tmp_path, "fgvc_aircraft")
