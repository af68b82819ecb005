"""What is planned for a cell is what it spends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from craft_ray.config.data import ShiftedName
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.jobs.job import Reporter
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.pool.address import PoolAddress
from craft_ray.reproduction import measure
from craft_ray.reproduction.cell_spending import plan_cell
from craft_ray.reproduction.grid import Cell, settings_of
from craft_ray.reproduction.hand_crafted import templates_beside
from craft_ray.reproduction.shifted import load_shifted
from craft_ray.task.preparation import sample_data
from craft_ray.tuners import feature_probe
from tests.support.coop_trees import write_coop
from tests.support.world import metered


@pytest.mark.parametrize("dataset", ["dtd", "imagenet"])
def test_a_linear_probe_spends_features_of_plain_images_and_no_queries(
    dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coop(tmp_path, dataset)
    shifted: tuple[ShiftedName, ...] = ()
    if dataset == "imagenet":
        shifted = ("imagenetv2",)
        write_coop(tmp_path, "imagenetv2")
    config = ReproductionConfig.model_validate(
        {"root": str(tmp_path), "datasets": [dataset], "methods": ["linear_probe"]}
    )
    cell = Cell("embedded", dataset, "linear_probe", 1, 1)
    run = settings_of(cell, config)
    template = templates_beside({cell: run}, config).get(cell)
    oracle = metered(load_oracle(OracleConfig(white_box=True)))

    @contextmanager
    def driver_oracle(*_: object) -> Iterator[MeteredOracle]:
        yield oracle

    monkeypatch.setattr(measure, "driver_oracle", driver_oracle)
    monkeypatch.setattr(feature_probe, "INVERSE_PENALTIES", (1.0,))
    nobody = cast(PoolAddress, None), cast(Reporter, None)
    places = tmp_path / "cell", tmp_path / "worker"
    result = measure.measure_cell(cell, run, shifted, template, *places, *nobody)
    num_shifted = [len(load_shifted(run, name).splits["test"]) for name in shifted]
    size = sample_data(run).size
    planned = plan_cell(cell, run, size, num_shifted, by_hand=template is not None)
    assert result["ledger"] == planned.as_dict()
    assert result["ledger"]["white_box_predictions"] > 0


@pytest.mark.parametrize("fidelity", ["reference", "corrected", None])
def test_a_linear_probe_is_of_the_plain_images_whatever_a_preset_says(fidelity: str | None) -> None:
    document: dict[str, Any] = {"root": "/data", "datasets": ["dtd"], "methods": ["linear_probe"]}
    if fidelity is not None:
        document["run"] = {"fidelity": fidelity}
    config = ReproductionConfig.model_validate(document)
    run = settings_of(Cell("RN50", "dtd", "linear_probe", 1, 1), config)
    assert run.fidelity.fitness_images == "plain"
