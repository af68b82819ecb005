"""The main tables: ours among what is published, method by data set."""

from __future__ import annotations

import pytest

from craft_ray.config.reproduction import OURS, PAPER_DATASETS, MethodName
from craft_ray.reproduction.comparison import comparison
from craft_ray.reproduction.published import published_on
from craft_ray.reproduction.results import Row
from craft_ray.reproduction.words import DATASETS, METHODS
from tests.reproduction.test_results import cells_of


def row(dataset: str, method: str, mean: float, shots: int = 16, backbone: str = "RN50") -> Row:
    return Row(backbone, dataset, method, shots, 3, mean, "a photo of a {}.", 1.0, None, 1, 1, 1)


def rows_of(datasets: tuple[str, ...], method: MethodName = "probes", shots: int = 16) -> list[Row]:
    return [row(name, method, 70.0 + place, shots) for place, name in enumerate(datasets)]


def compared(rows: list[Row]) -> str:
    return comparison(rows, {(one.backbone, one.dataset) for one in rows})


def line_of(text: str, title: str) -> list[str]:
    return next(cells for cells in cells_of(text) if cells[0] == title)


def test_all_data_sets_stand_beside_all_that_is_published_at_these_shots() -> None:
    text = compared(rows_of(PAPER_DATASETS))
    head = cells_of(text)[0]
    assert head == ["method", "needs", "chosen by", "mean", *DATASETS.values()]
    assert line_of(text, "GDA")[:5] == [
        "GDA",
        "features",
        "validation; ImageNet: test",
        "76.05",
        "88.81",
    ]
    assert line_of(text, "ProLIP, validation-free")[1:5] == ["weights", "nothing", "75.26", "-"]
    assert line_of(text, "zero-shot, published")[3] == "58.77"
    shown = {one.method for one in published_on("RN50") if one.average_at(16) is not None}
    titles = {cells[0].rstrip("*").removesuffix(", published") for cells in cells_of(text)}
    assert shown <= titles
    assert not {"ProKeR", "ReHARK"} & titles, "these are of one shot"
    assert "ReHARK" in compared(rows_of(PAPER_DATASETS, shots=1))


def test_ours_is_bold_and_says_what_chose_it() -> None:
    rows = [one for method in OURS for one in rows_of(("dtd", "eurosat"), method)]
    text = compared(rows)
    assert line_of(text, "**ours**")[:4] == ["**ours**", "**logits**", "**nothing**", "**70.50**"]
    few = line_of(text, "**ours + few validation images**")
    assert few[2] == "**min(N, 4) validation images a class**"


def test_of_some_data_sets_the_published_mean_has_a_column_of_its_own() -> None:
    text = compared(rows_of(("dtd", "eurosat")))
    assert cells_of(text)[0][3:] == ["mean", "published mean", "DTD", "EuroSAT"]
    assert line_of(text, "GDA")[3:] == ["76.31", "76.05", "66.51", "86.12"]
    assert line_of(text, "ProLIP, validation-free")[3:] == ["-", "75.26", "-", "-"]


def test_a_regression_is_visible_set_by_set() -> None:
    text = compared([row("dtd", "probes", 60.11), row("eurosat", "probes", 90.0)])
    at = cells_of(text).index(["minus GDA", "mean", "DTD", "EuroSAT"])
    assert cells_of(text)[at + 2] == ["ours", "-1.26", "-6.40", "+3.88"]
    partly = compared([*rows_of(("dtd", "imagenet")), row("dtd", "probes_unlabelled", 70.0)])
    at = cells_of(partly).index(["minus GDA", "mean", "DTD", "ImageNet"])
    assert cells_of(partly)[at + 3] == ["ours + unlabelled images", "+3.49", "+3.49", "-"]


def test_what_was_read_off_a_curve_or_remembered_has_a_star_and_a_word() -> None:
    text = compared(rows_of(PAPER_DATASETS))
    assert line_of(text, "LP++*")[3] == "74.42"
    assert line_of(text, "RLA, validation-free*")[3] == "73.50"
    assert "- LP++, RN50 (**unverified**): https://arxiv.org/abs/2404.02285." in text
    assert "- GDA, RN50: https://github.com/mrflogs/ICLR24" in text


def test_nothing_published_stands_beside_other_weights_or_half_of_the_classes() -> None:
    rows = rows_of(("dtd", "eurosat"))
    text = comparison(rows, set())
    assert [cells[0] for cells in cells_of(text)][2:] == ["**ours**"]
    assert "What is published" not in text
    of_one = comparison(rows, {("RN50", "dtd")})
    assert line_of(of_one, "GDA")[-2:] == ["66.51", "-"]


def test_each_number_of_shots_has_a_table() -> None:
    rows = rows_of(("embedded",), shots=1) + rows_of(("embedded",), shots=4)
    text = compared([row("embedded", "zero_shot", 40.0, shots=0), *rows])
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["## RN50, 1 shot", "## RN50, 4 shots"]
    assert line_of(text, "zero-shot, run here")[1:] == ["logits", "nothing", "40.00"]
    assert "GDA" not in text, "that is of other data sets"


def test_shifted_sets_are_no_columns_of_the_main_table() -> None:
    text = compared([row("imagenet", "craft", 61.0), row("imagenetv2", "craft", 54.0)])
    assert "imagenetv2" not in text


@pytest.mark.parametrize("backbone", ["ViT-B-16", "ViT-L-14"])
def test_other_backbones_have_their_own(backbone: str) -> None:
    ten = tuple(name for name in PAPER_DATASETS if name != "imagenet")
    rows = [row(name, "probes", 70.0, backbone=backbone) for name in ten]
    text = compared(rows)
    anchor = {"ViT-B-16": "GDA", "ViT-L-14": "SiM"}[backbone]
    assert ["minus " + anchor, "mean"] == next(
        cells[:2] for cells in cells_of(text) if cells[0].startswith("minus")
    )
    if backbone == "ViT-L-14":
        assert "published mean" not in text, "it is over the same ten"
        assert line_of(text, "SiM")[3] == "83.92"


def test_every_method_has_words() -> None:
    assert set(METHODS) == set(MethodName.__args__)  # type: ignore[attr-defined]
    titles = [words.title for words in METHODS.values()]
    assert len(set(titles)) == len(titles)
