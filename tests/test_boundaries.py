"""Who may know whom: the optimizer's side works with nothing but the oracle's contract."""

from __future__ import annotations

import pytest

from craft_ray.oracle.contract import Oracle
from tests.support.fake_oracle import FakeOracle
from tests.support.imports import imported_by

LOOP = (
    "craft_ray.tuners.craft",
    "craft_ray.tuners.probes",
    "craft_ray.task.preparation",
    "craft_ray.classifiers.artifact",
    "craft_ray.optimizers",
    "craft_ray.method.head",
    "craft_ray.method.linear_head",
    "craft_ray.method.losses",
    "craft_ray.method.projection",
)


def test_the_training_loop_knows_neither_a_model_nor_ray() -> None:
    imported = imported_by(*LOOP)
    assert "torch" in imported
    assert not imported & {"open_clip", "timm", "ray", "mlflow", "optuna"}


@pytest.mark.parametrize(
    "module", ["craft_ray.oracle.contract", "craft_ray.metering.ledger", "craft_ray.task.prepared"]
)
def test_contract_and_ledger_need_no_torch(module: str) -> None:
    assert not imported_by(module) & {"torch", "open_clip", "ray"}


def test_the_fake_oracle_has_the_contract_and_nothing_else() -> None:
    # All tests of the loop run on it: what they show needs no more than the contract.
    contract = {name for name in dir(Oracle) if not name.startswith("_")}
    assert {name for name in dir(FakeOracle()) if not name.startswith("_")} == contract
    assert contract == {"describe", "register_task", "register_images", "predict"}
    oracle: Oracle = FakeOracle()
    assert oracle.describe().answers == ("logits",)
