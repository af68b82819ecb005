"""A dry run tells all that is tested: with the second template, and on the shifted sets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from craft_ray.commands.reproduce import main
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.reproduction.grid import make_cells, settings_of
from craft_ray.reproduction.too_few import without_too_few
from tests.support import coop_trees
from tests.support.coop_trees import write_coop

NUM_TEST = {"dtd": 6, "imagenet": 24, "imagenetv2": 24}
"""Images of the made trees: two of each class."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    for name in ("dtd", "imagenet", "imagenetv2"):
        write_coop(folder, name)
    return folder


def evaluations(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, int]:
    """Image predictions to validate and test, and images sent, of one cell."""
    one = ["shots=[1]", "seeds=[1]", "methods=[craft]"]
    grid = [f"root={root}", *one, *words, "--dry-run"]
    assert main(grid) == 0
    text = capsys.readouterr().out
    predictions = re.search(r"to validate and test +([\d,]+)", text)
    sent = re.search(r"images sent +([\d,]+)", text)
    assert predictions is not None
    assert sent is not None
    return int(predictions[1].replace(",", "")), int(sent[1].replace(",", ""))


def test_the_second_template_is_a_prediction_of_each_test_image(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    with_it, sent = evaluations(capsys, root, "datasets=[dtd]")
    without, also_sent = evaluations(capsys, root, "datasets=[dtd]", "hand_crafted_zero_shot=false")
    assert with_it - without == NUM_TEST["dtd"]
    assert sent == also_sent


def test_a_shifted_set_is_sent_and_asked_about_for_both_classifiers(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    alone, sent = evaluations(capsys, root, "datasets=[imagenet]")
    both, more_sent = evaluations(capsys, root, "datasets=[imagenet]", "shifted=[imagenetv2]")
    assert both - alone == 2 * NUM_TEST["imagenetv2"]
    assert more_sent - sent == NUM_TEST["imagenetv2"]
    other = ("data.template='a view of a {}.'", "shifted=[imagenetv2]")
    three, _ = evaluations(capsys, root, "datasets=[imagenet]", *other)
    assert three - both == NUM_TEST["imagenet"] + NUM_TEST["imagenetv2"]


def test_ours_costs_no_validation_and_the_rest_one_prediction_each(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(coop_trees.IMAGES, "train", 12)
    root = tmp_path
    write_coop(root, "dtd")
    ours, sent = evaluations(capsys, root, "datasets=[dtd]", "methods=[probes]")
    few, more_sent = evaluations(capsys, root, "datasets=[dtd]", "methods=[probes_validated]")
    # Three classes with one image each, asked about zero-shot and the head.
    assert (few - ours, more_sent - sent) == (6, 3)
    _, with_rest = evaluations(capsys, root, "datasets=[dtd]", "methods=[probes_unlabelled]")
    assert with_rest - sent == 3 * (12 - 1)


def test_cells_that_cannot_run_are_named_and_the_others_planned(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    alone = evaluations(capsys, root, "datasets=[dtd]", "methods=[probes]")
    both = ["datasets=[dtd]", "methods=[probes,probes_unlabelled]"]
    assert evaluations(capsys, root, *both) == alone
    assert main([f"root={root}", "shots=[1]", "seeds=[1,2]", *both, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.count("Cannot run: dtd, 1 shot, probes_unlabelled: data.unlabelled: must have") == 1
    assert main([f"root={root}", *both[:1], "methods=[probes_unlabelled]", "--dry-run"]) == 2
    refused = capsys.readouterr().err
    assert "at least one cell must be able to run, but none is:" in refused
    assert "Cannot run: dtd, 16 shots, probes_unlabelled: data.unlabelled: must have" in refused


def test_too_few_unlabelled_images_of_one_data_set_leave_out_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coop(tmp_path, "dtd")
    monkeypatch.setitem(coop_trees.IMAGES, "train", 12)
    write_coop(tmp_path, "eurosat")
    config = ReproductionConfig.model_validate(
        {
            "root": str(tmp_path),
            "datasets": ["dtd", "eurosat"],
            "shots": [1],
            "seeds": [1, 2],
            "methods": ["probes", "probes_unlabelled"],
        }
    )
    cells = {cell: settings_of(cell, config) for cell in make_cells(config)}
    kept, (left_out,) = without_too_few(cells)
    assert (left_out.dataset, left_out.shots, left_out.method) == ("dtd", 1, "probes_unlabelled")
    gone = [cell for cell in cells if cell not in kept]
    assert [(cell.dataset, cell.method, cell.seed) for cell in gone] == [
        ("dtd", "probes_unlabelled", 1),
        ("dtd", "probes_unlabelled", 2),
    ]


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    grid = [f"root={root}", "shots=[1]", "seeds=[1]", "datasets=[dtd,imagenet]", "--dry-run"]
    assert main(grid) == 0
    text = capsys.readouterr().out
    assert "Left out: imagenet with probes_unlabelled: 1.2 million more images" in text
