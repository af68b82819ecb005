"""Copies across splits that are not equal files are found, and hardly anything else."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from craft_ray.commands import data as command
from craft_ray.config.data import EmbeddedSource
from craft_ray.data.check import check_dataset
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.near_duplicates import (
    FARTHEST,
    NearDuplicate,
    nearest_of_earlier,
)
from craft_ray.data.sources import load_dataset
from tests.support.images import encoded, noise

EMBEDDED = load_dataset(EmbeddedSource())

Change = Callable[[Image.Image], tuple[Image.Image, dict[str, object]]]


def find_near_duplicates(dataset: Dataset) -> tuple[NearDuplicate, ...]:
    return check_dataset(dataset).near_duplicates


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


COPIES: dict[str, Change] = {
    "JPEG 75": lambda image: (image, {"format": "JPEG", "quality": 75}),
    "JPEG 50": lambda image: (image, {"format": "JPEG", "quality": 50}),
    "half": lambda image: (scaled(image, 0.5), {"format": "PNG"}),
    "three quarters": lambda image: (scaled(image, 0.75), {"format": "PNG"}),
    "double, JPEG 75": lambda image: (scaled(image, 2), {"format": "JPEG", "quality": 75}),
    "mirrored": lambda image: (
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        {"format": "PNG"},
    ),
}


def blurred(seed: int) -> Image.Image:
    """Noise of a few large spots: as in photographs, neighbouring pixels are alike."""
    return noise(5, 5, seed).resize((64, 64), Image.Resampling.BICUBIC)


def copy_of(item: Item, change: Change, name: str) -> Item:
    image, how = change(item.decode())
    stream = io.BytesIO()
    image.save(stream, **how)  # type: ignore[arg-type]
    return Item(stream.getvalue(), item.label, name)


def test_planted_copies_are_found_and_hardly_anything_else() -> None:
    """A sixth of the training images each, copied into the test split in one of the ways."""
    train, copies, originals = EMBEDDED.splits["train"], [], {}
    for place, (kind, change) in enumerate(COPIES.items()):
        for number, item in enumerate(train[place :: len(COPIES)]):
            copies.append(copy_of(item, change, f"copy, {kind}, {number}"))
            originals[copies[-1].name] = item.name
    splits = {**EMBEDDED.splits, "test": [*EMBEDDED.splits["test"], *copies]}
    found = {pair.image: pair for pair in find_near_duplicates(replace(EMBEDDED, splits=splits))}
    for kind in COPIES:
        of = [name for name in originals if f", {kind}, " in name]
        right = [name in found and found[name].other_image == originals[name] for name in of]
        assert sum(right) >= 0.95 * len(of), kind
    others = set(found) - set(originals)
    num_others = sum(map(len, EMBEDDED.splits.values()))
    assert len(others) < 0.001 * num_others, "nothing of the data set is taken for a copy"
    mirrored = [pair.mirrored for name, pair in found.items() if "mirrored" in name]
    assert sum(mirrored) >= 0.8 * len(mirrored)  # of the others the image is its own mirror image
    assert all(0 <= pair.distance <= FARTHEST for pair in found.values())


def test_equal_files_flat_ones_broken_ones_and_copies_within_a_split_are_not_among_them() -> None:
    image = encoded(blurred(1))
    flat = io.BytesIO()
    Image.new("RGB", (20, 20), "white").save(flat, "PNG")
    train = [Item(image, 0, "a"), Item(flat.getvalue(), 0, "white"), Item(b"no image", 0, "broken")]
    again = copy_of(train[0], COPIES["JPEG 75"], "again")
    test = [Item(image, 0, "the same file"), Item(flat.getvalue() + b" ", 0, "white too")]
    dataset = Dataset("pets", ("cat", "dog"), {"train": [*train, again], "test": test})
    assert find_near_duplicates(dataset) == ()
    assert find_near_duplicates(Dataset("pets", ("cat", "dog"), {"train": [*train, again]})) == ()


def test_the_tree_finds_what_comparing_all_with_all_finds() -> None:
    rng = np.random.default_rng(3)
    rows_NP = rng.normal(size=(300, 192)).astype(np.float32)
    rows_NP[150:250] = rows_NP[:100] + 0.05 * rng.normal(size=(100, 192)) * rng.random((100, 1))
    rows_NP /= np.linalg.norm(rows_NP, axis=1, keepdims=True)
    found = nearest_of_earlier(rows_NP, [0, 150, 300])
    apart = np.linalg.norm(rows_NP[150:, None] - rows_NP[None, :150], axis=2)
    expected = {
        150 + row: int(each.argmin()) for row, each in enumerate(apart) if each.min() <= FARTHEST
    }
    assert 50 < len(expected) <= 100
    assert {row: other for row, (other, _, mirrored) in found.items() if not mirrored} == expected


def test_many_images_take_seconds() -> None:
    rng = np.random.default_rng(4)
    spectrum = 1 / np.arange(1, 193)  # images differ in few directions most
    rows_NP = (rng.normal(size=(20_000, 192)) * spectrum).astype(np.float32)
    rows_NP /= np.linalg.norm(rows_NP, axis=1, keepdims=True)
    start = time.process_time()
    nearest_of_earlier(rows_NP, [0, 10_000, 20_000])
    assert time.process_time() - start < 60


def test_images_that_all_look_alike_fill_no_memory() -> None:
    """As frames of a camera: each of 700 has 1,300 candidates, mirrored or not."""
    rng = np.random.default_rng(5)
    rows_NP = rng.normal(size=192) + 0.01 * rng.normal(size=(2_000, 192))
    rows_NP = (rows_NP / np.linalg.norm(rows_NP, axis=1, keepdims=True)).astype(np.float32)
    tracemalloc.start()
    found = nearest_of_earlier(rows_NP, [0, 1_300, 2_000])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    apart = np.linalg.norm(rows_NP[1_300:1_310, None] - rows_NP[None, :1_300], axis=2)
    distances = [found[row][1] for row in range(1_300, 1_310)]
    np.testing.assert_allclose(distances, apart.min(axis=1), atol=1e-4)


def test_each_image_is_read_once() -> None:
    """On an object store, reading again costs time and money."""
    counts: Counter[str] = Counter()

    @dataclass(frozen=True)
    class Counted:
        name: str
        content: bytes

        def read(self) -> bytes:
            counts[self.name] += 1
            return self.content

    image = Item(encoded(blurred(1)), 0, "")
    splits: dict[Split, list[Item]] = {}
    changes: dict[Split, str] = {"train": "JPEG 75", "test": "half"}
    for split, change in changes.items():
        content = copy_of(image, COPIES[change], "").read()
        names = [f"{split} {number}" for number in range(2)]
        splits[split] = [Item(Counted(name, content), 0, name) for name in names]
    report = check_dataset(Dataset("pets", ("cat", "dog"), splits))
    assert len(report.near_duplicates) == 2
    assert counts == {f"{split} {number}": 1 for split in splits for number in range(2)}


def test_check_tells_them_apart_from_leaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            (folder / "own.png").write_bytes(encoded(blurred(number + 10 * (split == "test"))))
    original = Item((tmp_path / "train" / "cat" / "own.png").read_bytes(), 0, "own")
    copy = copy_of(original, COPIES["double, JPEG 75"], "copy")
    assert isinstance(copy.encoded, bytes)
    (tmp_path / "test" / "dog" / "copy.jpg").write_bytes(copy.encoded)
    assert command.main(["check", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "Near-duplicates: the image looks like one of another split (1):" in said
    assert "copy.jpg (test) looks like" in said
    assert "and is dog where that is cat" in said
    assert "Leaks" not in said
    assert command.main(["check", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [pair["other_split"] for pair in report["near_duplicates"]] == ["train"]
    assert report["leaks"] == []


def test_areas_of_one_colour_are_not_compared() -> None:
    """Two shades of red are not one photograph in two lights."""

    def plain(shade: int, split: str) -> Item:
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(stream, "PNG")
        return Item(stream.getvalue(), 0, f"{split} {shade}")

    splits: dict[Split, list[Item]] = {"train": [plain(41, "train")], "test": [plain(90, "test")]}
    assert find_near_duplicates(Dataset("shades", ("a", "b"), splits)) == ()
