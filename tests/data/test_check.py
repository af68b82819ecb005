"""What `check` finds in a data set."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from craft_ray.data.check import check_dataset
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.report import SHOWN_AT_MOST, show_report
from craft_ray.data.sources.coop_table import COOP_TABLE
from tests.support.images import encoded, noise

IMAGES = [encoded(noise(seed=seed)) for seed in range(8)]


def items(*rows: tuple[int, int], split: str = "train") -> list[Item]:
    """Rows of (image, label)."""
    return [
        Item(IMAGES[image], label, f"{split}/{position}.png")
        for position, (image, label) in enumerate(rows)
    ]


def shown(dataset: Dataset, width: int = 80) -> str:
    stream = io.StringIO()
    show_report(check_dataset(dataset, COOP_TABLE["dtd"]), Console(file=stream, width=width))
    return stream.getvalue()


CLEAN = Dataset(
    "pets",
    ("cat", "dog"),
    {"train": items((0, 0), (1, 1), (2, 1)), "test": items((3, 0), split="test")},
)


def test_a_clean_set_has_counts_and_no_finding() -> None:
    report = check_dataset(CLEAN)
    assert report.counts == {"train": (1, 2), "test": (1, 0)}
    assert report.num_findings == 0
    assert "Nothing to complain of." in shown(CLEAN)


def test_broken_images_are_named_and_not_compared() -> None:
    train = [*items((0, 0), (1, 1)), *[Item(b"x", 0, f"broken {n}") for n in range(2)]]
    report = check_dataset(Dataset("pets", ("cat", "dog"), {"train": train}))
    assert [reason.split(":")[0] for reason in report.broken] == ["broken 0", "broken 1"]
    assert report.num_findings == 2
    assert report.num_repeated == 0


def test_the_same_image_in_two_splits_is_a_leak() -> None:
    splits = {"train": items((0, 0), (1, 1)), "test": items((2, 0), (1, 1), split="test")}
    report = check_dataset(Dataset("pets", ("cat", "dog"), splits))  # type: ignore[arg-type]
    (leak,) = report.leaks
    assert (leak.image, leak.split) == ("test/1.png", "test")
    assert (leak.other_image, leak.other_split) == ("train/1.png", "train")
    assert (report.contradictions, report.num_repeated, report.num_findings) == ((), 0, 1)


def test_the_same_image_in_two_classes_is_a_contradiction() -> None:
    report = check_dataset(Dataset("pets", ("cat", "dog"), {"train": items((0, 0), (0, 1))}))
    (pair,) = report.contradictions
    assert (pair.class_name, pair.other_class_name) == ("dog", "cat")
    assert (report.leaks, report.num_repeated) == ((), 0)


def test_an_image_may_be_both() -> None:
    splits = {"train": items((0, 0), (1, 1)), "test": items((0, 1), split="test")}
    report = check_dataset(Dataset("pets", ("cat", "dog"), splits))  # type: ignore[arg-type]
    assert len(report.leaks) == len(report.contradictions) == 1


def test_an_image_that_is_repeated_in_its_class_is_counted_and_no_finding() -> None:
    dataset = Dataset("pets", ("cat", "dog"), {"train": items((0, 0), (0, 0), (0, 0), (1, 1))})
    report = check_dataset(dataset)
    assert (report.num_repeated, report.num_findings) == (2, 0)
    assert "Repeated within a class of a split: 2 images." in shown(dataset)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            ("cat", "Cat"),
            "class names must differ, but got 'cat' and 'Cat', which are the same to the model but "
            "for case, spaces, quotes or encoding",
        ),
        (("cat", " "), "a class name must not be empty, but got ' '"),
        (("cat", "7"), "class '7' is a number, which says nothing in a prompt"),
        (("cat", "n01440764"), "class 'n01440764' is a WordNet id, which says nothing in a prompt"),
        (("cat", "dog "), "class 'dog ' begins or ends with a space"),
        (("cat", "dog", "lynx"), "class 'lynx' has no training image"),
    ],
)
def test_class_problems_are_found(names: tuple[str, ...], problem: str) -> None:
    report = check_dataset(Dataset("pets", names, {"train": items((0, 0), (1, 1))}))
    assert report.class_problems == (problem,)
    assert report.num_findings == 1


def test_a_single_class_is_found() -> None:
    report = check_dataset(Dataset("pets", ("cat",), {"train": items((0, 0))}))
    assert report.class_problems == ("at least 2 classes are needed, but got 1",)


def test_classes_that_ids_tell_apart_may_share_a_name() -> None:
    names, ids = ("kite", "tench", "Kite"), ("a", "b", "c")
    dataset = Dataset("x", names, {"train": items((0, 0), (1, 1), (2, 2))}, None, ids)
    report = check_dataset(dataset)
    assert (report.num_findings, report.shared_names) == (0, ("kite",))
    assert "Names of several classes: kite. A prompt gives them equal logits" in shown(dataset)


def test_the_report_fits_80_columns_and_markup_in_names_is_text() -> None:
    names = ("[bold]cat[/]", " ".join(["a very long name of a class"] * 8))
    text = shown(Dataset("pets", names, {"train": items((0, 0), (1, 1))}))
    assert "[bold]cat[/]" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Licence: research purposes\nUsual template: {} texture.\n" in text


def test_long_lists_are_cut_for_people_and_whole_in_json() -> None:
    train = [*items((0, 0), (1, 1)), *[Item(b"x", 0, f"broken {n}") for n in range(50)]]
    dataset = Dataset("pets", ("cat", "dog"), {"train": train})
    text = shown(dataset)
    assert text.count("must be a readable image") == SHOWN_AT_MOST
    assert "and 30 more: --json lists them all" in text
    document = json.loads(json.dumps(check_dataset(dataset).as_dict()))
    assert len(document["broken"]) == document["num_findings"] == 50
    assert document["counts"] == {"train": [51, 1]}


def test_files_are_read_from_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGES[0])
    paths = [Item(tmp_path / name, 0, name) for name in ("a.png", "gone.png")]
    report = check_dataset(Dataset("pets", ("cat", "dog"), {"test": paths}))
    (reason,) = report.broken
    assert reason.startswith("gone.png: must be readable")
