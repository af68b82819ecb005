"""What becomes of requests that are under way when the process of the gate ends, on a real Ray."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from craft_ray.config.oracle import PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
from craft_ray.oracle.endpoints.wire import Reply, Request
from craft_ray.oracle.gate.bill import Bill
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.remote.records import records_of_run
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.keeper import PoolKeeper
from craft_ray.pool.lifecycle import EndpointFactory, running_pool
from craft_ray.pool.membership import ONE_GATE
from tests.oracle.remote.test_text_oracle import FILES, NOTHING, TASK, cosines
from tests.support.asked_endpoint import endpoint, speaking
from tests.support.model_server import Asked, model_server

pytestmark = pytest.mark.slow

CONFIG = PoolConfig(cpus_per_replica=0.1)


@pytest.fixture(scope="module", autouse=True)
def session(on_shared_ray: str) -> Iterator[None]:
    with ray_session(RayConfig()):
        yield


class Slow:
    """Answers after a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.answer = speaking("infinity")

    def serve(self, request: Request) -> Reply:
        time.sleep(self.seconds)
        return self.answer(request)


def factory_for(server: Asked, folder: Path) -> EndpointFactory:
    folder.mkdir()
    config = endpoint(server.url, limits={"images": 4}, prices={"image": 1.0})
    return EndpointFactory(config, None, records_of_run(config, folder))


def bill_in(folder: Path) -> Bill:
    with BillLedger(folder / "bill.db", folder.name, only_read=True) as ledger:
        return ledger.total()


def wait_for_requests(server: Asked, number: int) -> None:
    until = time.monotonic() + 60
    while len(server.requests) < number:
        assert time.monotonic() < until, "nothing was asked"
        time.sleep(0.02)


def asking(oracle: PoolOracle, found: list[object]) -> threading.Thread:
    """Ask for the cosines in a thread."""
    task, images = oracle.register_task(TASK), oracle.register_images(FILES)

    def ask() -> None:
        try:
            found.append(oracle.predict(task, images, NOTHING)[0])
        except Exception as error:  # the pool ends below it
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def test_what_is_under_way_at_the_end_of_a_run_is_kept(tmp_path: Path) -> None:
    with model_server(Slow(2.0).serve) as server:
        factory = factory_for(server, tmp_path / "run")
        with running_pool("slow", factory, CONFIG, ONE_GATE) as pool:
            asking(PoolOracle(pool.address, CONFIG), [])
            wait_for_requests(server, 2)
        bill = bill_in(tmp_path / "run")
    assert bill.possibly.requests == 0
    assert bill.answered.images == len(FILES)


def test_the_successor_of_a_killed_gate_goes_on_with_its_files(tmp_path: Path) -> None:
    slow = Slow(1.0)
    with model_server(slow.serve) as server:
        factory = factory_for(server, tmp_path / "run")
        with running_pool("killed", factory, CONFIG, ONE_GATE) as pool:
            assert isinstance(pool.keeper, PoolKeeper)
            actor = next(seat.replica.actor for seat in pool.keeper._seats.values())
            process: int = ray.get(actor.__ray_call__.remote(lambda replica: os.getpid()))
            found: list[object] = []
            thread = asking(PoolOracle(pool.address, CONFIG), found)
            wait_for_requests(server, 2)
            os.kill(process, 9)
            slow.seconds = 0.0
            thread.join(120)
        bill = bill_in(tmp_path / "run")
    assert isinstance(found[0], np.ndarray), found
    np.testing.assert_allclose(found[0], cosines(), atol=1e-6)
    assert bill.answered.images == len(FILES)
    # Both were sent and not answered: the server has been asked for them, and may have billed them.
    assert bill.possibly.images == len(FILES)
    assert bill.cost == 2 * len(FILES)
