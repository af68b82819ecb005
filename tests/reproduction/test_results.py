"""From cells to rows and files, beside the published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from craft_ray.reproduction.plots import plot_by_queries, plot_by_shots
from craft_ray.reproduction.published import SHIFTED_QUERIES
from craft_ray.reproduction.results import HAND_CRAFTED, comparable, summarise
from craft_ray.reproduction.tables import markdown, write_tables

PHOTO, TEXTURE = "a photo of a {}.", "{} texture."


def cell(
    accuracy: float,
    *,
    dataset: str = "dtd",
    seed: int = 1,
    shots: int = 16,
    method: str = "craft",
    backbone: str = "RN50",
    shifted: dict[str, Any] | None = None,
    template: str = PHOTO,
    max_queries: int = 8000,
    hand_crafted: tuple[str, float] | None = None,
    pretrained: str | None = "openai",
) -> dict[str, Any]:
    by_hand = hand_crafted and {
        "template": hand_crafted[0],
        "test": {"accuracy": hand_crafted[1], "loss": 1.0},
    }
    return {
        "backbone": backbone,
        "dataset": dataset,
        "method": method,
        "shots": shots,
        "seed": seed,
        "zero_shot": {"test": {"accuracy": 0.42, "loss": 1.0}, "hand_crafted": by_hand},
        "tuned": {"test": {"accuracy": accuracy, "loss": 1.0}},
        "shifted": shifted or {},
        "curve": [(200.0, 0.4), (400.0, 0.5)],
        "ledger": {"candidate_queries": 8000, "image_predictions": 1000 * seed},
        "seconds": 10.0 * seed,
        "settings": {
            "data": {"template": template},
            "max_queries": max_queries,
            "oracle": {"model": backbone, "pretrained": pretrained},
        },
    }


def test_a_row_is_mean_and_sample_deviation_over_seeds_beside_the_published_number() -> None:
    zero_shot, row = summarise([cell(0.58, seed=1), cell(0.60, seed=2), cell(0.62, seed=3)])
    assert (row.dataset, row.method, row.shots, row.seeds) == ("dtd", "craft", 16, 3)
    assert row.mean == pytest.approx(60.0)
    assert row.std == pytest.approx(2.0)
    assert row.published == 59.26
    assert row.difference == pytest.approx(0.74)
    assert (row.queries, row.image_predictions, row.seconds) == (8000, 2000, 20)
    assert (zero_shot.method, zero_shot.shots, zero_shot.mean) == ("zero_shot", 0, 42.0)
    assert zero_shot.published is None, "that is of another template"


def test_a_published_zero_shot_stands_beside_its_own_template_and_nowhere_else() -> None:
    rows = summarise([cell(0.58, hand_crafted=(TEXTURE, 0.45))])
    ours, theirs, _ = rows
    assert (ours.method, ours.mean, ours.template) == ("zero_shot", 42.0, PHOTO)
    assert ours.published is None
    assert (theirs.method, theirs.mean, theirs.template) == (HAND_CRAFTED, 45.0, TEXTURE)
    assert theirs.published == 42.32
    assert theirs.difference == pytest.approx(45 - 42.32)


def test_where_the_tuned_template_is_the_hand_crafted_one_nothing_is_asked_twice() -> None:
    ours, theirs, _ = summarise([cell(0.9, dataset="caltech101")])
    assert (ours.mean, ours.published, ours.template) == (42.0, 86.29, PHOTO)
    assert (theirs.method, theirs.mean, theirs.published) == (HAND_CRAFTED, 42.0, 86.29)


def test_half_of_the_classes_is_not_compared_with_all_of_them() -> None:
    result = cell(0.9, dataset="caltech101")
    result["settings"]["data"]["classes"] = "base"
    assert [row.published for row in summarise([result])] == [None, None, None]


@pytest.mark.parametrize(
    ("pretrained", "published"),
    [("openai", 91.09), ("OpenAI", 91.09), ("/w/RN50.pt", 91.09), ("cc12m", None)],
)
def test_other_weights_of_the_architecture_are_not_those_of_the_paper(
    pretrained: str, published: float | None
) -> None:
    rows = summarise([cell(0.9, dataset="caltech101", pretrained=pretrained)])
    assert rows[-1].published == published
    assert {row.published is None for row in rows} == {published is None}


def test_what_was_measured_before_there_was_a_second_template_is_read() -> None:
    earlier = cell(0.58)
    del earlier["zero_shot"]["hand_crafted"]
    assert [row.method for row in summarise([earlier])] == ["zero_shot", "craft"]


def test_shifted_sets_are_asked_with_the_hand_crafted_template_too() -> None:
    scores = {"zero_shot": {"accuracy": 0.5}, "hand_crafted": {"accuracy": 0.52}}
    shifted = {"imagenetv2": {**scores, "tuned": {"accuracy": 0.55}}}
    result = cell(
        0.6,
        dataset="imagenet",
        shifted=shifted,
        template="a picture of a {}.",
        hand_crafted=(PHOTO, 0.59),
    )
    by_place = {(row.dataset, row.method): row for row in summarise([result])}
    assert by_place["imagenet", HAND_CRAFTED].published == 58.18
    assert by_place["imagenet", "zero_shot"].published is None
    assert by_place["imagenetv2", HAND_CRAFTED].mean == pytest.approx(52)
    assert by_place["imagenetv2", HAND_CRAFTED].template == PHOTO


def test_one_seed_has_no_spread() -> None:
    _, row = summarise([cell(0.58)])
    assert row.std is None
    assert row.seeds == 1


def test_what_is_not_published_has_no_difference() -> None:
    *_, row = summarise([cell(0.58, dataset="embedded", backbone="embedded")])
    assert row.published is None
    assert row.difference is None


def test_a_shifted_set_is_a_row_of_its_own() -> None:
    scores = {"zero_shot": {"accuracy": 0.5}, "tuned": {"accuracy": 0.55}}
    shifted = {"imagenetv2": scores}
    result = cell(0.61, dataset="imagenet", shifted=shifted, max_queries=SHIFTED_QUERIES)
    rows = summarise([result])
    by_place = {(row.dataset, row.method): row for row in rows}
    assert by_place["imagenetv2", "craft"].mean == pytest.approx(55)
    assert by_place["imagenetv2", "craft"].published == 53.92
    assert by_place["imagenetv2", "zero_shot"].mean == pytest.approx(50)
    assert by_place["imagenetv2", "zero_shot"].published == 51.34


GRID = [
    cell(
        0.55 + 0.01 * seed + 0.001 * shots,
        dataset=dataset,
        seed=seed,
        shots=shots,
        hand_crafted=(template, 0.43),
    )
    for dataset, template in (("dtd", TEXTURE), ("eurosat", "a centered satellite photo of {}."))
    for shots in (1, 16)
    for seed in (1, 2)
]


def cells_of(text: str) -> list[list[str]]:
    """All lines of tables, their cells stripped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_a_method_is_data_sets_by_shots() -> None:
    text = markdown(summarise(GRID), comparable(GRID))
    lines, cells = text.splitlines(), cells_of(text)
    assert "## RN50, CraFT, run here" in lines
    beside = "in brackets zero-shot and CraFT as published, and the difference in points."
    assert any(line.endswith(beside) for line in lines)
    head = ["data set", "zero-shot", "zero-shot, hand-crafted template", "1 shot", "16 shots"]
    at = cells.index(head)
    assert cells[at + 2][1:3] == ["42.00", "43.00 (42.32, +0.68)"]
    assert cells[at + 2][4] == "58.10 ± 0.71 (59.26, -1.16)"
    assert cells[at + 4][0] == "**mean**"
    assert cells[at + 4][2] == "43.00 (39.94, +3.06)"
    assert cells[at + 4][4] == "58.10 (67.28, -9.18)"
    assert f'- Tuned, and zero-shot: "{PHOTO}"' in lines
    theirs = f'"{TEXTURE}" (dtd); "a centered satellite photo of {{}}." (eurosat)'
    assert f"- Hand-crafted: {theirs}" in lines
    assert ["CraFT, run here", "16", "4", "8,000", "1,500", "15"] in cells


