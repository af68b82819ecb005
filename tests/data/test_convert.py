"""Conversion to Parquet: the same data set, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from craft_ray.config.data import CoopName, CoopSource, FolderSource, ParquetSource
from craft_ray.data import convert as module
from craft_ray.data.convert import convert
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.few_shot import sample_few_shot
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.task.provenance import manifest
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise, rgb, write_tree

MEGABYTE = 2**20


def converted(dataset: Dataset, folder: Path, shard_bytes: int = MEGABYTE) -> Dataset:
    convert(dataset, folder, shard_bytes=shard_bytes)
    return load_dataset(ParquetSource(root=str(folder)))


def many(count: int) -> Dataset:
    items = [Item(encoded(noise(seed=n)), n % 2, f"image {n}") for n in range(count)]
    return Dataset("many", ("cat", "dog"), {"train": items, "test": items[:2]})


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", get_args(CoopName))
def test_a_converted_set_is_the_same_set(tmp_path: Path, name: CoopName) -> None:
    write_coop(tmp_path, "imagenet")
    if name != "imagenet":
        write_coop(tmp_path, name)
    before = load_dataset(CoopSource(root=str(tmp_path), dataset=name))
    after = converted(before, tmp_path / "parquet")
    assert after.class_names == before.class_names
    assert after.class_ids == before.class_ids
    assert after.scored_classes == before.scored_classes
    assert set(after.splits) == set(before.splits)
    for split, items in before.splits.items():
        assert len(after.splits[split]) == len(items)
        for was, now in zip(items, after.splits[split], strict=True):
            assert now.label == was.label
            assert now.read() == was.read(), "the file itself, not another encoding of it"
            np.testing.assert_array_equal(rgb(now.decode()), rgb(was.decode()))
    if "train" in before.splits:
        samples = [sample_few_shot(dataset, 2, 1).train for dataset in (before, after)]
        assert manifest(samples[0]) == manifest(samples[1])


def test_the_schema_is_what_datasets_reads(tmp_path: Path) -> None:
    dataset = load_dataset(FolderSource(root=str(write_tree(tmp_path / "pets"))))
    convert(dataset, tmp_path / "new", shard_bytes=MEGABYTE)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    ]
    table = pq.read_table(tmp_path / "new" / "train-00000-of-00001.parquet")
    assert str(table.schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert str(table.schema.field("label").type) == "int64"
    assert json.loads(table.schema.metadata[b"huggingface"]) == {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
            }
        }
    }
    assert [image["path"] for image in table.column("image").to_pylist()] == [
        "0.png",
        "1.png",
        "0.png",
        "1.png",
    ]


def test_names_that_repeat_are_unique_for_datasets_and_unchanged_for_us(tmp_path: Path) -> None:
    items = [Item(encoded(noise(seed=label)), label, "x") for label in range(3)]
    ids = ("n00000001", "n00000002", "n00000003")
    before = Dataset("x", ("missile", "hen", "missile"), {"train": items}, None, ids)
    after = converted(before, tmp_path / "new")
    assert after.class_names == before.class_names
    schema = pq.read_schema(tmp_path / "new" / "train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"]["names"] == ["missile (n00000001)", "hen", "missile (n00000003)"]


def test_files_end_at_the_size_and_row_groups_at_100_rows(tmp_path: Path) -> None:
    before = many(450)
    group_bytes = 100 * len(encoded(noise()))
    after = converted(before, tmp_path / "new", shard_bytes=int(1.5 * group_bytes))
    train = sorted((tmp_path / "new").glob("train-*"))
    assert [path.name for path in train] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    sizes = [
        [
            pq.read_metadata(path).row_group(n).num_rows
            for n in range(pq.read_metadata(path).num_row_groups)
        ]
        for path in train
    ]
    assert sizes == [[100, 100], [100, 100], [50]]
    images = [item.read() for item in after.splits["train"]]
    assert images == [item.encoded for item in before.splits["train"]]


def test_memory_is_bounded_by_a_row_group(tmp_path: Path) -> None:
    alive = most_alive = 0

    class Counted(bytes):
        def __new__(cls, content: bytes) -> Counted:
            nonlocal alive, most_alive
            alive += 1
            most_alive = max(most_alive, alive)
            return super().__new__(cls, content)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    class FreshItem(Item):
        def read(self) -> bytes:
            return Counted(encoded(noise()))

    items = [FreshItem(b"", n % 2, f"image {n}") for n in range(1000)]
    convert(Dataset("many", ("a", "b"), {"train": items}), tmp_path / "new", shard_bytes=MEGABYTE)
    assert 100 <= most_alive < 400, "the group that is written, and what threads read ahead"


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_what_is_there_is_never_written_over(tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "new"
    if kind == "folder":
        destination.mkdir()
    elif kind == "file":
        destination.write_text("mine")
    else:
        destination.symlink_to("nowhere")
    with pytest.raises(DataError, match="new: must not exist yet, but does"):
        convert(many(3), destination, shard_bytes=MEGABYTE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def broken_among(count: int) -> Dataset:
    dataset = many(count)
    train = list(dataset.splits["train"])
    train[3] = Item(b"no image", 1, "the broken image")
    return Dataset("many", dataset.class_names, {**dataset.splits, "train": train})


def test_an_image_that_cannot_be_decoded_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the broken image: must be a readable image"):
        convert(broken_among(10), tmp_path / "new", shard_bytes=MEGABYTE)
    assert list(tmp_path.iterdir()) == []


def test_broken_images_are_left_out_and_listed_if_that_is_asked(tmp_path: Path) -> None:
    result = convert(broken_among(10), tmp_path / "new", shard_bytes=MEGABYTE, skip_broken=True)
    assert result.num_images == {"train": 9, "test": 2}
    (reason,) = result.skipped
    assert reason.startswith("the broken image: must be a readable image")
    after = load_dataset(ParquetSource(root=str(tmp_path / "new")))
    assert len(after.splits["train"]) == 9


def test_a_split_without_any_readable_image_is_refused(tmp_path: Path) -> None:
    items = [Item(b"no image", 0, "x")]
    dataset = Dataset("many", ("a", "b"), {"train": many(2).splits["train"], "test": items})
    with pytest.raises(DataError, match="many: split test has no readable image"):
        convert(dataset, tmp_path / "new", shard_bytes=MEGABYTE, skip_broken=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/new: cannot be written: "):
        convert(many(2), tmp_path / "file" / "new", shard_bytes=MEGABYTE)


def test_everything_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    rename = os.rename

    def recording(old: Path, new: Path) -> None:
        events.append(("rename", Path(new).name))
        rename(old, new)

    monkeypatch.setattr(os, "rename", recording)
    monkeypatch.setattr(
        module, "_synchronise", lambda path: events.append(("on the disk", Path(path).name))
    )
    convert(many(2), tmp_path / "new", shard_bytes=MEGABYTE)
    *files, folder, renamed, parent = events
    for split in ("train", "test"):
        on_disk = files.index(("on the disk", f"{split}-00000.parquet"))
        assert on_disk < files.index(("rename", f"{split}-00000-of-00001.parquet"))
    assert folder[1].startswith(".new.part-")
    assert (folder[0], renamed, parent) == (
        "on the disk",
        ("rename", "new"),
        ("on the disk", tmp_path.name),
    )


SLOW_CONVERSION = """
import sys, time
from pathlib import Path
from craft_ray.data.convert import convert
from tests.data.test_convert import many

