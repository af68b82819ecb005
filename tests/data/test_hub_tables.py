"""Parquet files as strangers have them: labels, names of classes, columns, images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.config.data import ParquetSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.files.remote import locate
from tests.support.images import encoded, hugging_face_metadata, noise, write_parquet
from tests.support.s3_server import S3Server

PETS = ("cat", "dog")


def load(root: Path, **settings: Any) -> Dataset:
    return load_dataset(ParquetSource(root=str(root), **settings))


def pictures(number: int) -> list[Any]:
    return [{"bytes": encoded(noise(seed=seed)), "path": None} for seed in range(number)]


def write(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None) -> Path:
    """A Parquet file with these columns; gives its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path.parent


def labels(dataset: Dataset, split: Any = "train") -> list[str]:
    return [dataset.class_names[item.label] for item in dataset.splits[split]]


def test_valid_is_validation(tmp_path: Path) -> None:
    for word in ("train", "valid", "test"):
        write(
            tmp_path / f"data/{word}-00000-of-00001.parquet",
            {"image": pictures(2), "label": [0, 1]},
            hugging_face_metadata(PETS),
        )
    assert set(load(tmp_path).splits) == {"train", "val", "test"}


def test_the_hubs_own_conversion_on_a_disk_and_on_an_object_store(
    tmp_path: Path, s3: S3Server
) -> None:
    root = locate(s3.address("converted"))
    for split, number in (("train", 4), ("test", 2)):
        path = tmp_path / f"default/{split}/0000.parquet"
        columns = {"image": pictures(number), "label": [0, 1] * (number // 2)}
        write(path, columns, hugging_face_metadata(PETS))
        (root / f"default/{split}/0000.parquet").write_bytes(path.read_bytes())
    for place in (tmp_path, root):
        dataset = load_dataset(ParquetSource(root=str(place)))
        assert {split: len(items) for split, items in dataset.splits.items()} == {
            "train": 4,
            "test": 2,
        }
        assert dataset.splits["train"][3].read() == encoded(noise(seed=3))


def test_one_file_is_split_by_the_seed_and_its_neighbours_are_said(tmp_path: Path) -> None:
    columns = {"image": pictures(20), "label": [0, 1] * 10}
    write(tmp_path / "pets.parquet", columns, hugging_face_metadata(PETS))
    in_folder, alone = load(tmp_path), load(tmp_path / "pets.parquet")
    for dataset in (in_folder, alone):
        assert {split: Counter(labels(dataset, split)) for split in dataset.splits} == {
            "train": {"cat": 5, "dog": 5},
            "val": {"cat": 2, "dog": 2},
            "test": {"cat": 3, "dog": 3},
        }
        assert dataset.notes == ()
    assert in_folder.splits == alone.splits
    assert load(tmp_path, split_seed=2).splits != alone.splits
    assert "val" not in load(tmp_path, val_share=0).splits
    write(tmp_path / "more.parquet", columns, hugging_face_metadata(PETS))
    assert "others beside it, such as more.parquet" in load(tmp_path / "pets.parquet").notes[0]


def test_numbers_without_names_are_refused_and_read_with_names_beside_them(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "pets", metadata={})
    with pytest.raises(DataError, match=r"say data\.source\.class_names=\[cat,dog\]"):
        load(root)
    (tmp_path / "names.txt").write_text("cat\ndog\n\n")
    (tmp_path / "names.json").write_text('{"0": "cat", "1": "dog"}')
    for given in (PETS, str(tmp_path / "names.txt"), str(tmp_path / "names.json")):
        assert load(root, class_names=given).class_names == PETS
    assert labels(load(root, class_names=PETS)) == ["cat", "dog", "cat"]
    with pytest.raises(
        DataError, match=r"row 1: label must be a number that data\.source\.class_na"
    ):
        load(root, class_names=("cat",))


def test_numbers_may_begin_at_one_if_the_names_say_so(tmp_path: Path) -> None:
    root = write(tmp_path / "train.parquet", {"image": pictures(2), "label": [2, 1]})
    with pytest.raises(DataError, match=r'but is 2 \(where numbers begin at 1, give JSON: \{"1"'):
        load(root, class_names=PETS)
    (tmp_path / "names.json").write_text('{"1": "cat", "2": "dog"}')
    assert labels(load(root, class_names=str(tmp_path / "names.json"))) == ["dog", "cat"]


def test_names_of_the_user_go_before_those_of_the_files(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, class_names=("n02123045", "n02084071"))
    assert load(root, class_names=PETS).class_names == PETS
    with pytest.raises(DataError, match=r"must name the 2 classes of the files, but has 3 names"):
        load(root, class_names=("a", "b", "c"))


CARD = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '10': bird
          '2': dog
          '1': cow
---
# Pets
"""


def test_names_on_the_card_of_the_hub_are_taken_and_that_is_said(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, metadata={})
    (root / "README.md").write_text(CARD)
    dataset = load(root)
    assert dataset.class_names == ("cat", "cow", "dog", "bird"), "in the order of the numbers"
    assert dataset.notes == (f"{root.name}: names of the classes are those in {root}/README.md.",)
    (root / "README.md").write_text("---\ndataset_info: [\n---")
    with pytest.raises(DataError, match="must give the names of the label"):
        load(root)


@pytest.mark.parametrize(
    ("column", "class_names", "expected"),
    [
        pytest.param(["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1], id="words"),
        pytest.param(
            pa.array(["dog", "cat", "dog"]).dictionary_encode(), PETS, [1, 0, 1], id="categories"
        ),
        pytest.param(["10", "9", "10"], ("9", "10"), [1, 0, 1], id="digits"),
        pytest.param([True, False, True], ("false", "true"), [1, 0, 1], id="truth"),
    ],
)
def test_labels_that_say_their_classes(
    tmp_path: Path, column: Any, class_names: tuple[str, ...], expected: list[int]
) -> None:
    dataset = load(write(tmp_path / "train.parquet", {"image": pictures(3), "label": column}))
    assert dataset.class_names == class_names
    assert [item.label for item in dataset.splits["train"]] == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        pytest.param([1.0, 0.0, 1.0], ["dog", "cat", "dog"], id="floats"),
        pytest.param([True, False, True], ["dog", "cat", "dog"], id="truth"),
        pytest.param(["1", "0", "1"], ["dog", "cat", "dog"], id="digits"),
        pytest.param(pa.array([1, 0, 1], pa.uint8()), ["dog", "cat", "dog"], id="bytes"),
    ],
)
def test_numbers_of_any_type_take_the_names_that_are_given(
    tmp_path: Path, column: Any, expected: list[str]
) -> None:
    root = write(tmp_path / "train.parquet", {"image": pictures(3), "label": column})
    assert labels(load(root, class_names=PETS)) == expected


def test_the_names_give_words_their_order_and_a_word_beside_them_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "train.parquet", {"image": pictures(2), "label": ["dog", "cat"]})
    dataset = load(root, class_names=("dog", "cat"))
    assert [item.label for item in dataset.splits["train"]] == [0, 1]
    with pytest.raises(
        DataError, match=r"row 1: label must be one of .*'cat': did you mean cats\?"
    ):
        load(root, class_names=("dog", "cats"))


def test_words_and_numbers_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", {"image": pictures(1), "label": ["cat"]})
    write(tmp_path / "test.parquet", {"image": pictures(1), "label": [0]})
    with pytest.raises(
        DataError, match=r"row 0: labels must be all words or all numbers, but this"
    ):
        load(tmp_path)


@pytest.mark.parametrize("unknown", [-1, None])
def test_a_test_split_without_labels_is_left_out_and_that_is_said(
    tmp_path: Path, unknown: int | None
) -> None:
    root = write_parquet(tmp_path)
    table = pq.read_table(root / "test.parquet")
    column = pa.array([unknown] * 3, pa.int64())
    pq.write_table(table.set_column(1, "label", column), root / "test.parquet")
    dataset = load(root)
    assert set(dataset.splits) == {"train", "val"}
    assert dataset.notes == (
        f"{root.name}: split test is left out, as none of its 3 images has a label.",
    )


def test_a_test_split_without_the_column_of_labels_is_left_out_too(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    write(root / "test.parquet", {"image": pictures(2)})
    dataset = load(root)
    assert set(dataset.splits) == {"train", "val"}
    assert "split test is left out, as none of its 2 images" in dataset.notes[0]
    write(root / "train.parquet", {"image": pictures(2)})
    with pytest.raises(DataError, match=r"train\.parquet: must have a column 'label', but has"):
        load(root)


def test_a_table_without_any_label_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", {"image": pictures(2), "label": [-1, -1]})
    with pytest.raises(DataError, match="one image must have a label, but of 2 none has"):
        load(tmp_path)


def test_some_images_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, (0, -1, 1, -1))
    dataset = load(root)
    assert labels(dataset) == ["cat", "dog"]
    assert dataset.splits["train"][1].read() == encoded(noise(seed=2)), "the rows stay theirs"
    assert f"{root.name}: 2 image(s) of split train without a label are left out." in dataset.notes


@pytest.mark.parametrize("name", ["img", "png", "picture", "anything"])
@pytest.mark.parametrize("label", ["labels", "Class", "target", "category", "fine_label"])
def test_columns_of_other_names_are_taken_where_there_is_one(
    tmp_path: Path, name: str, label: str
) -> None:
    columns = {"id": [7, 8], name: pictures(2), label: ["dog", "cat"], "caption": ["x", "y"]}
    assert labels(load(write(tmp_path / "train.parquet", columns))) == ["dog", "cat"]


def test_a_run_of_an_older_version_goes_on_with_what_it_has_stored() -> None:
    stored = {"kind": "parquet", "root": "/x", "image_column": "image", "label_column": "label"}
    assert ParquetSource.model_validate(stored) == ParquetSource(root="/x")


def test_the_only_column_with_names_of_classes_is_the_label(tmp_path: Path) -> None:
    features = {"species": {"names": list(PETS), "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    columns = {"image": pictures(2), "target": [5, 6], "species": [1, 0]}
    assert labels(load(write(tmp_path / "train.parquet", columns, metadata))) == ["dog", "cat"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param(
            {"left": pictures(1), "right": pictures(1), "label": ["a"]},
            "any of left, right may: say data.source.image_column=left",
            id="two images",
        ),
        pytest.param(
            {"image": pictures(1), "target": [1], "y": [0]},
            "any of target, y may: say data.source.label_column=target",
            id="two labels",
        ),
        pytest.param(
            {"image_url": ["http://x/y.jpg"], "label": [0]},
            "column image_url must .* their addresses, and nothing is downloaded here.*img2dataset",
            id="addresses",
        ),
        pytest.param(
            {"image": ["pics/a.jpg"], "label": [0]},
            "column image must be .*, but is string: paths of files .*kind=csv",
            id="paths",
        ),
        pytest.param(
            {
                "image": pa.array([[[[0, 1, 2]]]], pa.list_(pa.list_(pa.list_(pa.uint8())))),
                "label": [0],
            },
            r"arrays of pixels .*: ds\.cast_column\('image', datasets\.Image\(\)\)",
            id="arrays",
        ),
        pytest.param(
            {"images": [[pictures(1)[0]]], "label": [0]}, "one image a row is needed", id="lists"
        ),
        pytest.param({"label": [0]}, "must have a column 'image' with the images", id="none"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    root = write(tmp_path / "train.parquet", columns)
    with pytest.raises(DataError, match=message):
        load(root, class_names=PETS)


@pytest.mark.parametrize("kind", ["binary", "large_binary", "list", "struct of large_binary"])
def test_bytes_of_images_may_be_of_any_type(tmp_path: Path, kind: str) -> None:
    files = [encoded(noise(seed=seed)) for seed in range(3)]
    column = {
        "binary": pa.array(files, pa.binary()),
        "large_binary": pa.array(files, pa.large_binary()),
        "list": pa.array([list(file) for file in files], pa.list_(pa.uint8())),
        "struct of large_binary": pa.array(
            [{"bytes": file, "path": None} for file in files],
            pa.struct({"bytes": pa.large_binary(), "path": pa.string()}),
        ),
    }[kind]
    dataset = load(write(tmp_path / "train.parquet", {"image": column, "label": ["b", "a", "b"]}))
    assert [item.read() for item in dataset.splits["train"]] == files
    assert dataset.splits["train"][0].decode().size == (10, 12)


def test_an_image_without_bytes_is_the_file_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "0.png").write_bytes(encoded(noise(seed=5)))
    (tmp_path / "data/1.png").write_bytes(encoded(noise(seed=6)))
    paths = ["0.png", "1.png", str(tmp_path / "0.png")]
    images = [{"bytes": None, "path": path} for path in paths]
    images.append(pictures(1)[0])
    root = tmp_path / "data"
    write(root / "train.parquet", {"image": images, "label": ["a", "b", "a", "b"]})
    found = [item.read() for item in load(root).splits["train"]]
    assert found == [encoded(noise(seed=seed)) for seed in (5, 6, 5, 0)]
    images[1] = {"bytes": None, "path": "gone.png"}
    write(root / "train.parquet", {"image": images, "label": ["a", "b", "a", "b"]})
    with pytest.raises(DataError, match=r"row 1: image bytes .* the file 'gone\.png' .* not there"):
        load(root)


def test_a_label_of_thousands_of_digits_is_a_word(tmp_path: Path) -> None:
    """Python refuses to read it as a number."""
    write(tmp_path / "train.parquet", {"image": pictures(4), "label": ["1" * 5000, "2"] * 2})
    with pytest.raises(DataError, match="must have at most 500 characters, but has 5000"):
        load(tmp_path)


def test_a_split_of_no_rows_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", {"image": pictures(4), "label": ["cat", "dog"] * 2})
    of_none = {"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}
    write(tmp_path / "test.parquet", of_none)
    with pytest.raises(DataError, match="split test must have at least one image, but its"):
        load(tmp_path)
    with pytest.raises(DataError, match="must have at least one image, but the files have none"):
        load(tmp_path / "test.parquet")


def test_a_link_that_leads_back_finds_nothing_twice(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write(root / "data/train.parquet", {"image": pictures(4), "label": ["cat", "dog"] * 2})
    (root / "data/data").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to("self")
    dataset = load(root)
    assert (len(dataset.splits["train"]), dataset.notes) == (4, ())
