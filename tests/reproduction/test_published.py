"""What is published: the file is whole, and each number stands beside its own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from craft_ray.config.data import ShiftedName
from craft_ray.config.reproduction import OURS, PAPER_DATASETS
from craft_ray.reproduction.published import (
    PUBLISHED_FILE,
    Access,
    Published,
    Reading,
    all_published,
    anchor_on,
    published_beside,
    published_on,
)

WITH_BOTH = [one for one in all_published() if one.average and one.datasets]


def named(one: Published) -> str:
    return f"{one.backbone}-{one.method}-{one.table}"


def number(*place: str | int) -> float | None:
    beside = published_beside(*place)  # type: ignore[arg-type]
    return None if beside is None else beside.accuracy


@pytest.mark.parametrize("one", all_published(), ids=named)
def test_an_entry_says_where_it_was_read_and_has_a_number_for_all_shots(one: Published) -> None:
    assert one.source.startswith("https://")
    assert one.access in get_args(Access)
    assert one.reading in get_args(Reading)
    assert one.chosen_by
    assert one.average or one.datasets
    assert {len(row) for row in (one.average, *one.datasets.values()) if row} == {len(one.shots)}
    known = {*PAPER_DATASETS, *get_args(ShiftedName)}
    assert set(one.datasets) <= known
    values = [*one.average, *(value for row in one.datasets.values() for value in row)]
    assert all(0 < value < 100 for value in values)


@pytest.mark.parametrize("one", WITH_BOTH, ids=named)
def test_an_average_is_that_of_its_rows(one: Published) -> None:
    # Written down apart from the rows. The sources print two digits, SiM's table one.
    digits = 0.051 if one.backbone == "ViT-L-14" else 0.0051
    for place, average in enumerate(one.average):
        rows = [row[place] for row in one.datasets.values()]
        assert sum(rows) / len(rows) == pytest.approx(average, abs=digits)
    assert len(one.datasets) == (10 if one.backbone == "ViT-L-14" else 11)


def test_the_averages_are_the_papers() -> None:
    # Written down a second time.
    by_name = {(one.backbone, one.method): one for one in all_published() if one.table == "main"}
    averages = {name: one.average[-1] for name, one in by_name.items() if one.average}
    assert averages["RN50", "GDA"] == 76.05
    assert averages["RN50", "CraFT"] == 71.22
    assert averages["RN50", "CoOp"] == 73.45
    assert averages["RN50", "Tip-Adapter-F"] == 75.83
    assert averages["RN50", "APE-T"] == 77.28
    assert averages["RN50", "ProLIP, validation-free"] == 75.26
    assert averages["ViT-B-16", "GDA"] == 81.85
    assert averages["ViT-B-16", "ProKeR"] == 82.01
    assert averages["ViT-L-14", "SiM"] == 83.9
    assert by_name["RN50", "GDA"].accuracy("fgvc_aircraft", 16) == 40.61
    assert by_name["RN50", "GDA"].accuracy("dtd", 1) == 46.26
    assert by_name["RN50", "CoOp"].accuracy("eurosat", 8) == 77.13


def test_what_was_found_in_no_text_is_marked() -> None:
    unsure = {(one.backbone, one.method) for one in all_published() if one.reading == "memory"}
    assert unsure == {("RN50", "LP++")}


def test_a_name_is_once_on_a_backbone_and_one_of_them_is_the_anchor() -> None:
    for backbone in ("RN50", "ViT-B-16", "ViT-L-14"):
        names = [one.method for one in published_on(backbone)]
        assert len(set(names)) == len(names)
        assert [one.anchor for one in published_on(backbone)].count(True) == 1
    assert (anchor_on("RN50"), anchor_on("embedded")) == (published_on("RN50")[7], None)
    assert anchor_on("RN50-quickgelu") == anchor_on("RN50")


@pytest.mark.parametrize("method", OURS)
def test_ours_is_compared_with_the_anchor(method: str) -> None:
    assert number("RN50", "eurosat", method, 16) == 86.12
    assert number("ViT-B-16", "eurosat", method, 16) == 89.19
    assert number("ViT-B-16", "eurosat", method, 8) is None
    assert number("RN50", "imagenetv2", method, 16) is None


def test_a_method_is_compared_with_itself() -> None:
    assert number("RN50", "fgvc_aircraft", "prompt_only", 16) == 12.07
    assert number("RN50", "fgvc_aircraft", "prompt_only", 1) == 3.58
    assert number("RN50", "food101", "zero_shot", 0) == 77.31
    assert number("RN101", "dtd", "craft", 16) is None
    assert number("RN50", "dtd", "craft", 3) is None
    assert number("RN50", "dtd", "head_only", 16) is None


def test_the_two_tables_of_imagenet_are_told_apart_by_their_budgets() -> None:
    sets = ("imagenet", "imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
    of_shifted = [number("RN50", name, "craft", 16, 2000) for name in sets]
    assert of_shifted == [61.17, 53.92, 34.01, 23.13, 58.23]
    assert number("RN50", "imagenet", "craft", 16, 4000) == 61.33
    assert number("RN50", "imagenetv2", "craft", 16, 4000) is None
    assert number("ViT-B-16", "imagenet", "craft", 16, 4000) is None
    assert number("ViT-B-16", "imagenet", "craft", 16, 2000) == 68.21
    assert number("ViT-B-16-quickgelu", "imagenet_r", "craft", 16, 2000) == 75.52
    assert number("RN50", "imagenetv2", "zero_shot", 0) == 51.34
    assert number("RN50", "imagenet", "craft", 1, 2000) == 58.81
    assert number("RN50", "dtd", "craft", 16, 2000) == 59.26


def test_the_file_is_a_part_of_the_package() -> None:
    root = Path(__file__).parents[2]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    assert PUBLISHED_FILE.name in data["craft_ray.reproduction"]
    assert PUBLISHED_FILE.exists()
