"""What each process may import. A search starts many processes, and each pays for its imports: the
seconds and the memory of a library that only one of them needs are paid by all that load it.

Also who may know whom: the optimizer's side works with nothing but the oracle's contract.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from craft_ray.oracle.contract import Oracle
from tests.support.fake_oracle import FakeOracle
from tests.support.imports import found_among, loaded_by


class Process(NamedTuple):
    """A process, or a part of the code that must do without others."""

    imports: str
    """Modules of craft_ray, apart by blanks."""
    without: str
    """Packages and modules that must not be loaded after them."""
    then: str = ""
    """What it does next, still without them."""


OF_NO_USE = "torchvision torch._dynamo torch._inductor sklearn matplotlib scipy.stats"
"""What other packages bring along, and no process but a replica has a use for."""

ONE_GENERATION_OF_EACH = """
from tests.support.world import make_world, run_config, world_data
data = world_data(shots=4, num_validation=4)
probes = {"kind": "probes", "names": 0, "folds": 2}
for changes in (
    {"optimizer": {"batches": 2}, "data": {"views": "fresh"}},
    {"head": probes, "method": "head"},
):
    trainer, _ = make_world(run_config(max_queries=16, **changes), None, data).trainer()
    while not trainer.finished:
        trainer.run_generation()
    trainer.state_dict()
"""

CHECK_A_MODEL_AND_DRAW_NAMES = """
from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.check import check_model_exists
from craft_ray.task.vocabulary import draw_names
check_model_exists(OracleConfig(model="ViT-B-32", pretrained="openai"))
draw_names((), 5, ("cat",), 1)
"""

PROCESSES = {
    "a command's help, and a mistyped key": Process(
        "commands.data commands.reproduce commands.suggest commands.tracking commands.train "
        "commands.tune tracking",
        f"numpy pyarrow torch ray mlflow open_clip optuna PIL rich scipy {OF_NO_USE}",
        "from craft_ray.commands import tune\nassert tune.main(['head.hiden=1']) == 2",
    ),
    "a dry run, and a driver before anything is started": Process(
        "task.preparation metering.planned_spending jobs.run_folder files.remote",
        f"torch ray mlflow open_clip huggingface_hub optuna cma scipy pandas {OF_NO_USE}",
        CHECK_A_MODEL_AND_DRAW_NAMES,
    ),
    "a data set that is converted or checked": Process(
        "data.sources data.convert data.check data.report data.progress data.__main__",
        f"torch ray mlflow open_clip optuna scipy pandas {OF_NO_USE}",
    ),
    "contract, ledger and pure decisions": Process(
        "oracle.contract metering.ledger task.prepared config.loading pool.scheduler "
        "pool.membership pool.demand",
        f"torch ray mlflow open_clip optuna cma scipy pyarrow.parquet {OF_NO_USE}",
    ),
    "the training loop": Process(
        "tuners.registry classifiers.artifact task.preparation optimizers",
        f"ray mlflow open_clip timm optuna pandas rich {OF_NO_USE}",
        ONE_GENERATION_OF_EACH,
    ),
    "a training's worker": Process(
        "jobs.worker",
        f"mlflow open_clip timm optuna ray.tune rich scipy {OF_NO_USE}",
    ),
    "a trial of a search": Process(
        "search.trial",
        f"torch mlflow open_clip timm optuna cma scipy {OF_NO_USE}",
    ),
    "a pool's actors and clients, apart from the model": Process(
        "pool.client pool.keeper pool.registry pool.replica",
        f"torch mlflow open_clip optuna cma scipy pandas ray.train ray.tune {OF_NO_USE}",
    ),
    # torchvision and torch._dynamo come with open_clip; transformers would, if it is installed.
    "a replica with its model": Process(
        "pool.replica oracle.clip",
        "transformers mlflow optuna cma pandas ray.train ray.tune sklearn matplotlib scipy.stats",
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_loads_no_more_than_it_needs(name: str) -> None:
    process = PROCESSES[name]
    imports = ", ".join(f"craft_ray.{module}" for module in process.imports.split())
    loaded = loaded_by(f"import {imports}\n{process.then}")
    assert found_among(loaded, process.without.split()) == set()


def test_a_library_that_is_loaded_is_found() -> None:
    loaded = loaded_by("import xml.dom")
    assert found_among(loaded, ["xml", "xml.dom", "xml.sax", "email"]) == {"xml", "xml.dom"}


def test_the_fake_oracle_has_the_contract_and_nothing_else() -> None:
    # All tests of the loop run on it: what they show needs no more than the contract.
    contract = {name for name in dir(Oracle) if not name.startswith("_")}
    assert {name for name in dir(FakeOracle()) if not name.startswith("_")} == contract
    assert contract == {"describe", "register_task", "register_images", "predict"}
    oracle: Oracle = FakeOracle()
    assert oracle.describe().answers == ("logits",)
