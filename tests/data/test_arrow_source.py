"""Folders of `save_to_disk`, as `datasets` 5.2 writes them, and its cache."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from craft_ray.config.data import ArrowSource
from craft_ray.data import rows
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.detect import detect_source
from craft_ray.errors import DataError
from tests.support.images import encoded, hugging_face_metadata, noise

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def load(root: Path, **settings: Any) -> Dataset:
    return load_dataset(ArrowSource(root=str(root), **settings))


def table_of(seeds: Sequence[int], metadata: Any = None) -> pa.Table:
    """Even seeds are cats."""
    images = [{"bytes": encoded(noise(seed=seed)), "path": None} for seed in seeds]
    found = pa.table(
        {"image": pa.array(images, IMAGE), "label": pa.array([seed % 2 for seed in seeds])}
    )
    names = hugging_face_metadata(("cat", "dog")) if metadata is None else metadata
    return found.replace_schema_metadata(names)


def write_stream(path: Path, table: pa.Table, batch: int = 3) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)


def save(folder: Path, shards: Sequence[Sequence[int]], **state: Any) -> Path:
    """A folder of one split, with a shard for each list of seeds."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    for name, seeds in zip(names, shards, strict=True):
        write_stream(folder / name, table_of(seeds))
    known = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(known | state))
    return folder


def save_dict(root: Path, **splits: Sequence[Sequence[int]]) -> Path:
    for split, shards in splits.items():
        save(root / split, shards)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return root


def test_a_dict_of_splits(tmp_path: Path) -> None:
    root = save_dict(tmp_path / "pets", train=[[0, 1, 2, 3], [4]], validation=[[5]], test=[[6, 7]])
    dataset = load(root)
    assert (dataset.name, dataset.class_names, dataset.notes) == ("pets", ("cat", "dog"), ())
    found = {
        split: [(item.read(), item.label) for item in items]
        for split, items in dataset.splits.items()
    }
    seeds: dict[str, list[int]] = {"train": [0, 1, 2, 3, 4], "val": [5], "test": [6, 7]}
    assert found == {
        split: [(encoded(noise(seed=seed)), seed % 2) for seed in of_split]
        for split, of_split in seeds.items()
    }


def test_a_single_data_set_is_split_by_the_seed(tmp_path: Path) -> None:
    dataset = load(save(tmp_path / "pets", [range(10), range(10, 20)]))
    sizes = {split: len(items) for split, items in dataset.splits.items()}
    assert sizes == {"train": 10, "val": 4, "test": 6}
    alone = load(tmp_path / "pets/data-00000-of-00002.arrow")
    assert sum(map(len, alone.splits.values())) == 10, "one file alone is read as one"


@pytest.mark.parametrize("key", ["_indices_data_files", "_indices_files"])
def test_rows_that_were_selected_are_read_in_their_order(tmp_path: Path, key: str) -> None:
    root = tmp_path / "pets"
    save(root / "train", [[0, 1, 2], [3, 4]], **{key: [{"filename": "indices.arrow"}]})
    write_stream(
        root / "train/indices.arrow", pa.table({"indices": pa.array([4, 0, 3], pa.uint64())})
    )
    (root / "dataset_dict.json").write_text('{"splits": ["train"]}')
    items = load(root).splits["train"]
    assert [item.read() for item in items] == [encoded(noise(seed=seed)) for seed in (4, 0, 3)]
    assert [item.label for item in items] == [0, 0, 1]
    write_stream(root / "train/indices.arrow", pa.table({"indices": pa.array([5], pa.uint64())}))
    rows._mapped.clear()
    with pytest.raises(
        DataError, match=r"indices\.arrow: rows must be among the 5 of the data, but 5"
    ):
        load(root)


def test_the_cache_of_datasets_and_the_file_format_are_read_too(tmp_path: Path) -> None:
    write_stream(tmp_path / "pets-train.arrow", table_of([0, 1]))
    with pa.OSFile(str(tmp_path / "pets-test.arrow"), "wb") as sink:
        table = table_of([3])
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    dataset = load(tmp_path)
    assert [item.read() for item in dataset.splits["test"]] == [encoded(noise(seed=3))]
    assert len(dataset.splits["train"]) == 2


def test_names_are_taken_from_the_info_where_the_schema_has_none(tmp_path: Path) -> None:
    root = save(tmp_path / "pets", [range(6)])
    write_stream(root / "data-00000-of-00001.arrow", table_of(range(6), metadata={}))
    with pytest.raises(DataError, match="must give the names of the label"):
        load(root)
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    (root / "dataset_info.json").write_text(json.dumps({"features": features}))
    assert load(root).class_names == ("cat", "dog")
    assert load(root, class_names=("tomcat", "hound")).class_names == ("tomcat", "hound")


