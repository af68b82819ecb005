"""Tables `path,label[,split]`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.data import CsvSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from tests.support.images import encoded, noise

IMAGES = ("a cat.png", "B.PNG", "deep/er/c.png", "d.png")
WHOLE = """path,label,split
a cat.png,"cat, black",train
B.PNG,dog,train
deep/er/c.png,dog,validation
d.png,"cat, black",test
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(IMAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(noise(seed=seed)))
    return tmp_path


def load(folder: Path, text: str | bytes, **settings: Any) -> Dataset:
    file = folder / "my pets.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dataset(CsvSource(file=str(file), **settings))


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_table_is_read_with_its_splits(root: Path, start: str, newline: str) -> None:
    dataset = load(root, (start + WHOLE).replace("\n", newline))
    assert (dataset.name, dataset.class_names) == ("my pets", ("cat, black", "dog"))
    found = {
        split: [(item.name, item.label) for item in items]
        for split, items in dataset.splits.items()
    }
    assert found == {
        "train": [(str(root / "a cat.png"), 0), (str(root / "B.PNG"), 1)],
        "val": [(str(root / "deep/er/c.png"), 1)],
        "test": [(str(root / "d.png"), 0)],
    }
    assert dataset.splits["val"][0].decode().mode == "RGB"


def test_columns_may_have_any_order_and_others_may_be_there(root: Path) -> None:
    dataset = load(root, "note,split,label,path\n,train,x,d.png\nhello,test,y,B.PNG\n\n")
    assert dataset.class_names == ("x", "y")
    assert [item.label for item in dataset.splits["test"]] == [1]


def test_paths_start_from_the_root_that_is_given_and_may_be_absolute(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    text = f"path,label,split\nd.png,x,train\n{root / 'B.PNG'},y,test\n"
    dataset = load(elsewhere, text, root=str(root))
    assert dataset.splits["train"][0].encoded == root / "d.png"
    assert dataset.splits["test"][0].encoded == root / "B.PNG"


def test_integer_labels_are_classes_in_the_order_of_numbers(root: Path) -> None:
    text = "path,label,split\na cat.png,10,train\nB.PNG,9,train\nd.png,2,test\n"
    dataset = load(root, text)
    assert dataset.class_names == ("2", "9", "10")
    assert [item.label for item in dataset.splits["train"]] == [2, 1]


def test_without_a_split_the_seed_splits(root: Path) -> None:
    names = [f"{number}.png" for number in range(20)]
    for name in names:
        (root / name).write_bytes(encoded(noise()))
    text = "path,label\n" + "".join(f"{n},{'ab'[i % 2]}\n" for i, n in enumerate(names))
    dataset = load(root, text)
    assert {split: len(items) for split, items in dataset.splits.items()} == {
        "train": 10,
        "val": 4,
        "test": 6,
    }
    assert Counter(item.label for item in dataset.splits["val"]) == {0: 2, 1: 2}
    assert load(root, text) == dataset
    assert load(root, text, split_seed=2).splits != dataset.splits


def test_rows_without_a_label_are_left_out_and_told(root: Path) -> None:
    """Of what `craft-ray suggest --out` wrote somebody may have labelled a part only."""
    text = "path,label,split\na cat.png,x,train\nB.PNG, ,train\nd.png,y,train\ngone.png,,\n"
    dataset = load(root, text)
    assert [item.name for item in dataset.splits["train"]] == [
        str(root / "a cat.png"),
        str(root / "d.png"),
    ]
    assert dataset.class_names == ("x", "y")
    (note,) = dataset.notes
    assert note.endswith("my pets.csv: 2 image(s) without a label are left out.")
    skipped = load(root, text.replace("gone.png,,", "gone.png,-,"))
    assert skipped.class_names == dataset.class_names
    assert [each.rpartition(": ")[2] for each in skipped.notes] == [
        "1 image(s) without a label are left out.",
        "1 image(s) whose label is - are left out.",
    ]


FAULTS: dict[str, tuple[str | bytes, str]] = {
    "no path": (
        "x,label\na,b\n",
        r"line 1: must have a column 'path', but has \['x', 'la",
    ),
    "no label": ("path\na\n", "line 1: must have a column 'label'"),
    "empty": ("", "line 1: must have a column 'path'"),
    "header only": ("path,label\n", "must have at least one line after the header"),
    "twice": ("path,label,label\na,b,c\n", "line 1: columns must differ, but 'label'"),
    "few values": ("path,label\nd.png,x\nd.png\n", "line 3: must have 2 values, but has 1"),
    "many values": ("path,label\nd.png,x,y\n", "line 2: must have 2 values, but has 3"),
    "no value": ("path,label\nd.png,x\n ,x\n", "line 3: path must not be empty"),
    "no class": (
        "path,label\nd.png,\n",
        r"must have a label, but label is empty in all lines \(1\)",
    ),
    "unknown split": (
        "path,label,split\nd.png,x,train\nB.PNG,y,extra\n",
        "line 3: split must be one of train, training, val, .*, but got 'extra'",
    ),
    "no split": ("path,label,split\nd.png,x,\n", "line 2: split must be one of .* got ''"),
    "open quote": ('path,label\nd.png,"x\n', "line 2: unexpected end of data"),
    "line break": (
        'path,label,split\nd.png,"x\ny",train\nB.PNG,y,extra\n',
        "line 4: split must be one of",
    ),
    "bytes": (b"path,label\n\xff,x\n", "must be a CSV file in UTF-8"),
    "missing": (
        "path,label\n" + "".join(f"{n}.png,x\n" for n in range(5)),
        r"all of its 5 images must exist, but 5 do not: .*/0\.png, .*/1\.png, .*/2\.png and 2 more",
    ),
    "one class": ("path,label,split\nd.png,x,train\n", "at least 2 classes are needed"),
    "same prompt": ("path,label,split\nd.png,a b,train\nB.PNG,A_b,test\n", "names must differ"),
    "few images": ("path,label\nd.png,x\nB.PNG,x\n", "class 'x': at least 3 images are needed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_line(root: Path, fault: str) -> None:
    text, message = FAULTS[fault]
    with pytest.raises(DataError, match=message):
        load(root, text)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: must be a CSV file in UTF-8, but: .*No such"):
        load_dataset(CsvSource(file=str(tmp_path / "no.csv")))
