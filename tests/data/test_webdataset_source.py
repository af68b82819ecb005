"""Tar shards in the convention of webdataset."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.data import WebdatasetSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.detect import detect_source
from craft_ray.errors import DataError
from tests.support.images import encoded, noise

PETS = ("cat", "dog")


def load(root: Path, **settings: Any) -> Dataset:
    return load_dataset(WebdatasetSource(root=str(root), **settings))


def write_shard(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    return path.parent


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def samples(labels: list[Any], ending: str = "cls", start: int = 0) -> dict[str, bytes]:
    """`000000.jpg`, `000000.cls`, ...: the picture of a number has that seed."""
    found = {}
    for number, label in enumerate(labels, start):
        found[f"{number:06d}.jpg"] = encoded(noise(seed=number), "JPEG")
        found[f"{number:06d}.{ending}"] = str(label).encode()
    return found


def test_splits_of_several_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "pets/train-000000.tar", samples([0, 1]))
    write_shard(tmp_path / "pets/train-000001.tar", samples([1], start=2))
    write_shard(tmp_path / "pets/test-000000.tar", samples([0], start=3))
    dataset = load(tmp_path / "pets", class_names=PETS)
    assert (dataset.name, dataset.class_names, dataset.notes) == ("pets", PETS, ())
    found = [(item.read(), item.label) for item in dataset.splits["train"]]
    assert found == [(encoded(noise(seed=s), "JPEG"), label) for s, label in enumerate((0, 1, 1))]
    assert [item.label for item in dataset.splits["test"]] == [0]
    assert dataset.splits["test"][0].decode().size == (10, 12)
    assert dataset.splits["test"][0].name.endswith("test-000000.tar 000003.jpg")


def test_numbers_want_names_and_say_where_they_may_be(tmp_path: Path) -> None:
    write_shard(tmp_path / "train/0.tar", samples([0, 1]))
    with pytest.raises(
        DataError, match=r"data\.source\.class_names=.* into \S+ as classnames\.txt"
    ):
        load(tmp_path)
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")  # CLIP benchmark's
    dataset = load(tmp_path)
    assert dataset.class_names == PETS
    assert dataset.notes[0].endswith(f"the classes are those in {tmp_path / 'classnames.txt'}.")


def test_names_beside_the_only_shard_of_an_older_export(tmp_path: Path) -> None:
    write_shard(tmp_path / "wds_pets_test.tar", samples([0, 1]))
    (tmp_path / "wds_pets_classes.txt").write_text("cat\ndog\n")
    dataset = load(tmp_path)
    assert (dataset.class_names, list(dataset.splits)) == (PETS, ["test"])


def test_files_of_a_key_need_not_be_neighbours(tmp_path: Path) -> None:
    files = samples(["cat", "dog", "cat"])
    in_another_order = dict(sorted(files.items(), key=lambda pair: pair[0][::-1]))
    write_shard(tmp_path / "train-0.tar", in_another_order)
    items = load(tmp_path).splits["train"]
    assert [item.label for item in items] == [0, 1, 0]


def test_shards_without_a_split_are_split_by_the_seed(tmp_path: Path) -> None:
    for number in range(10):
        labels = ["cat", "dog"]
        write_shard(tmp_path / f"pets-{number:06d}.tar", samples(labels, start=2 * number))
    dataset = load(tmp_path)
    assert dataset.class_names == PETS
    assert {s: len(items) for s, items in dataset.splits.items()} == {
        "train": 10,
        "val": 4,
        "test": 6,
    }
    write_shard(tmp_path / "alone.tar", samples(["cat", "dog"] * 3))
    assert sum(len(items) for items in load(tmp_path / "alone.tar").splits.values()) == 6


def test_one_of_two_configurations_is_named(tmp_path: Path) -> None:
    for name in ("small", "large"):
        write_shard(tmp_path / f"{name}-train-0.tar", samples([f"{name} cat", f"{name} dog"]))
    with pytest.raises(
        DataError, match=r"2 configurations: name one, such as data\.source\.config=la"
    ):
        load(tmp_path)
    assert load(tmp_path, config="small").class_names == ("small cat", "small dog")


@pytest.mark.parametrize(
    ("document", "settings"),
    [
        ('{"label": "dog", "width": 10}', {}),
        ('{"caption": "x", "class": "dog"}', {}),
        ('{"species": "dog", "label": 7}', {"label_column": "species"}),
        ('"dog"', {}),
    ],
)
def test_labels_in_json(tmp_path: Path, document: str, settings: dict[str, Any]) -> None:
    first = document.replace("dog", "cat")
    write_shard(tmp_path / "train-0.tar", samples([first, document], "json"))
    dataset = load(tmp_path, **settings)
    assert dataset.class_names == PETS
    assert [item.label for item in dataset.splits["train"]] == [0, 1]


def test_labels_in_another_file(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", samples(["dog", "cat"], "txt"))
    with pytest.raises(
        DataError, match=r"000000\.jpg: must have a label beside it.* but 2 of 2 have"
    ):
        load(tmp_path)
    assert [item.label for item in load(tmp_path, label_column="txt").splits["train"]] == [1, 0]


def test_a_test_without_labels_is_left_out_and_a_missing_one_among_others_named(
    tmp_path: Path,
) -> None:
    write_shard(tmp_path / "train-0.tar", samples(["cat", "dog"]))
    write_shard(tmp_path / "test-0.tar", {"0.png": encoded(noise())})
    write_shard(tmp_path / "val-0.tar", samples([-1, -1]))
    dataset = load(tmp_path)
    assert (list(dataset.splits), dataset.class_names) == (["train"], PETS)
    assert "split val is left out, as none of its 2 images has a label." in dataset.notes[0]
    assert "split test is left out, as none of its 1 images has a label." in dataset.notes[1]
    write_shard(tmp_path / "test-1.tar", samples(["cat"]))
    with pytest.raises(
        DataError, match=r"test-0\.tar 0\.png: must have a label .* but 1 of 2 have"
    ):
        load(tmp_path)


def test_unlabelled_numbers_are_left_out_and_said(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", samples([0, -1, 1]))
    write_shard(tmp_path / "test-0.tar", samples([-1]))
    dataset = load(tmp_path, class_names=PETS)
    assert [item.label for item in dataset.splits["train"]] == [0, 1]
    assert len(dataset.notes) == 2


def test_keys_with_points_folders_and_other_files(tmp_path: Path) -> None:
    # webdataset's issues 237 and 428: a key ends at the first point, and people write 22.05.png.
    picture = encoded(noise())
    files = {
        "v1.0/22.05.png": picture,
        "v1.0/22.05.cls": b"cat",
        "v1.0/22.06.cls": b"dog",
        "v1.0/22.06.png": picture,
        "7.image.jpg": picture,
        "7.txt": b"a caption",
        "7.cls": b"dog\n",
        "._7.jpg": b"of macOS",
        "__index__": b"",
    }
    write_shard(tmp_path / "train-0.tar", files)
    dataset = load(tmp_path)
    assert [dataset.class_names[item.label] for item in dataset.splits["train"]] == [*PETS, "dog"]


def test_two_images_of_one_label_are_refused_until_one_kind_is_named(tmp_path: Path) -> None:
    left, right = encoded(noise(seed=1)), encoded(noise(seed=2))
    files = {
        f"{key}.{side}.png": left if side == "left" else right
        for key in "ab"
        for side in ("left", "right")
    }
    write_shard(tmp_path / "train-0.tar", {**files, "a.cls": b"cat", "b.cls": b"dog"})
    message = r"'a\.cls' is of 'a\.left\.png' and 'a\.right\.png': .*image_column=left\.png"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
    items = load(tmp_path, image_column="right.png").splits["train"]
    assert [item.read() for item in items] == [right, right]


def test_a_file_twice_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name, content in samples(["cat", "dog"]).items():
            add(tar, name, content)
        add(tar, "000001.jpg", b"another")
    with pytest.raises(DataError, match=r"train-0\.tar: .* once, but '000001\.jpg' is there twice"):
        load(tmp_path)


def test_links_and_names_lead_nowhere_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(noise(seed=9)))
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        add(tar, "../secret.png", encoded(noise(seed=1)))
        add(tar, "../secret.cls", b"cat")
        add(tar, "b.cls", b"dog")
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        add(tar, "c.png", encoded(noise(seed=2)))
        add(tar, "c.cls", b"dog")
    items = load(tmp_path).splits["train"]
    assert [item.read() for item in items] == [encoded(noise(seed=1)), encoded(noise(seed=2))]


@pytest.mark.parametrize("name", ["train-000000.tar.gz", "train-000000.tar"])
def test_a_compressed_shard_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    write_shard(tmp_path / "x.tar", samples(["cat", "dog"]))
    content = gzip.compress((tmp_path / "x.tar").read_bytes())
    (tmp_path / "x.tar").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        DataError, match=r"not compressed, as .*(decompress them|gzip -d train-000000)"
    ):
        load(tmp_path)
    assert isinstance(detect_source(tmp_path), WebdatasetSource)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a tar file, but:"),
        (b"no tar file" * 100, "must be a tar file, but:"),
        (None, r"must be a tar file, but: unexpected end|is cut off in '00000\d\.(jpg|cls)'"),
    ],
)
def test_a_shard_that_is_none_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    write_shard(tmp_path / "train-0.tar", samples(["cat", "dog"]))
    whole = (tmp_path / "train-0.tar").read_bytes()
    (tmp_path / "train-0.tar").write_bytes(whole[:700] if content is None else content)
    with pytest.raises(DataError, match=rf"train-0\.tar: ({message})"):
        load(tmp_path)


def test_a_folder_without_shards_and_a_shard_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder of this machine with tar shards"):
        load(tmp_path)
    write_shard(tmp_path / "train-0.tar", {"a.mp3": b"x", "a.cls": b"cat"})
    with pytest.raises(
        DataError, match=r"must have images KEY\.\(jpg, .* but has files with cls, m"
    ):
        load(tmp_path)


def test_an_item_travels_as_a_place(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", samples(["cat", "dog"] * 20))
    item = load(tmp_path).splits["train"][30]
    parcel = pickle.dumps(item)
    assert len(parcel) < 500
    assert pickle.loads(parcel).read() == encoded(noise(seed=30), "JPEG")
    (tmp_path / "train-0.tar").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"train-0\.tar 000030\.jpg: must be readable, but: .* ends"
    ):
        item.read()


def test_it_is_recognised(tmp_path: Path) -> None:
    write_shard(tmp_path / "pets/train/0.tar", samples(["cat", "dog"]))
    assert isinstance(detect_source(tmp_path / "pets"), WebdatasetSource)
    assert isinstance(detect_source(tmp_path / "pets/train/0.tar"), WebdatasetSource)


def test_a_label_of_thousands_of_digits_is_a_word(tmp_path: Path) -> None:
    """Python refuses to read it as a number."""
    root = write_shard(tmp_path / "pets/train.tar", samples(["1" * 5000, "2"] * 2))
    with pytest.raises(DataError, match="must have at most 500 characters, but has 5000"):
        load(root)


def test_every_kind_of_image_is_read_and_others_are_told(tmp_path: Path) -> None:
    files = samples(["cat", "dog", "cat", "dog"])
    files["000002.jfif"] = files.pop("000002.jpg")
    files |= {"000009.psd": b"layers", "000009.cls": b"cat"}
    dataset = load(write_shard(tmp_path / "pets/train.tar", files))
    assert len(dataset.splits["train"]) == 4
    assert "1 image(s) are passed over (1 .psd), such as " in dataset.notes[0]
    assert "train.tar 000009.psd: convert them to .png or .jpg" in dataset.notes[0]


def test_a_file_with_two_names_is_read_under_both(tmp_path: Path) -> None:
    """So does tar store hard links, which tools leave that put equal files together."""
    for name, content in samples(["cat", "dog"]).items():
        (tmp_path / name).write_bytes(content)
    for ending in ("jpg", "cls"):
        os.link(tmp_path / f"000000.{ending}", tmp_path / f"000002.{ending}")
    (tmp_path / "pets").mkdir()
    with tarfile.open(tmp_path / "pets/train.tar", "w") as tar:
        for path in sorted(tmp_path.glob("0*")):
            tar.add(path, path.name)
    train = load(tmp_path / "pets").splits["train"]
    assert [item.label for item in train] == [0, 1, 0]
    assert train[2].read() == train[0].read() == encoded(noise(seed=0), "JPEG")


def test_a_file_that_is_stored_with_gaps_is_refused(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    for name, content in samples(["cat", "dog"]).items():
        (tmp_path / name).write_bytes(content)
    with (tmp_path / "000000.jpg").open("ab") as file:
        file.truncate(2**20)
    (tmp_path / "pets").mkdir()
    names = sorted(path.name for path in tmp_path.glob("0*"))
    command = ["tar", "--sparse", "--format=gnu", "-cf", "pets/train.tar", *names]
    subprocess.run(command, cwd=tmp_path, check=True)
    with pytest.raises(DataError, match="is stored with gaps: pack it again without"):
        load(tmp_path / "pets")
