"""What cannot be sent is at no replica: clients of one process share who has how much to do."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from craft_ray.config.oracle import PoolConfig
from craft_ray.pool.demand import LoadMeter
from craft_ray.pool.dispatch import Dispatcher, SharedLoad
from craft_ray.pool.scheduler import Chunk


class Uncounted:
    """As metrics where nobody looks at them."""

    def record_retries(self, number: int) -> None:
        assert number == 0


class OneReplica(Dispatcher):
    """Knows a pool without asking Ray."""

    def __init__(self, load: SharedLoad) -> None:
        self._config, self._shared, self._load = PoolConfig(), load, LoadMeter()
        self.metrics: Any = Uncounted()
        self._replicas = {"one": object()}
        self._members_read_s = math.inf
        self._lock, self._is_given_up = threading.Lock(), False


def test_chunks_that_could_not_be_sent() -> None:
    load = SharedLoad()

    def submit(replica: Any, chunk: Chunk) -> Any:
        raise ValueError("it is too large")

    chunks = [Chunk(index=index, start=index, stop=index + 1) for index in range(4)]
    for _ in range(3):
        with pytest.raises(ValueError, match="too large"):
            OneReplica(load).ask(chunks, "key", submit, lambda *_: None)
    assert not load.chunks
