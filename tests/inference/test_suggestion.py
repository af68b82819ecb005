"""Images that nobody has labelled, and which of them are named."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from craft_ray.config.data import CsvSource
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.data.sources import load_dataset
from craft_ray.errors import ConfigError, DataError
from craft_ray.inference.images import ImagesAt
from craft_ray.inference.suggestion import (
    Labelled,
    Suggested,
    ask,
    gather,
    labelled_so_far,
    names_asked,
    suggest,
)
from craft_ray.inference.suggestion_files import check_out, write_table, written_path
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.images import encoded, noise
from tests.support.world import CLASS_NAMES, run_config, world_data

NAMES = run_config(method="head", head={"kind": "probes", "names": 24})
FEATURES = run_config(
    method="head", head={"kind": "features"}, oracle={"model": "embedded", "features": True}
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of twelve images of each of four classes, named so that a test knows them."""
    items = world_data(shots=12).dataset.splits["train"]
    for number, item in enumerate(items[:48]):
        path = tmp_path / "photos" / f"{CLASS_NAMES[item.label]} {number:02}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.read())
    return tmp_path / "photos"


def named(suggested: list[Suggested]) -> list[str]:
    return [each.path.name.rsplit(maxsplit=1)[0] for each in suggested]


@pytest.mark.parametrize("config", [NAMES, FEATURES], ids=["names", "features"])
def test_every_class_is_met_by_as_many_labels_for_one_question_an_image(
    config: RunConfig, photos: Path
) -> None:
    oracle = FakeFeatureOracle()
    metered = MeteredOracle(oracle, QueryLedger(0))
    pool = gather(ImagesAt([photos]), [])
    answers_NF = ask(metered, config, pool)
    suggested = suggest(answers_NF, pool, 4, config)
    assert sorted(named(suggested)) == sorted(CLASS_NAMES)
    assert metered.ledger.spent.evaluation_predictions == 48
    by_features = config is FEATURES
    assert oracle.images_embedded == 48 * by_features
    assert oracle.images_predicted == 48 * (not by_features)
    assert len(names_asked(config)) == 24 * (not by_features)


def test_labelled_images_are_known_wherever_they_lie(photos: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "done" / "cat" / "0.png"
    elsewhere.parent.mkdir(parents=True)
    first = next(iter(sorted(photos.iterdir())))
    elsewhere.write_bytes(first.read_bytes())
    other = elsewhere.with_name("1.png")
    other.write_bytes(encoded(noise(seed=5)))
    labelled = labelled_so_far(tmp_path / "done")
    assert labelled == [Labelled(elsewhere, "cat"), Labelled(other, "cat")]
    pool = gather(ImagesAt([photos]), labelled)
    assert [pool.items[place].name for place in pool.known] == [str(first), str(other)]
    assert pool.num_images == 48
    answers_NF = np.random.default_rng(0).normal(size=(49, 30)).astype(np.float32)
    found = suggest(answers_NF, pool, 100, NAMES)
    assert len(found) == 47
    assert first not in [each.path for each in found]


def test_class_folders_may_be_in_folders_of_splits_and_have_folders(tmp_path: Path) -> None:
    places = ("val/cat/1.png", "train/dog/2.png", "owl/deep/3.png", "test/4.png")
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"")
    found = {str(each.path.relative_to(tmp_path)): each for each in labelled_so_far(tmp_path)}
    assert [(found[place].label, found[place].split) for place in places] == [
        *(("cat", "val"), ("dog", "train"), ("owl", "train"), ("test", "train")),
    ]
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"must be in a folder of their class, but .*5\.png is"):
        labelled_so_far(tmp_path)


def test_what_cannot_be_named_or_read_is_left_out_and_told(tmp_path: Path) -> None:
    for name, seed in (("a.png", 0), ("b.png", 1), ("again.png", 0)):
        (tmp_path / name).write_bytes(encoded(noise(seed=seed)))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:
        file.write(encoded(noise(seed=2)))
    pool = gather(ImagesAt([tmp_path]), [Labelled(tmp_path / "gone.png", "cat")])
    assert [Path(item.name).name for item in pool.items] == ["a.png", "b.png"]
    assert (pool.known, pool.num_images) == ((), 5)
    assert pool.left_out == (
        "1 image(s) that are broken",
        "1 image(s) that are there twice",
        "1 image(s) whose names are not UTF-8, so that no table can name them",
        "1 image(s) that are labelled and cannot be read",
    )


def test_where_all_is_labelled_nothing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise()))
    with pytest.raises(DataError, match="not labelled or skipped yet, but of 1 none is"):
        gather(ImagesAt([path]), [Labelled(path, "cat")])


def test_images_that_no_table_can_name_are_refused_with_what_to_do() -> None:
    row = Item(encoded(noise()), 0, "pets.parquet row 3")
    with pytest.raises(DataError, match=r"row 3: must be an image file, .* write its images into"):
        gather([row], [])


def test_too_few_names_are_refused() -> None:
    config = run_config(method="head", head={"kind": "probes", "names": 3})
    with pytest.raises(ConfigError, match="must be at least 20 to tell images apart, but got 3"):
        names_asked(config)


def test_the_table_is_read_back_as_it_is_filled_in(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())[:6]
    table = photos.parent / "labels.csv"
    suggested = [Suggested(item, Path(item.name), 3) for item in ImagesAt(paths[2:])]
    write_table(table, [Labelled(p, "cat, black", "test") for p in paths[:2]], suggested)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["path"] for row in rows] == [f"photos/{path.name}" for path in paths]
    assert [row["label"] for row in rows] == ["cat, black"] * 2 + [""] * 4
    text = table.read_text().replace(",,", ",dog,", 2)
    table.write_text(text)
    assert labelled_so_far(table) == [
        *(Labelled(path, "cat, black", "test") for path in paths[:2]),
        *(Labelled(path, "dog") for path in paths[2:4]),
    ]
    dataset = load_dataset(CsvSource(file=str(table)))
    assert {split: len(items) for split, items in dataset.splits.items()} == {"train": 2, "test": 2}
    assert "2 image(s) without a label are left out" in dataset.notes[0]


def test_a_path_is_relative_where_the_table_may_move_with_it() -> None:
    assert written_path(Path("/a/photos/1.png"), Path("/a/labels.csv")) == "photos/1.png"
    assert written_path(Path("/a/photos/1.png"), Path("/b/labels.csv")) == "/a/photos/1.png"


def test_no_label_is_overwritten(tmp_path: Path) -> None:
    table, other = tmp_path / "labels.csv", tmp_path / "other.csv"
    check_out(table, None)
    table.write_text("path,label,split\na.png,,train\n")
    check_out(table, None)  # nothing is lost
    table.write_text("path,label,split\na.png,,train\nb.png,cat,train\n")
    other.write_text("notes of somebody\n")
    for path, labelled in ((table, None), (table, tmp_path), (other, None)):
        with pytest.raises(ConfigError, match="must not be overwritten, as it may have labels"):
            check_out(path, labelled)
    check_out(table, table)
    with pytest.raises(ConfigError, match="must end on"):
        check_out(tmp_path / "labels.parquet", None)
