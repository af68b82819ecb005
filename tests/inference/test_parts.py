"""A call that is cut short loses a part at most, and its successor asks nothing again."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError
from craft_ray.inference import parts as parts_module
from craft_ray.inference.output import columns
from craft_ray.inference.parts import Parts, folder_of_parts

ITEMS = [Item(b"", 0, f"{number}.png") for number in range(10)]
REQUEST = {"classifier": "c", "top": 1}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "IMAGES_OF_A_PART", 3)


def opened(out: Path, *, resume: bool = False, request: dict[str, Any] = REQUEST) -> Parts:
    return Parts(out, request, columns(1), resume=resume)


def label(parts: Parts, items: list[Item]) -> None:
    """One at a time; every image whose number is 4 is unreadable."""
    for item in items:
        is_read = item.name != "4.png"
        rows = [[item.name, "cat", 0.5]] if is_read else []
        parts.add([item], rows, [] if is_read else [f"{item.name}: broken"])


def labels_in(out: Path) -> list[tuple[str, str, float]]:
    if out.suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
    else:
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
    return [(row["path"], row["label"], float(row["probability"])) for row in rows]


EXPECTED = [(item.name, "cat", 0.5) for item in ITEMS if item.name != "4.png"]


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
@pytest.mark.parametrize("before_the_kill", range(11))
def test_what_was_stored_is_not_asked_again_and_the_file_is_whole(
    name: str, before_the_kill: int, tmp_path: Path
) -> None:
    out = tmp_path / name
    label(opened(out), ITEMS[:before_the_kill])  # killed: nothing more is done
    assert not out.exists()
    parts = opened(out, resume=True)
    assert parts.num_images == before_the_kill // 3 * 3
    left = list(parts.left(iter(ITEMS)))
    assert left == ITEMS[parts.num_images :]
    label(parts, left)
    parts.finish()
    assert labels_in(out) == EXPECTED
    assert parts.unreadable == ["4.png: broken"]
    assert list(tmp_path.iterdir()) == [out]


def test_who_is_stopped_keeps_also_what_is_no_whole_part(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    parts = opened(out)
    label(parts, ITEMS[:5])
    parts.keep()
    assert opened(out, resume=True).num_images == 5


def test_a_slow_model_stores_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "SECONDS_OF_A_PART", 0.0)
    parts = opened(tmp_path / "labels.csv")
    label(parts, ITEMS[:2])
    assert parts.num_images == 2


def test_a_half_written_part_does_not_count(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    label(opened(out), ITEMS[:6])
    newest = max(folder_of_parts(out).glob("part-*"))
    newest.rename(newest.with_name(f".{newest.name}.part"))
    assert opened(out, resume=True).num_images == 3


def test_what_does_not_continue_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    label(opened(out), ITEMS[:6])
    with pytest.raises(ConfigError, match="after 6 images: --resume goes on"):
        opened(out)
    with pytest.raises(ConfigError, match=r"--resume: .* must be asked for as it was begun"):
        opened(out, resume=True, request={**REQUEST, "top": 2})
    parts = opened(out, resume=True)
    with pytest.raises(ConfigError, match="IMAGES must be those"):
        list(parts.left(reversed(ITEMS)))
    del parts
    broken = min(folder_of_parts(out).glob("part-*"))
    broken.write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="must be as it was written"):
        opened(out, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_two_do_not_make_one_file_at_a_time(resume: bool, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    parts = opened(out)
    label(parts, ITEMS[:2])  # nothing is stored yet
    with pytest.raises(ConfigError, match="is being made by another call: wait for it, or name"):
        opened(out, resume=resume)
    label(parts, ITEMS[2:])
    parts.finish()
    assert labels_in(out) == EXPECTED
    opened(out).abandon_if_empty()


def test_nothing_stays_where_nothing_was_asked(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    opened(out).abandon_if_empty()
    assert list(tmp_path.iterdir()) == []
    parts = opened(out)
    label(parts, ITEMS[:4])
    parts.discard()
    parts.abandon_if_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        opened(tmp_path / "absent" / "labels.csv")
