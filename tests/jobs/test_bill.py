"""What a run's endpoint has cost, whoever has said the prices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from craft_ray.commands.planned_bill import planned_bill
from craft_ray.jobs.bill import cost_of
from craft_ray.metering.ledger import Spending
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.endpoints.capabilities import Capabilities, Price
from craft_ray.oracle.endpoints.wire import Reply, Request
from tests.oracle.endpoints.own_adapter import OwnAdapter
from tests.oracle.endpoints.servers import image, json_reply
from tests.support.asked_endpoint import endpoint, text_oracle
from tests.support.model_server import model_server
from tests.support.world import run_config, world_data

HERE = "tests.jobs.test_bill"


class PricedAdapter(OwnAdapter):
    """Knows what its endpoint charges."""

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), prices=(Price("request", 0.25, "EUR"),))


def compare(request: Request) -> Reply:
    names = json.loads(request.body)["prompt"]
    return json_reply({"similarity": [1.0 / (1 + place) for place in range(len(names))]})


def test_the_prices_of_an_adapter_are_those_of_plan_bill_and_cost(tmp_path: Path) -> None:
    with model_server(compare) as server:
        target = endpoint(server.url, f"{HERE}:PricedAdapter", image_size=8)
        with text_oracle(target, tmp_path / "run") as oracle:
            task = oracle.register_task(ClassificationTask(("cat", "ox"), "a {}"))
            images = oracle.register_images((image("a").data, image("b").data))
            oracle.predict(task, images, np.zeros((1, 0, 0), dtype=np.float32))
            assert oracle.bill.cost == 0.5
    config = run_config(method="head", head={"kind": "linear"})
    config = config.model_copy(update={"oracle": target})
    assert cost_of(config, tmp_path / "run", Spending()) == 0.5
    plan = planned_bill(config, world_data().size)
    assert plan is not None
    assert dict(plan.rows())["  cost"].endswith(" EUR")
