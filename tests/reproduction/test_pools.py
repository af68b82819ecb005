"""One pool a backbone, in turn, on a real local Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.run import RayConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.jobs.ray_session import ray_session
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.reproduction.pools import PoolRelay, wait_for_pool
from tests.support.checkpoints import tiny_clip_dir
from tests.support.reporters import SilentReporter

CONFIG = PoolConfig(replicas=1)


def eventually(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def _is_running(address: PoolAddress) -> bool:
    try:
        PoolOracle(address, CONFIG)
    except PoolError:
        return False
    return True


@pytest.mark.slow
def test_pools_follow_each_other_and_a_backbone_without_one_is_told_to_its_cells(
    tmp_path: Path,
) -> None:
    first, last = (tiny_clip_dir(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    said: list[str] = []
    oracles = {
        "first": OracleConfig(model=f"local-dir:{first}"),
        "broken": OracleConfig(model=f"local-dir:{tmp_path / 'nothing'}"),
        "last": OracleConfig(model=f"local-dir:{last}"),
    }
    num_cells = {"first": 2, "broken": 1, "last": 1}
    with (
        ray_session(RayConfig(num_cpus=2, object_store_mb=100)),
        PoolRelay("relay", oracles, num_cells, CONFIG, said.append) as relay,
    ):
        first_address = wait_for_pool(relay.board, "first", SilentReporter())
        first_id = PoolOracle(first_address, CONFIG).describe().oracle_id
        board = ray.get_actor(relay.board, namespace="craft_ray")
        relay.cell_ended("first")
        time.sleep(1)
        assert ray.get(board.read.remote("broken")) is None, "one cell still needs the first pool"
        relay.cell_ended("first")
        with pytest.raises(OracleError, match="cannot be loaded"):
            wait_for_pool(relay.board, "broken", SilentReporter())
        relay.cell_ended("broken")
        address = wait_for_pool(relay.board, "last", SilentReporter())
        assert PoolOracle(address, CONFIG).describe().oracle_id != first_id
        assert not _is_running(first_address)
        relay.cell_ended("last")
        eventually(lambda: not _is_running(address))
    assert any("No pool for broken" in line for line in said)


@pytest.mark.slow
def test_what_is_stopped_early_leaves_no_pool(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "a")
    oracles = {"only": OracleConfig(model=f"local-dir:{folder}")}
    with ray_session(RayConfig(num_cpus=2, object_store_mb=100)):
        with PoolRelay("stopped", oracles, {"only": 5}, CONFIG, lambda _: None) as relay:
            address = wait_for_pool(relay.board, "only", SilentReporter())
            assert _is_running(address)
        assert not _is_running(address)
        with pytest.raises(ValueError, match="Failed to look up actor"):
            ray.get_actor(relay.board, namespace="craft_ray")