def test_an_item_travels_as_a_place_and_files_are_mapped_once(tmp_path: Path) -> None:
    item = load(save_dict(tmp_path, train=[range(50)])).splits["train"][40]
    parcel = pickle.dumps(item)
    assert len(parcel) < 500
    rows._mapped.clear()  # as in another process
    assert pickle.loads(parcel).read() == encoded(noise(seed=40))
    assert pickle.loads(parcel) == item
    assert len(rows._mapped) == 1


def test_an_image_is_read_without_reading_the_file(tmp_path: Path) -> None:
    images = pa.array([{"bytes": bytes([i]) * 2**20, "path": None} for i in range(32)], IMAGE)
    table = pa.table({"image": images, "label": ["cat", "dog"] * 16})
    write_stream(tmp_path / "train.arrow", table, batch=4)
    before = pa.total_allocated_bytes()
    items = load(tmp_path).splits["train"]
    assert items[17].read() == bytes([17]) * 2**20
    del images, table
    assert pa.total_allocated_bytes() < before + 2**20, "the file is mapped, not in memory"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"must be a folder of this machine that save_to_disk of `datasets` wrote"),
        ({"state.json": "{}"}, r"must have files data-\*\.arrow, but has none"),
        ({"state.json": "[1]"}, r"state\.json: must be JSON that `datasets` wrote, but is \[1\]"),
        (
            {"state.json": '{"_data_files": 3}'},
            "_data_files must be a list of file names, but is 3",
        ),
        (
            {"state.json": '{"_data_files": [{"filename": "../x"}]}'},
            r"beside it, but names '\.\./x'",
        ),
        (
            {"dataset_dict.json": '{"splits": ["a"]}'},
            "must name splits such as train, .* names a: n",
        ),
        ({"dataset_dict.json": '{"splits": ["/train"]}'}, "must name splits such as train"),
        (
            {"dataset_dict.json": '{"splits": ["val", "dev"]}'},
            "val must be there once, but has fold",
        ),
        ({"dataset_dict.json": '{"splits": ["train"]}'}, r"train/state\.json: must be JSON"),
        ({"data-0.arrow": "xyz"}, r"data-0\.arrow: must be an Arrow file, but:"),
        ({"data-0.arrow": ""}, r"data-0\.arrow: must be an Arrow file, but:"),
    ],
)
def test_what_was_not_written_so_is_named(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "pets", [range(6)]) / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"00001\.arrow: must be an Arrow file, but:"):
        load(tmp_path / "pets")


def test_splits_of_other_names_are_said(tmp_path: Path) -> None:
    dataset = load(save_dict(tmp_path, train=[[0, 1]], unsupervised=[[2]]))
    assert list(dataset.splits) == ["train"]
    assert dataset.notes == (f"{tmp_path}: splits of other names are passed over: unsupervised.",)


def test_files_that_datasets_works_with_are_not_data(tmp_path: Path) -> None:
    root = save(tmp_path / "pets", [range(6)])
    write_stream(root / "cache-2d0a802b78a30b76.arrow", table_of(range(30, 50)))
    assert sum(map(len, load(root).splits.values())) == 6
    (root / "state.json").write_text("{}")
    assert sum(map(len, load(root).splits.values())) == 6


def test_it_is_recognised(tmp_path: Path) -> None:
    root = save_dict(tmp_path, train=[[0, 1]])
    for place in (root, root / "train"):
        source = detect_source(place)
        assert isinstance(source, ArrowSource)
        assert source.root == str(place)


@pytest.mark.parametrize(
    ("images", "words"),
    [(pa.large_binary(), pa.large_string()), (pa.binary_view(), pa.string_view())],
    ids=["large", "views"],
)
def test_other_types_of_bytes_and_words_are_read(
    tmp_path: Path, images: pa.DataType, words: pa.DataType
) -> None:
    """polars writes views."""
    contents = [encoded(noise(seed=seed)) for seed in range(4)]
    columns = {"image": pa.array(contents, images), "label": pa.array(["cat", "dog"] * 2, words)}
    write_stream(tmp_path / "train.arrow", pa.table(columns))
    train = load(tmp_path).splits["train"]
    assert [(item.read(), item.label) for item in train] == list(
        zip(contents, [0, 1] * 2, strict=True)
    )