def pause(split, count):
    print("wrote a row group", flush=True)
    time.sleep(60)

convert(many(150), Path(sys.argv[1]), shard_bytes=2**20, progress=pause)
"""


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    destination = tmp_path / "new"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_CONVERSION, str(destination)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "wrote a row group\n"
        (busy,) = tmp_path.iterdir()
        # A second conversion leaves a busy one alone.
        convert(many(3), tmp_path / "other", shard_bytes=MEGABYTE)
        with pytest.raises(DataError, match="the broken image"):
            convert(broken_among(10), destination, shard_bytes=MEGABYTE)
        assert busy.is_dir()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not destination.exists()
    assert busy.name.startswith(".new.part-"), "hidden, and under another name"
    assert converted(many(3), destination).class_names == ("cat", "dog")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_leftovers_of_a_dead_conversion_go_and_other_folders_stay(tmp_path: Path) -> None:
    dead = tmp_path / ".new.part-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "train-00000.parquet").write_bytes(b"PAR1")
    others = [".new.part-without-lock", "new.part-x", ".newer.part-x"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".newer.part-x" / "lock").touch()
    convert(many(2), tmp_path / "new", shard_bytes=MEGABYTE)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "new"])


def test_the_folder_has_the_usual_permissions(tmp_path: Path) -> None:
    convert(many(2), tmp_path / "new", shard_bytes=MEGABYTE)
    (tmp_path / "usual").mkdir()
    modes = [(tmp_path / name).stat().st_mode for name in ("new", "usual")]
    assert modes[0] == modes[1]


def test_the_name_of_a_file_may_be_no_text(tmp_path: Path) -> None:
    """Linux allows any bytes, and archives of other systems have such."""
    folder = os.fsencode(write_tree(tmp_path / "images") / "train" / "cat")
    os.rename(folder + b"/0.png", folder + b"/caf\xe9.png")
    before = load_dataset(FolderSource(root=str(tmp_path / "images")))
    convert(before, tmp_path / "new", shard_bytes=MEGABYTE)
    names = [
        row["path"]
        for file in (tmp_path / "new").iterdir()
        for row in pq.read_table(file).column("image").to_pylist()
    ]
    assert "caf\\udce9.png" in names
