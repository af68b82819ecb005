"""One oracle pool a backbone, up only while cells need it.

The driver's thread brings the pools up one after the other: two models at a time might not fit into
the GPUs. A cell of a later backbone waits at the board until its pool is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import ray

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.errors import OracleError
from craft_ray.jobs.job import Reporter
from craft_ray.pool.address import PoolAddress, Refused
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.lifecycle import NAMESPACE, ClipFactory, running_pool
from craft_ray.pool.membership import decide_size

POLL_S = 0.5
STOP_TIMEOUT_S = 30.0
"""A pool that is still loading its model ends with Ray."""


class Board:
    """Where the driver posts a backbone's pool, or why there is none; wrapped as a Ray actor."""

    def __init__(self) -> None:
        self._posts: dict[str, PoolAddress | Refused] = {}

    def post(self, backbone: str, pool: PoolAddress | Refused) -> None:
        """Say it."""
        self._posts[backbone] = pool

    def read(self, backbone: str) -> PoolAddress | Refused | None:
        """What has been posted; None before."""
        return self._posts.get(backbone)


def board_of(name: str) -> str:
    """The board of a reproduction, as an actor's name."""
    return f"{name}/board"


def wait_for_pool(board: str, backbone: str, reporter: Reporter) -> PoolAddress:
    """The pool of a backbone, once it is up.

    Raises:
        OracleError: it could not be brought up.
        JobStoppedError: nobody waits for the cell any more.
    """
    actor = ray.get_actor(board, namespace=NAMESPACE)
    while (post := ray.get(actor.read.remote(backbone))) is None:
        reporter.check()
        time.sleep(POLL_S)
    if isinstance(post, Refused):
        raise OracleError(post.message)
    address: PoolAddress = post
    return address


@dataclass
class _Phase:
    """The time of one backbone's pool."""

    oracle: OracleConfig
    cells_left: int
    ended: threading.Event


class PoolRelay:
    """Brings up each backbone's pool in turn and ends it with its last cell.

    Args:
        name: of the reproduction; prefix of all actors.
        oracles: backbone -> its model, in the order of their turns.
        num_cells: backbone -> cells that will be run on it.
        config: the size of each pool.
        say: prints a line.
    """

    def __init__(
        self,
        name: str,
        oracles: Mapping[str, OracleConfig],
        num_cells: Mapping[str, int],
        config: PoolConfig,
        say: Callable[[str], None],
    ) -> None:
        self.board = board_of(name)
        self._name = name
        self._config = config
        self._say = say
        self._phases = {
            backbone: _Phase(oracle, num_cells[backbone], threading.Event())
            for backbone, oracle in oracles.items()
        }
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pool relay", daemon=True)

    def __enter__(self) -> PoolRelay:
        board: Any = ray.remote(Board)
        self._actor = board.options(name=self.board, namespace=NAMESPACE, num_cpus=0).remote()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        for phase in self._phases.values():
            phase.ended.set()
        self._thread.join(timeout=STOP_TIMEOUT_S)
        ray.kill(self._actor)

    def cell_ended(self, backbone: str) -> None:
        """One cell less; the last one ends the pool."""
        phase = self._phases[backbone]
        phase.cells_left -= 1
        if phase.cells_left == 0:
            phase.ended.set()

    def _run(self) -> None:
        for backbone, phase in self._phases.items():
            if self._stopping:
                return
            try:
                self._serve(backbone, phase)
            except Exception as error:  # whatever it is: cells that wait must hear of it
                if self._stopping:
                    return
                self._say(f"No pool for {backbone}: {error}")
                ray.get(self._actor.post.remote(backbone, Refused(str(error))))

    def _serve(self, backbone: str, phase: _Phase) -> None:
        size = decide_size(self._config, cluster_nodes())
        self._say(f"Starting oracle replicas of {backbone} on {size.device} ...")
        factory = ClipFactory(phase.oracle, size.device, size.threads_per_replica)
        with running_pool(f"{self._name}/{backbone}", factory, self._config, size) as pool:
            ray.get(self._actor.post.remote(backbone, pool.address))
            phase.ended.wait()
