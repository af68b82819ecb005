"""Which cells there are, in which order, and with which settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.data import CoopSource
from craft_ray.config.loading import load_reproduction_config, load_run_config
from craft_ray.config.reproduction import (
    LEFT_OUT,
    METHOD_SETTINGS,
    OURS,
    PAPER_DATASETS,
    ReproductionConfig,
)
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.errors import ConfigError
from craft_ray.reproduction.grid import PRESETS, Cell, make_cells, settings_of
from craft_ray.reproduction.published import published_beside

FOLDER = PRESETS.parent / "reproduce"


def grid(**changes: Any) -> ReproductionConfig:
    settings = {"root": "/data", "datasets": ["dtd", "imagenet"], "shots": [1, 16]}
    settings["methods"] = ["craft"]
    return ReproductionConfig.model_validate({**settings, **changes})


def test_every_combination_is_a_cell_once() -> None:
    cells = make_cells(grid(seeds=[1, 2], imagenet_seeds=[1, 2], backbones=["RN50", "ViT-B-32"]))
    places = {(c.backbone, c.dataset, c.method, c.shots, c.seed) for c in cells}
    expected = itertools.product(
        ("RN50", "ViT-B-32"), ("dtd", "imagenet"), ("craft",), (1, 16), (1, 2)
    )
    assert places == set(expected)
    assert len({cell.id for cell in cells}) == len(cells) == 16


def test_a_backbone_is_done_before_the_next_and_every_data_set_once_before_any_twice() -> None:
    cells = make_cells(
        grid(
            datasets=["dtd", "eurosat", "imagenet"],
            seeds=[1, 2],
            imagenet_seeds=[1, 2],
            backbones=["RN50", "ViT-B-32"],
        )
    )
    assert [key for key, _ in itertools.groupby(c.backbone for c in cells)] == ["RN50", "ViT-B-32"]
    first = [cell for cell in cells if cell.backbone == "RN50"]
    assert [key for key, _ in itertools.groupby(c.seed for c in first)] == [1, 2]
    assert {c.dataset for c in first[:3]} == {"dtd", "eurosat", "imagenet"}


def test_a_method_is_done_before_the_next() -> None:
    cells = make_cells(grid(methods=["probes", "craft"], seeds=[1, 2], imagenet_seeds=[1, 2]))
    assert [key for key, _ in itertools.groupby(c.method for c in cells)] == ["probes", "craft"]
    first = [cell for cell in cells if cell.method == "probes"]
    assert [key for key, _ in itertools.groupby(c.seed for c in first)] == [1, 2]


def test_ours_is_one_configuration_for_all_data_sets_and_shots() -> None:
    config = grid(methods=OURS, datasets=PAPER_DATASETS, shots=[1, 2, 4, 8, 16])
    for method in OURS:
        cells = [cell for cell in make_cells(config) if cell.method == method]
        runs = [settings_of(cell, config).model_dump() for cell in cells]
        for run in runs:
            run["seed"] = run["data"]["shots"] = run["data"]["source"] = None
        assert all(run == runs[0] for run in runs), method
        default = load_run_config(DEFAULT_RUN)
        assert runs[0]["head"] == default.head.model_dump()
        assert runs[0]["data"]["template"] == default.data.template


def test_the_protocols_differ_in_what_they_may_see_and_nothing_else() -> None:
    config = grid(methods=OURS)
    runs = {m: settings_of(Cell("RN50", "dtd", m, 4, 1), config) for m in OURS}
    seen = {m: (run.data.validation, run.data.unlabelled) for m, run in runs.items()}
    assert seen == {
        "probes": ("none", None),
        "probes_unlabelled": ("none", "rest"),
        "probes_validated": ("few_shot", None),
    }
    rest = {"validation": None, "unlabelled": None}
    same = [
        run.model_copy(update={"data": run.data.model_copy(update=rest)}) for run in runs.values()
    ]
    assert same[0] == same[1] == same[2]
    asked = grid(methods=OURS, run={"data.validation": "full"})
    run = settings_of(Cell("RN50", "dtd", "probes", 4, 1), asked)
    assert run.data.validation == "none", "what makes the protocol is kept"


def test_the_rest_of_imagenet_is_not_sent() -> None:
    cells = make_cells(grid(methods=["probes_unlabelled"]))
    assert {cell.dataset for cell in cells} == {"dtd"}
    with pytest.raises(ValueError, match="more images would be sent"):
        grid(methods=["probes_unlabelled"], datasets=["imagenet"])


def test_imagenet_has_seeds_of_its_own() -> None:
    cells = make_cells(grid(seeds=[1, 2, 3]))
    assert {c.seed for c in cells if c.dataset == "imagenet"} == {1}
    assert {c.seed for c in cells if c.dataset == "dtd"} == {1, 2, 3}


def test_a_cell_is_the_preset_with_its_coordinates() -> None:
    config = grid(checkpoints={"ViT-B-16": "/weights/ViT-B-16.pt"}, backbones=["ViT-B-16"])
    run = settings_of(Cell("ViT-B-16", "dtd", "craft", 4, 2), config)
    assert (run.data.shots, run.seed, run.method) == (4, 2, "both")
    assert (run.oracle.model, run.local_model.pretrained) == ("ViT-B-16", "/weights/ViT-B-16.pt")
    assert not run.local_model.white_box
    assert run.prompt.projection_std == 1
    assert run.max_queries == 4000
    assert run.fidelity.preset == "reference"
    source = run.data.source
    assert source == CoopSource(root="/data", dataset="dtd")
    other = settings_of(Cell("RN50", "dtd", "craft", 16, 1), config)
    assert other.local_model.pretrained == "openai"
    assert other.max_queries == 8000


def test_settings_of_the_user_stand_in_place_of_the_presets() -> None:
    config = grid(run={"fidelity": "corrected", "max_queries": 400, "pool.replicas": 3})
    run = settings_of(Cell("RN50", "dtd", "random_search", 4, 2), config)
    assert run.fidelity.preset == "corrected"
    assert run.fidelity.deployed_prompt == "best", "what the method needs is kept"
    assert (run.max_queries, run.pool.replicas) == (400, 3)


def test_what_is_asked_for_is_not_replaced_by_a_methods_default() -> None:
    cell = Cell("RN50", "dtd", "white_box", 4, 2)
    run = settings_of(cell, grid(methods=["white_box"], run={"data.views": 2}))
    assert (run.data.views, run.evaluate_every_generations) == (2, 20)
    untouched = settings_of(cell, grid(methods=["white_box"]))
    assert (untouched.data.views, untouched.evaluate_every_generations) == (16, 20)


def test_paths_that_look_alike_are_different_backbones() -> None:
    paths = ["/m/a_b", "/m/a/b", "/m/a b", "m/a_b", "/m/A_b"]
    ids = {Cell(f"local-dir:{path}", "dtd", "craft", 1, 1).id for path in paths}
    assert len(ids) == len(paths)
    assert all("/" not in each and " " not in each for each in ids)
    assert Cell("RN50", "dtd", "craft", 1, 1).id == "RN50-dtd-craft-1shots-seed1"


@pytest.mark.parametrize(
    ("method", "dataset"),
    [
        pair
        for pair in itertools.product(METHOD_SETTINGS, (*PAPER_DATASETS, "embedded"))
        if pair not in LEFT_OUT
    ],
)
def test_every_method_fits_every_preset(method: Any, dataset: str) -> None:
    config = grid(methods=[method], datasets=[dataset])
    backbone = "embedded" if dataset == "embedded" else "RN50"
    for shots in (1, 2, 4, 8, 16):
        run = settings_of(Cell(backbone, dataset, method, shots, 1), config)
        assert run.local_model.white_box == (method in ("white_box", "linear_probe"))
    assert run.data.source.kind == ("embedded" if dataset == "embedded" else "coop")


def test_random_search_has_the_presets_population_and_bound() -> None:
    config = grid()
    ours, theirs = (
        settings_of(Cell("RN50", "dtd", method, 16, 1), config)
        for method in ("random_search", "prompt_only")
    )
    assert ours.optimizer.kind == "random_search"
    assert (ours.optimizer.population, ours.optimizer.bound, ours.max_queries) == (
        theirs.optimizer.population,
        theirs.soft_optimizer.bound,
        theirs.max_queries,
    )
    assert ours.method == theirs.method == "prompt"


@pytest.mark.parametrize("name", ["paper", "robustness", "smoke"])
def test_every_shipped_grid_is_valid(name: str) -> None:
    words = [] if name == "smoke" else ["root=/data"]
    config = load_reproduction_config(FOLDER / f"{name}.yaml", words)
    cells = make_cells(config)
    for cell in cells:
        settings_of(cell, config)
    if name == "paper":
        # Three methods on 10 data sets x 5 shots x 3 seeds, two of them on ImageNet once.
        assert len(cells) == 3 * 150 + 2 * 5
        assert config.methods == OURS
        assert not config.shifted, "they have another budget"
    elif name == "robustness":
        assert config.shifted == ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
        assert {cell.seed for cell in cells} == {1, 2, 3}
        assert {cell.backbone for cell in cells} == {"RN50", "RN101", "ViT-B-32", "ViT-B-16"}
        assert len(cells) == 24
        theirs = [cell for cell in cells if cell.method == "craft"]
        runs = [settings_of(cell, config) for cell in theirs]
        assert {(run.max_queries, run.data.shots) for run in runs} == {(2000, 16)}
        assert {run.fidelity.deployed_prompt for run in runs} == {"best"}
        published = [published_beside(c.backbone, "imagenet_a", "craft", 16, 2000) for c in theirs]
        assert None not in published
    else:
        assert len(cells) == 16


def problem_of(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_reproduction_config(FOLDER / "paper.yaml", ["root=/data", *words])
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("datasets=[dtd,mnist]", "datasets.1"),
        ("datasets=[]", "datasets"),
        ("shots=[0]", "shots.0"),
        ("seeds=[1,1]", "seeds: values must differ, but got [1, 1]"),
        ("methods=[bbt]", "methods.0"),
        ("root=null", "root must be the folder of the data sets caltech101"),
        ("seed=3", "run.seed: cannot be set for all cells: say seeds"),
        ("data.shots=3", "run.data.shots: cannot be set for all cells: say shots"),
        ("method=head", "run.method: cannot be set for all cells: say methods"),
        ("oracle.model=RN101", "run.oracle.model: cannot be set for all cells: say backbones"),
        ("no_such_setting=1", "no_such_setting: is not a known setting"),
    ],
)
def test_a_mistake_is_named_by_its_field(word: str, message: str) -> None:
    assert message in problem_of(word)


def test_a_mistake_in_a_run_setting_names_the_cell() -> None:
    words = ["optimizer.sigma=-1", "methods=[craft]"]
    config = load_reproduction_config(FOLDER / "smoke.yaml", words)
    cell = make_cells(config)[0]
    with pytest.raises(
        ConfigError, match=r"embedded-embedded-craft-1shots-seed1: optimizer\.sigma"
    ):
        settings_of(cell, config)


def test_presets_are_where_they_are_looked_for() -> None:
    assert Path(PRESETS).is_dir()
    assert {path.stem for path in PRESETS.glob("*.yaml")} == {*PAPER_DATASETS, "embedded"}