def test_a_mean_over_data_sets_wants_all_of_them() -> None:
    results = [*GRID, cell(0.5, dataset="ucf101", shots=16)]
    text = markdown(summarise(results), comparable(results))
    mean = next(cells for cells in cells_of(text) if cells[0] == "**mean**")
    assert mean[2] == "-", "ucf101 was not asked with its own template"
    assert mean[3] == "-", "ucf101 has no value for 1 shot"
    assert mean[4] != "-"


def test_ours_stands_beside_the_anchor() -> None:
    *_, row = summarise([cell(0.7, method="probes")])
    assert (row.beside and row.beside.method, row.published) == ("GDA", 66.51)
    assert row.as_dict()["published_method"] == "GDA"


def test_tables_for_programs_hold_every_row(tmp_path: Path) -> None:
    rows = summarise(GRID)
    write_tables(rows, comparable(GRID), tmp_path)
    expected = [row.as_dict() for row in rows]
    assert pq.read_table(tmp_path / "results.parquet").to_pylist() == expected
    csv = pyarrow.csv.read_csv(tmp_path / "results.csv").to_pylist()
    assert [row["mean"] for row in csv] == pytest.approx([row["mean"] for row in expected])
    assert list(csv[0]) == list(expected[0])


def test_plots_are_images(tmp_path: Path) -> None:
    plot_by_shots(summarise(GRID), tmp_path / "shots.png")
    plot_by_queries(GRID, tmp_path / "queries.png")
    for name in ("shots.png", "queries.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 200


def test_a_plot_of_methods_that_ran_on_different_data_sets_is_one(tmp_path: Path) -> None:
    others = [
        cell(0.6, dataset="imagenet", method="probes"),
        cell(0.6, method="probes"),
        cell(0.5, dataset="embedded", backbone="embedded", shots=3),
    ]
    plot_by_shots(summarise([*GRID, *others]), tmp_path / "shots.png")
    assert (tmp_path / "shots.png").stat().st_size > 100


def test_methods_without_queries_have_no_curve(tmp_path: Path) -> None:
    probe = {**cell(0.8, method="linear_probe"), "curve": []}
    plot_by_queries([probe], tmp_path / "queries.png")
    assert not (tmp_path / "queries.png").exists()
