"""Which data sets are turned and put on white, and which must stay as they always were."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from craft_ray.config.base import Settings
from craft_ray.config.data import (
    CoopSource,
    CsvSource,
    DataSource,
    EmbeddedSource,
    FolderSource,
    ParquetSource,
)
from craft_ray.config.given import given_run, given_space
from craft_ray.config.resuming import Change, changes_that_matter
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.data.check import check_dataset
from craft_ray.data.convert import convert
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.decoding import AS_SEEN, AS_STORED, Decoding
from craft_ray.data.few_shot import verify_decodable
from craft_ray.data.report import show_report
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.task.preparation import load_data
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise, write_parquet, write_tree
from tests.support.world import run_config

ORIENTATION = 0x0112
TURNED, AS_IT_LIES = (12, 10), (10, 12)


def photograph(seed: int = 0) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(noise(12, 10, seed=seed), "JPEG", exif=exif)


def folder(root: Path) -> FolderSource:
    write_tree(root)
    for path in root.rglob("*.png"):  # whose content decides, and not its name
        path.write_bytes(photograph())
    return FolderSource(root=str(root))


def table(root: Path) -> CsvSource:
    folder(root)
    with (root / "table.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        rows.writerows(
            [path.relative_to(root), path.parent.name, path.parent.parent.name]
            for path in sorted(root.rglob("*.png"))
        )
    return CsvSource(file=str(root / "table.csv"))


def parquet(root: Path) -> ParquetSource:
    images = [{"bytes": photograph(seed), "path": None} for seed in range(3)]
    return ParquetSource(root=str(write_parquet(root, images=images)))


def size_of(source: DataSource) -> tuple[int, int]:
    return load_dataset(source).splits["train"][0].decode().size


@pytest.mark.parametrize("make", [folder, table, parquet])
def test_photographs_of_users_are_turned_unless_it_is_switched_off(
    make: Any, tmp_path: Path
) -> None:
    source = make(tmp_path / "set")
    assert size_of(source) == TURNED
    assert size_of(source.model_copy(update={"exif_orientation": False})) == AS_IT_LIES
    grey = load_dataset(source.model_copy(update={"background": "grey"}))
    assert grey.decoding == Decoding(background="grey")


def test_the_papers_and_the_embedded_set_stay_as_they_are(tmp_path: Path) -> None:
    expected = write_coop(tmp_path, "dtd")
    for path, _ in expected.splits["train"]:
        path.write_bytes(photograph())
    source = CoopSource(root=str(tmp_path), dataset="dtd")
    assert load_dataset(source).decoding == AS_STORED
    assert size_of(source) == AS_IT_LIES
    assert size_of(source.model_copy(update={"exif_orientation": True})) == TURNED
    assert load_dataset(EmbeddedSource()).decoding == AS_STORED


def test_a_converted_set_remembers_how_it_is_decoded(tmp_path: Path) -> None:
    source = folder(tmp_path / "set").model_copy(update={"exif_orientation": False})
    convert(load_dataset(source), tmp_path / "new", shard_bytes=2**20)
    new = ParquetSource(root=str(tmp_path / "new"))
    assert size_of(new) == AS_IT_LIES
    assert size_of(new.model_copy(update={"exif_orientation": True})) == TURNED
    convert(load_dataset(folder(tmp_path / "other")), tmp_path / "newer", shard_bytes=2**20)
    assert load_dataset(ParquetSource(root=str(tmp_path / "newer"))).decoding == AS_SEEN


@pytest.mark.parametrize("is_search", [False, True])
def test_an_unfinished_run_of_an_older_version_is_not_resumed_with_other_images(
    is_search: bool,
) -> None:
    given = {"data.source.kind": "folder", "data.source.root": "/images"}
    model: type[Settings] = SpaceConfig if is_search else RunConfig
    now = given_space(None, given) if is_search else given_run(None, given)
    settings, stored = now.model_dump(mode="json"), now.model_dump(mode="json")
    source = (stored["base"] if is_search else stored)["data"]["source"]
    del source["exif_orientation"], source["background"]
    prefix = "base." if is_search else ""
    changes = changes_that_matter(model, stored, settings)
    assert changes == [
        Change(f"{prefix}data.source.background", "dropped", None),
        Change(f"{prefix}data.source.exif_orientation", False, None),
    ]
    assert changes_that_matter(model, settings, settings) == []


def test_an_unfinished_run_of_the_embedded_set_goes_on() -> None:
    settings = RunConfig().model_dump(mode="json")
    assert changes_that_matter(RunConfig, settings, settings) == []


def mixed() -> Dataset:
    transparent = encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    animated = encoded(noise(seed=1), "GIF", save_all=True, append_images=[noise(seed=2)])
    deep = encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000))
    contents = [photograph(), transparent, animated, deep, encoded(noise(seed=3))]
    items = [Item(content, place % 2, f"{place}") for place, content in enumerate(contents)]
    return Dataset("pets", ("cat", "dog"), {"train": items})


def test_check_counts_what_is_special_and_complains_of_none_of_it() -> None:
    report = check_dataset(mixed())
    assert report.num_findings == 0
    assert report.traits == {
        "turned": 1,
        "transparent": 1,
        "several pictures": 1,
        "16 bits": 1,
    }
    stream = io.StringIO()
    show_report(report, Console(file=stream, width=80))
    text = stream.getvalue()
    assert "Good to know: 1 of 5 images is turned as EXIF says" in text
    assert "1 of 5 images holds several pictures" in text
    assert "Nothing to complain of." in text


def test_check_says_of_the_papers_what_is_not_done() -> None:
    items = [replace(item, decoding=AS_STORED) for item in mixed().splits["train"]]
    report = check_dataset(replace(mixed(), splits={"train": items}))
    assert report.traits["turned"] == 1
    assert any("data.source.exif_orientation=true does it" in each for each in report.looks)


def test_a_run_begins_with_what_was_found_in_its_images(tmp_path: Path) -> None:
    source = folder(tmp_path / "set").model_dump(mode="json")
    data = load_data(run_config(data={"source": source, "shots": 1}))
    (note,) = data.dataset.notes
    assert note.startswith("10 of 10 images are turned as EXIF says")


def test_a_broken_image_is_named_with_the_commands_that_find_and_leave_out_all() -> None:
    cut = Item(photograph()[:300], 0, "cut.jpg")
    with pytest.raises(DataError, match=r"cut\.jpg.*data check.*--skip-broken"):
        verify_decodable([cut])
