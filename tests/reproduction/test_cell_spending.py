"""What is planned for a cell is what it spends."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from craft_ray.config.data import ShiftedName
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.data import few_shot
from craft_ray.data.appearance import Trait, examine
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_STORED
from craft_ray.errors import DataError
from craft_ray.jobs.job import Reporter
from craft_ray.metering.ledger import Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.pool.address import PoolAddress
from craft_ray.reproduction import measure
from craft_ray.reproduction.cell_spending import plan_cell
from craft_ray.reproduction.grid import Cell, make_cells, settings_of
from craft_ray.reproduction.results import summarise
from craft_ray.reproduction.shifted import load_shifted
from craft_ray.reproduction.verified import verify_once
from craft_ray.reproduction.zero_shot import ZeroShot, ZeroShotTurns
from craft_ray.task.preparation import sample_data
from craft_ray.tuners import feature_probe
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise
from tests.support.world import metered


class Grid:
    """Cells of linear probes, measured in this process.

    Args:
        root: of the data sets.
        dataset: that all cells have.
        shifted: tested as well.
        monkeypatch: takes the pool away.
    """

    def __init__(
        self,
        root: Path,
        dataset: Any,
        shifted: tuple[ShiftedName, ...],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.config = ReproductionConfig.model_validate(
            {"root": str(root), "datasets": [dataset], "methods": ["linear_probe"]}
            | {"shots": [1], "seeds": [1, 2], "imagenet_seeds": [1, 2], "backbones": ["embedded"]}
        )
        self.settings = {cell: settings_of(cell, self.config) for cell in make_cells(self.config)}
        self._folder = root / "grid"
        self._shifted = shifted
        monkeypatch.setattr(measure, "driver_oracle", self._driver_oracle)
        monkeypatch.setattr(feature_probe, "INVERSE_PENALTIES", (1.0,))

    @contextmanager
    def _driver_oracle(self, *_: object) -> Iterator[MeteredOracle]:
        yield metered(load_oracle(OracleConfig(white_box=True)))

    def measure(self, cell: Cell, zero_shot: ZeroShot | None) -> dict[str, Any]:
        """The cell's result."""
        nobody = cast(PoolAddress, None), cast(Reporter, None)
        run = self.settings[cell]
        return measure.measure_cell(cell, run, self._shifted, zero_shot, self._folder, *nobody)

    def planned(self, cell: Cell, zero_shot: ZeroShot | None) -> Spending:
        """What the cell is to spend."""
        run = self.settings[cell]
        num_shifted = [len(load_shifted(run, name).splits["test"]) for name in self._shifted]
        return plan_cell(cell, run, sample_data(run).size, num_shifted, zero_shot)


@pytest.mark.parametrize("dataset", ["dtd", "imagenet"])
def test_zero_shot_is_asked_once_in_a_grid_and_the_plan_says_so(
    dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coop(tmp_path, dataset)
    shifted: tuple[ShiftedName, ...] = ()
    if dataset == "imagenet":
        shifted = ("imagenetv2",)
        write_coop(tmp_path, "imagenetv2")
    grid = Grid(tmp_path, dataset, shifted, monkeypatch)
    turns = ZeroShotTurns(grid.settings, grid.config, shifted)
    results = []
    for cell in grid.settings:
        zero_shot = turns.take(cell)
        results.append(grid.measure(cell, zero_shot))
        turns.end(cell, results[-1])
        assert results[-1]["ledger"] == grid.planned(cell, zero_shot).as_dict()
    first, second = results
    assert first["ledger"]["evaluation_predictions"] > 0
    assert second["ledger"]["evaluation_predictions"] == 0
    assert second["ledger"]["white_box_predictions"] > 0
    # What was not asked changes nothing else.
    alone = grid.measure(list(grid.settings)[1], ZeroShot(None))
    assert alone["zero_shot"]["test"] == first["zero_shot"]["test"]
    assert alone["tuned"] == second["tuned"]
    kept = {name: found["tuned"] for name, found in alone["shifted"].items()}
    assert kept == {name: found["tuned"] for name, found in second["shifted"].items()}
    rows = summarise(results)
    assert rows == summarise(
        [first, {**alone, "seconds": second["seconds"], "ledger": second["ledger"]}]
    )
    assert {(row.dataset, row.method) for row in rows if row.shots == 0} >= {
        (name, "zero_shot") for name in (dataset, *shifted)
    }


def test_test_images_are_verified_once_in_a_grid_and_across_its_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coop(tmp_path, "dtd")
    verified: Counter[str] = Counter()

    def counting(item: Item) -> frozenset[Trait]:
        verified[item.name] += 1
        return examine(item)

    monkeypatch.setattr(few_shot, "examine", counting)
    grid = Grid(tmp_path, "dtd", (), monkeypatch)
    for cell in grid.settings:
        grid.measure(cell, None)
    test = sample_data(grid.settings[cell]).test
    assert len(test) == 6
    assert {verified[item.name] for item in test} == {1}
    before = verified.total()
    grid.measure(cell, None)  # as a resumed reproduction does
    assert verified.total() == before


def test_an_image_that_breaks_after_it_was_verified_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coop(tmp_path, "dtd")
    grid = Grid(tmp_path, "dtd", (), monkeypatch)
    first, second = grid.settings
    grid.measure(first, None)
    broken = sample_data(grid.settings[first]).test[0]
    Path(broken.name).write_bytes(b"no image")
    with pytest.raises(DataError, match=re.escape(broken.name)):
        grid.measure(second, None)


def test_images_that_cannot_be_decoded_are_not_taken_for_verified(tmp_path: Path) -> None:
    items = [Item(b"no image", 0, "broken"), Item(encoded(noise(8)), 0, "whole")]
    for _ in range(2):
        with pytest.raises(DataError, match="broken"):
            verify_once(items, tmp_path)
    turned = replace(items[1], decoding=AS_STORED)
    for one in (items[1], turned):
        assert verify_once([one], tmp_path) == verify_once([one], tmp_path) == Counter()
    assert len(list((tmp_path / "verified").iterdir())) == 2, "decoded in another way"


@pytest.mark.parametrize("fidelity", ["reference", "corrected", None])
def test_a_linear_probe_is_of_the_plain_images_whatever_a_preset_says(fidelity: str | None) -> None:
    document: dict[str, Any] = {"root": "/data", "datasets": ["dtd"], "methods": ["linear_probe"]}
    if fidelity is not None:
        document["run"] = {"fidelity": fidelity}
    config = ReproductionConfig.model_validate(document)
    run = settings_of(Cell("RN50", "dtd", "linear_probe", 1, 1), config)
    assert run.fidelity.fitness_images == "plain"
