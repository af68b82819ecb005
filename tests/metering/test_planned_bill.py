"""A run asks an endpoint for no more than what its plan says, and for images exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item, Split
from craft_ray.errors import ConfigError
from craft_ray.metering.affordable import check_run_affordable
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_bill import asker_of, plan_run_bill
from craft_ray.oracle.gate.bill import BilledUnits
from craft_ray.task.preparation import FewShotData, prepare
from craft_ray.tuners.registry import make_trainer
from tests.support.asked_endpoint import endpoint, opened, speaking
from tests.support.craft_ray_server import CraftRayServer
from tests.support.fake_oracle import FakeOracle
from tests.support.model_server import model_server
from tests.support.world import BOTH_ANSWERS, run_config, world_data

DATA = world_data(shots=2, num_validation=3, num_test=4)
HEADS: dict[str, dict[str, Any]] = {
    "probes": {"kind": "probes", "names": 7},
    "few probes": {"kind": "probes", "names": 0},
    "linear": {"kind": "linear"},
    "offset": {"kind": "probes", "names": 3, "offset": "ensemble"},
    "residual": {"kind": "residual_mlp", "hidden": 4, "learning_rate": 0.01, "batch_size": 8},
}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "infinity": {"limits": {"images": 5, "texts": 3}},
    "vllm": {"logit_scale": 10.0},
    "hf_zero_shot": {},
    "hf_vertex": {"limits": {"images": 4, "labels": 3}},
    "hf_sagemaker": {"options": {"sigmoid": True}, "limits": {"labels": 3}},
    "kserve_v2": {"options": {"scores": "out"}, "limits": {"images": 6}},
}


def run_of(head: str, oracle: EndpointConfig, views: int | str = 2, **settings: Any) -> RunConfig:
    base = {"method": "head", "head": HEADS[head], "data": {"views": views, "crop_scale_min": 0.2}}
    return run_config(**base | settings).model_copy(update={"oracle": oracle})


def asked(config: RunConfig, folder: Path, url: str, data: FewShotData = DATA) -> BilledUnits:
    """What a whole run asks for."""
    assert isinstance(config.oracle, EndpointConfig)
    target = config.oracle.model_copy(update={"url": url})
    with opened(target, folder) as oracle:
        driver = MeteredOracle(oracle, QueryLedger(0))
        prepared = prepare(config, data, driver)
        examiner = Examiner(driver, prepared, data)
        prepared, _ = examiner.validate_zero_shot()
        worker = MeteredOracle(oracle, QueryLedger(config.max_queries))
        worker.logit_scale = prepared.logit_scale
        trainer = make_trainer(worker, prepared, config)
        while not trainer.finished:
            trainer.run_generation()
        if data.test:
            examiner.test([examiner.zero_shot, trainer.selected.classifier])
        return oracle.bill.answered


def check(config: RunConfig, dialect: str, folder: Path) -> None:
    """The plan holds the bill."""
    with model_server(speaking(dialect)) as server:
        real = asked(config, folder / "run", server.url)
    plan = plan_run_bill(config, DATA.size)
    for kind in ("requests", "images", "texts", "pairs"):
        assert getattr(real, kind) <= getattr(plan, kind), kind
    assert isinstance(config.oracle, EndpointConfig)
    if asker_of(config.oracle).gives_features and config.head.kind == "probes":
        assert real.texts == plan.texts - DATA.size.num_classes
        # Of small images some views are equal.
        assert real.images >= plan.images - 5


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dialect", ENDPOINTS)
def test_of_an_endpoint_that_takes_texts(dialect: str, head: str, tmp_path: Path) -> None:
    oracle = endpoint("http://host.test", dialect, image_size=8, **ENDPOINTS[dialect])
    check(run_of(head, oracle), dialect, tmp_path)


@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot"])
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("has_test", [True, False])
def test_without_validation_nothing_is_billed_for_it(
    dialect: str, shots: int, has_test: bool, tmp_path: Path
) -> None:
    oracle = endpoint("http://host.test", dialect, image_size=8)
    data = replace(world_data(shots=2, num_test=4), validation=())
    if not shots:
        data = replace(data, train=())
    if not has_test:
        splits: dict[Split, Sequence[Item]] = dict(data.dataset.splits)
        del splits["test"]
        data = replace(data, dataset=replace(data.dataset, splits=splits))
    config = run_of("probes", oracle, data={"views": 2, "shots": shots, "validation": "none"})
    with model_server(speaking(dialect)) as server:
        real = asked(config, tmp_path / "run", server.url, data)
    plan = plan_run_bill(config, data.size)
    for kind in ("requests", "images", "texts", "pairs"):
        assert getattr(real, kind) <= getattr(plan, kind), kind
    if dialect == "infinity":
        views = 3 * data.size.num_train
        assert plan.images == views + data.size.num_test
        assert real.images >= plan.images - 5, "of small images some views are equal"
    if not shots and not has_test:
        assert plan == BilledUnits()


@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot"])
def test_with_fresh_views(dialect: str, tmp_path: Path) -> None:
    oracle = endpoint("http://host.test", dialect, image_size=8)
    check(run_of("residual", oracle, views="fresh"), dialect, tmp_path)


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_of_a_craft_ray_server(method: str, tmp_path: Path) -> None:
    served = CraftRayServer(FakeOracle(answers=BOTH_ANSWERS))
    oracle = endpoint("http://host.test", "craft_ray")
    config = run_of("residual", oracle, method=method)
    with model_server(served.serve) as server:
        real = asked(config, tmp_path / "run", server.url)
    assert 0 < real.pairs <= plan_run_bill(config, DATA.size).pairs


@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot", "craft_ray"])
def test_texts_of_an_offset_are_priced(dialect: str, tmp_path: Path) -> None:
    """Of four classes with three names and seven texts a class: 35."""
    oracle = endpoint("http://host.test", dialect, image_size=8)
    config = run_of("offset", oracle)
    server = CraftRayServer(FakeOracle()).serve if dialect == "craft_ray" else speaking(dialect)
    with model_server(server) as served:
        real = asked(config, tmp_path / "run", served.url)
    plan = plan_run_bill(config, DATA.size)
    without = plan_run_bill(run_of("probes", oracle), DATA.size)  # 11 texts
    if dialect == "infinity":
        assert real.texts == plan.texts - DATA.size.num_classes == 35
        assert without.texts - DATA.size.num_classes == 11
    else:
        # Some small views are equal; and hf's result may be zero-shot, of which no more is asked.
        assert real.pairs <= plan.pairs <= 1.5 * real.pairs
        assert plan.pairs > 2.5 * without.pairs


def test_names_are_pairs_of_a_craft_ray_server_too(tmp_path: Path) -> None:
    oracle = endpoint("http://host.test", "craft_ray")
    config = run_of("probes", oracle)
    with model_server(CraftRayServer(FakeOracle()).serve) as server:
        real = asked(config, tmp_path / "run", server.url)
    planned = plan_run_bill(config, DATA.size).pairs
    assert real.pairs <= planned <= 1.3 * real.pairs  # some small views are equal


def test_money_that_does_not_pay_for_the_plan_is_refused() -> None:
    oracle = endpoint("http://host.test", prices={"image": 0.5}, limits={"images": 5})
    config = run_of("probes", oracle)
    images = plan_run_bill(config, DATA.size).images
    cost = 0.5 * images
    check_run_affordable(config.model_copy(update={"max_cost": cost}), DATA.size)
    with pytest.raises(ConfigError, match=rf"max_cost: .*may cost {cost:.4f} USD, but got 1.0000"):
        check_run_affordable(config.model_copy(update={"max_cost": 1.0}), DATA.size)
