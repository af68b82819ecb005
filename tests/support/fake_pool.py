"""A pool without Ray."""

from __future__ import annotations

from craft_ray.pool.metrics import ClientTotals
from tests.support.fake_oracle import FakeOracle
from tests.support.recording import RecordingOracle
from tests.support.world import BOTH_ANSWERS


class FakePool(RecordingOracle):
    """A pool of one, which loses no chunk."""

    totals = ClientTotals()

    def __init__(self) -> None:
        super().__init__(FakeOracle(answers=BOTH_ANSWERS))
