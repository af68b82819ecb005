"""Tables as spreadsheet programs, pandas and Windows write them; CoOp's file of splits, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.data import CoopSource, CsvSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.inference.images import ImagesAt
from craft_ray.inference.labelled import labelled_items
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise

PATHS = [f"images/{name}/{index}.png" for name in ("cat", "dog") for index in range(3)]
PLAIN = "path,label\n" + "".join(f"{path},{path.split('/')[1]}\n" for path in PATHS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(encoded(noise()))
    return tmp_path


def load(folder: Path, text: str | bytes, name: str = "t.csv", **settings: Any) -> Dataset:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dataset(CsvSource(file=str(file), **settings))


def names(dataset: Dataset) -> set[str]:
    return {item.name for items in dataset.splits.values() for item in items}


AS_WRITTEN: dict[str, str | bytes] = {
    "semicolons, as in Germany": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, the other way round": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-8 with a mark": PLAIN.encode("utf-8-sig"),
    "spaces around values": PLAIN.replace(",", " , "),
    "quoted after a space": PLAIN.replace(",cat", ', "cat"'),
    "backslashes": PLAIN.replace("/", "\\").replace("\n", "\r\n"),
    "the index of pandas": "".join(
        f"{number or ''},{line}\n" for number, line in enumerate(PLAIN.splitlines())
    ),
}


@pytest.mark.parametrize("how", AS_WRITTEN)
def test_a_table_is_read_however_it_was_written(root: Path, how: str) -> None:
    dataset = load(root, AS_WRITTEN[how])
    assert dataset.class_names == ("cat", "dog")
    assert names(dataset) == {str(root / path) for path in PATHS}


@pytest.mark.parametrize("how", AS_WRITTEN)
def test_predict_and_evaluate_read_such_tables(root: Path, how: str) -> None:
    text = AS_WRITTEN[how]
    (root / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert [item.name for item in ImagesAt([root / "t.csv"])] == [str(root / p) for p in PATHS]
    items = labelled_items(root / "t.csv", ["cat", "dog"])
    assert [item.label for item in items] == [0, 0, 0, 1, 1, 1]


def test_a_file_that_really_has_a_backslash_is_read(root: Path) -> None:
    odd = "images\\odd.png"
    (root / odd).write_bytes(encoded(noise()))
    (root / "images" / "odd.png").write_bytes(encoded(noise()))
    assert str(root / odd) in names(load(root, PLAIN + f"{odd},cat\n"))


def test_a_file_that_is_missing_either_way_says_that_both_were_tried(root: Path) -> None:
    with pytest.raises(DataError, match=r"1 do not: .*no\\where\.png \(also read with / for \\\)"):
        load(root, PLAIN + "no\\where.png,cat\n")


@pytest.mark.parametrize("path", ["C:\\data\\a.png", "D:/a.png", "\\\\server\\share\\a.png"])
def test_a_path_with_a_drive_of_windows_is_refused_with_the_reason(root: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"t\.csv line 8: must be a path on this machine, but"):
        load(root, PLAIN + f"{path},cat\n")


@pytest.mark.parametrize(
    ("header", "settings"),
    [
        ("file_name,label", {}),
        ("filepath,class", {}),
        ("image,class_name", {}),
        ("photo,breed", {"path_column": "photo", "label_column": "breed"}),
    ],
)
def test_columns_have_many_names(root: Path, header: str, settings: dict[str, str]) -> None:
    text = PLAIN.replace("path,label", header)
    assert load(root, text, **settings).class_names == ("cat", "dog")


def test_a_column_that_may_be_two_is_asked_for(root: Path) -> None:
    text = "file,image,label\n" + "".join(f"{path},{path},cat\n" for path in PATHS)
    with pytest.raises(DataError, match=r"line 1: file and image may each be the path: name it"):
        load(root, text)
    with pytest.raises(DataError, match=r"a column 'x', as data\.source\.label_column says, but h"):
        load(root, PLAIN, label_column="x")


def test_the_split_column_is_named_and_its_words_are_those_of_folders(root: Path) -> None:
    words = ["Train", "VALID", "testing"] * 2
    rows = zip(PLAIN.splitlines()[1:], words, strict=True)
    text = "path,label,part\n" + "".join(f"{row},{word}\n" for row, word in rows)
    dataset = load(root, text, split_column="part")
    assert {split: len(items) for split, items in dataset.splits.items()} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    assert tuple(dataset.splits) == ("train", "val", "test")


def test_a_label_may_be_called_train(root: Path) -> None:
    dataset = load(root, PLAIN.replace(",dog", ",train"))
    assert dataset.class_names == ("cat", "train")


def test_the_delimiter_may_be_said(root: Path) -> None:
    text = PLAIN.replace(",", ";").replace("path;label", "path;label;a,b,c,d")
    text = text.replace(";cat\n", ";cat;x\n").replace(";dog\n", ";dog;x\n")
    with pytest.raises(DataError, match="must have a column 'path'"):
        load(root, text)
    assert load(root, text, delimiter=";").class_names == ("cat", "dog")


def test_a_table_in_another_encoding_is_refused_with_what_to_do(root: Path) -> None:
    with pytest.raises(DataError, match=r"must be a CSV file in UTF-8, but: .*save it as 'CSV"):
        load(root, PLAIN.replace("cat", "chat noir é").encode("cp1252"))


def test_the_lines_of_json_are_a_table(root: Path) -> None:
    lines = [json.dumps({"path": path, "label": path.split("/")[1], "n": None}) for path in PATHS]
    dataset = load(root, "\n".join(lines) + "\n", "t.jsonl")
    assert (dataset.class_names, len(names(dataset))) == (("cat", "dog"), 6)
    for text, message in (
        ("{", "line 1: must be JSON"),
        ("[]", r"line 1: must be an object, but got \[\]"),
        ('{"path": "a", "label": null}', "line 1: must have a column 'label'"),
        ('{"path": "a", "label": ["x"]}', "line 1: label must not be empty, and be text"),
    ):
        with pytest.raises(DataError, match=message):
            load(root, text, "t.jsonl")


def test_lines_of_json_without_a_label_are_left_out(root: Path) -> None:
    lines = [json.dumps({"path": path, "label": path.split("/")[1]}) for path in PATHS]
    more = [json.dumps({"path": PATHS[0], "label": None}), json.dumps({"path": PATHS[1]})]
    dataset = load(root, "\n".join([*lines, *more]), "t.jsonl")
    assert len(names(dataset)) == 6
    assert "2 image(s) without a label are left out" in dataset.notes[0]


def test_coops_file_of_splits_may_be_written_on_windows(tmp_path: Path) -> None:
    expected = write_coop(tmp_path, "eurosat")
    path = tmp_path / "eurosat" / "split_zhou_EuroSAT.json"
    document = json.loads(path.read_text())
    for rows in document.values():
        for row in rows:
            row[0] = row[0].replace("/", "\\")
    document["valid"] = document.pop("val")
    path.write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    dataset = load_dataset(CoopSource(root=str(tmp_path), dataset="eurosat"))
    found = {s: [(item.encoded, item.label) for item in i] for s, i in dataset.splits.items()}
    assert found == expected.splits
    document["val"] = document["valid"]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="val must not be there beside another list of val"):
        load_dataset(CoopSource(root=str(tmp_path), dataset="eurosat"))


def test_empty_columns_and_rows_of_a_spreadsheet_are_passed_over(root: Path) -> None:
    as_saved = PLAIN.replace("\n", ",,\r\n") + ",,,\r\n , ,,\r\n"
    assert names(load(root, as_saved)) == names(load(root, PLAIN))
    assert len(ImagesAt([root / "t.csv"])) == len(labelled_items(root / "t.csv", ["cat", "dog"]))


def test_numbers_of_json_lines_may_be_whole_floats(root: Path) -> None:
    lines = [json.dumps({"path": path, "label": float("dog" in path)}) for path in PATHS]
    assert load(root, "\n".join(lines), "t.jsonl").class_names == ("0", "1")
    with pytest.raises(DataError, match="line 1: label must not be empty, and be text or a whole"):
        load(root, lines[0].replace("0.0", "0.5"), "t.jsonl")
