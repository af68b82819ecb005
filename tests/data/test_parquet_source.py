"""`root/{train,val,test}.parquet` in the Hugging Face layout."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FSSpecHandler, PyFileSystem

from craft_ray.config.data import EmbeddedSource, ParquetSource
from craft_ray.data import rows
from craft_ray.data.dataset import Dataset, check_fine_tunable, check_testable
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.files.remote import locate, open_store
from tests.support.images import encoded, hugging_face_metadata, noise, rgb, write_parquet
from tests.support.s3_server import S3Server


def load(root: Path) -> Dataset:
    return load_dataset(ParquetSource(root=str(root)))


def test_images_labels_and_class_names_are_read(tmp_path: Path) -> None:
    dataset = load(write_parquet(tmp_path / "pets", (0, 1, 0), ("a cat", "dog")))
    assert (dataset.name, dataset.class_names) == ("pets", ("a cat", "dog"))
    for split in ("train", "val", "test"):
        items = dataset.splits[split]
        assert [item.label for item in items] == [0, 1, 0]
        np.testing.assert_array_equal(rgb(items[1].decode()), rgb(noise(seed=1)))


def test_the_embedded_data_set_is_such_a_folder() -> None:
    dataset = load_dataset(EmbeddedSource())
    assert len(dataset.class_names) == 10
    assert dataset.splits["train"][0].decode().mode == "RGB"


def test_a_fine_tuning_needs_training_images_and_a_table_of_tests_test_images(
    tmp_path: Path,
) -> None:
    root = write_parquet(tmp_path)
    (root / "test.parquet").unlink()
    dataset = load(root)
    check_fine_tunable(dataset)
    with pytest.raises(DataError, match=r"split test must have .*`reproduce` compares"):
        check_testable(dataset)
    root = write_parquet(tmp_path)
    (root / "train.parquet").unlink()
    dataset = load(root)
    check_testable(dataset)
    with pytest.raises(DataError, match="split train must have at least one image"):
        check_fine_tunable(dataset)


def test_a_validation_split_may_be_missing(tmp_path: Path) -> None:
    dataset = load(write_parquet(tmp_path, splits=["train", "test"]))
    check_fine_tunable(dataset)
    assert set(dataset.splits) == {"train", "test"}


def test_a_folder_without_parquet_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: must have Parquet files, such as train\."):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 40 + b"PAR1", b"a,b\n1,2\n"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    root = write_parquet(tmp_path)
    (root / "val.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"val\.parquet: must be a Parquet file"):
        load(root)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    path = root / "test.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test\.parquet: must be a Parquet file"):
        load(root)


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match=f"must have a column '{column}'"):
        load(write_parquet(tmp_path, drop=column))


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="none"),
        pytest.param({b"huggingface": b"no JSON"}, id="no JSON"),
        pytest.param({b"huggingface": b"\xff\xfe"}, id="no text"),
        pytest.param({b"huggingface": b"[]"}, id="a list"),
        pytest.param({b"huggingface": b'{"info": {"features": {"label": {}}}}'}, id="no names"),
        pytest.param(
            {b"huggingface": b'{"info": {"features": {"label": {"names": null}}}}'},
            id="names are null",
        ),
    ],
)
def test_a_file_without_class_names_is_refused(
    tmp_path: Path, metadata: dict[bytes, bytes]
) -> None:
    with pytest.raises(DataError, match=r"train\.parquet: schema metadata 'huggingface' must give"):
        load(write_parquet(tmp_path, metadata=metadata))


@pytest.mark.parametrize("label", [2, -2, 99])
def test_a_label_outside_the_classes_is_named_by_its_row(tmp_path: Path, label: int) -> None:
    root = write_parquet(tmp_path)
    write_parquet(root, (0, 1, label), splits=["test"])
    message = rf"test\.parquet row 2: 0 <= label < 2 must hold, but got {label}"
    with pytest.raises(DataError, match=message):
        load(root)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param(("cat", "cow", "cat"), r"row 1: label must be one of the class", id="word"),
        pytest.param((0.0, 1.5, 0.0), r"row 1: label must be a whole .* 1\.5", id="half"),
        pytest.param(([0], [1], [0]), "must be integers or words.*: one label an", id="lists"),
    ],
)
def test_labels_that_are_none_are_refused(
    tmp_path: Path, labels: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(write_parquet(tmp_path, labels))


@pytest.mark.parametrize("image", [None, {"bytes": None, "path": "elsewhere.png"}])
def test_a_null_image_is_named_by_its_row(tmp_path: Path, image: Any) -> None:
    good = {"bytes": encoded(noise()), "path": None}
    root = write_parquet(tmp_path)
    write_parquet(root, (0, 0, 1), images=[good, image, good], splits=["val"])
    with pytest.raises(DataError, match=r"val\.parquet row 1: image bytes must not be null"):
        load(root)


def test_corrupt_bytes_are_named_by_their_row_when_decoded(tmp_path: Path) -> None:
    images = [{"bytes": b"no image", "path": None} for _ in range(3)]
    items = load(write_parquet(tmp_path, images=images)).splits["train"]
    with pytest.raises(DataError, match=r"train\.parquet row 2: must be a readable image"):
        items[2].decode()


def test_other_class_names_in_another_split_are_refused(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    write_parquet(root, class_names=("dog", "cat"), splits=["val"])
    with pytest.raises(DataError, match=r"val\.parquet: class names must equal those of the other"):
        load(root)


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    metadata = hugging_face_metadata(("cat", "dog", "horse"))
    dataset = load(write_parquet(tmp_path, metadata=metadata))
    with pytest.raises(DataError, match="class 'horse' must have at least one training image"):
        check_fine_tunable(dataset)


@pytest.mark.parametrize("names", [("cat", "Cat"), ("cat", ""), ("cat", "  "), ("cat", "_")])
def test_class_names_that_tell_nothing_apart_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    with pytest.raises(DataError, match="class name"):
        load(write_parquet(tmp_path, class_names=names))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    good = {"bytes": encoded(noise()), "path": None}
    write_parquet(root, (0,), images=[good], splits=["val"])
    assert len(load(root).splits["val"]) == 1
    pq.write_table(pq.read_table(root / "val.parquet").slice(0, 0), root / "val.parquet")
    with pytest.raises(DataError, match="split val must have at least one image"):
        load(root)


def write_shards(root: Path, split: str, labels: list[int], total: int | None = None) -> list[Path]:
    """One shard a label."""
    total = len(labels) if total is None else total
    paths = []
    for number, label in enumerate(labels):
        image = {"bytes": encoded(noise(seed=number)), "path": None}
        write_parquet(root, (label,), images=[image], splits=["whole"])
        path = root / f"{split}-{number:05d}-of-{total:05d}.parquet"
        (root / "whole.parquet").rename(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("folder", [".", "data"])
def test_shards_are_read_in_their_order_there_or_in_data(tmp_path: Path, folder: str) -> None:
    write_shards(tmp_path / folder, "train", [1, 0, 0, 1])
    write_shards(tmp_path / folder, "validation", [1, 0])
    write_shards(tmp_path / folder, "test", [0])
    dataset = load(tmp_path)
    found = {split: [item.label for item in items] for split, items in dataset.splits.items()}
    assert found == {"train": [1, 0, 0, 1], "val": [1, 0], "test": [0]}
    image = dataset.splits["train"][3].decode()
    np.testing.assert_array_equal(rgb(image), rgb(noise(seed=3)))


def test_a_hash_behind_the_number_of_shards_is_passed_over(tmp_path: Path) -> None:
    (path,) = write_shards(tmp_path, "train", [0])
    path.rename(tmp_path / "train-00000-of-00001-0123456789abcdef.parquet")
    assert len(load(tmp_path).splits["train"]) == 1


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_shard_is_named(tmp_path: Path, gone: int) -> None:
    write_shards(tmp_path, "train", [0, 1, 0])[gone].unlink()
    with pytest.raises(DataError, match=f"train must have all of its 3 shards, but 0000{gone} is"):
        load(tmp_path)


def test_a_shard_beyond_their_number_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, "train", [0, 1, 0], total=2)
    with pytest.raises(DataError, match="all of its 2 shards, but 00002 is there too"):
        load(tmp_path)


@pytest.mark.parametrize("other", ["whole", "another number", "another name"])
def test_a_split_that_is_there_twice_is_refused(tmp_path: Path, other: str) -> None:
    write_shards(tmp_path, "val", [0, 1])
    if other == "another number":
        write_shards(tmp_path, "val", [0], total=1)
    else:
        write_parquet(tmp_path, splits=["val" if other == "whole" else "validation"])
    with pytest.raises(DataError, match="split val must be there once, but has files val-00000-of"):
        load(tmp_path)


def test_other_columns_can_be_named(tmp_path: Path) -> None:
    # As CIFAR-100 is published: img, fine_label, coarse_label.
    image = {"bytes": encoded(noise()), "path": None}
    features = {
        "img": {"_type": "Image"},
        "coarse_label": {"names": ["animal", "thing"], "_type": "ClassLabel"},
        "fine_label": {"names": ["cat", "dog", "cup"], "_type": "ClassLabel"},
    }
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = pa.table({"img": [image] * 3, "coarse_label": [0, 0, 1], "fine_label": [1, 0, 2]})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "train.parquet")
    source = ParquetSource(root=str(tmp_path), image_column="img", label_column="fine_label")
    dataset = load_dataset(source)
    assert dataset.class_names == ("cat", "dog", "cup")
    assert [item.label for item in dataset.splits["train"]] == [1, 0, 2]
    assert dataset.splits["train"][1].decode().size == (10, 12)
    with pytest.raises(DataError, match=r"any of fine_label, coarse_label may: say .*fine_label$"):
        load(tmp_path)


def test_an_index_reads_no_image_and_an_image_only_its_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_parquet(tmp_path, tuple(n % 2 for n in range(10)))
    table = pq.read_table(root / "train.parquet")
    pq.write_table(table, root / "train.parquet", row_group_size=3)
    asked: list[tuple[str, int]] = []
    read_row_group = pq.ParquetFile.read_row_group

    def recording(self: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
        asked.append((columns[0], group))
        return read_row_group(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", recording)
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", None)
    items = load(root).splits["train"]
    assert asked == []
    for number in (3, 5, 4, 9, 3):
        assert items[number].read() == encoded(noise(seed=number))
    assert asked == [("image.bytes", 1), ("image.bytes", 3)], "row groups in use are kept"


def test_few_row_groups_stay_in_memory(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, tuple(n % 2 for n in range(12)))
    pq.write_table(pq.read_table(root / "train.parquet"), root / "train.parquet", row_group_size=1)
    for item in load(root).splits["train"]:
        item.decode()
    assert len(rows._kept) == rows.ROW_GROUPS_KEPT


def test_items_travel_to_other_processes_as_references(tmp_path: Path) -> None:
    item = load(write_parquet(tmp_path)).splits["test"][1]
    parcel = pickle.dumps(item)
    assert len(parcel) < 500
    assert pickle.loads(parcel) == item
    assert pickle.loads(parcel).read() == encoded(noise(seed=1))


def test_a_file_that_is_gone_is_named_with_the_row(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    item = load(root).splits["test"][1]
    (root / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"test\.parquet row 1: must be readable"):
        item.decode()


def test_a_data_set_may_be_on_an_object_store(tmp_path: Path, s3: S3Server) -> None:
    on_disk = write_parquet(tmp_path / "pets", (0, 1, 0), ("a cat", "dog"))
    root = locate(s3.address("some/pets"))
    for path in on_disk.iterdir():
        (root / "data" / path.name).write_bytes(path.read_bytes())
    dataset = load_dataset(ParquetSource(root=str(root)))
    expected = load(on_disk)
    assert (dataset.name, dataset.class_names) == ("pets", expected.class_names)
    for split in ("train", "val", "test"):
        items = pickle.loads(pickle.dumps(dataset.splits[split]))  # as they reach a worker
        assert [item.read() for item in items] == [i.read() for i in expected.splits[split]]
    (root / "data" / "val.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"val\.parquet\?.*: must be a Parquet file"):
        load_dataset(ParquetSource(root=str(root)))
    with pytest.raises(DataError, match=r"nowhere\?.*: must have Parquet files"):
        load_dataset(ParquetSource(root=s3.address("nowhere")))


class CountedFile:
    """Counts what is read."""

    num_bytes = 0

    def __init__(self, file: Any) -> None:
        self._file = file

        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def read(self, size: int | None = None) -> bytes:
        content: bytes = self._file.read(size)
        CountedFile.num_bytes += len(content)
        return content


class CountedFiles(FSSpecHandler):  # type: ignore[misc]
    """Passes on what a reader needs, and counts what it reads."""

    def __init__(self, root: str) -> None:
        self._inner = open_store(root)

    def get_type_name(self) -> str:
        return "counted"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self._inner.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        return self._inner.get_file_info(selector)

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(CountedFile(self._inner.open_input_file(path)), mode="r")


def test_of_a_large_file_on_an_object_store_only_what_is_asked_for_is_fetched(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [{"bytes": bytes([i]) * 2**19, "path": None} for i in range(24)]
    table = pa.table({"image": pictures, "label": [0, 1] * 12})
    table = table.replace_schema_metadata(hugging_face_metadata(("cat", "dog")))
    path = tmp_path / "train.parquet"
    pq.write_table(table, path, row_group_size=4, compression="none", use_dictionary=False)
    root = locate(s3.address("large"))
    (root / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(
        "craft_ray.files.remote.open_store", lambda root: PyFileSystem(CountedFiles(root))
    )
    items = load_dataset(ParquetSource(root=str(root))).splits["train"]
    assert items[9].read() == bytes([9]) * 2**19
    row_group = 4 * 2**19
    assert row_group <= CountedFile.num_bytes < 1.5 * row_group
