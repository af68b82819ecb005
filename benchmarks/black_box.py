"""What benchmarks put around an oracle to change how it is asked or what it answers."""

from __future__ import annotations

from dataclasses import replace

from craft_ray.oracle.contract import (
    ClassificationTask,
    ImageHandle,
    Images,
    Oracle,
    OracleDescription,
    TaskHandle,
)


class WrappedOracle:
    """Passes registrations on to `oracle`; whoever derives from it answers `predict`, and nothing
    else is answered."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def describe(self) -> OracleDescription:
        """One that scores nothing and is closed."""
        return replace(self._oracle.describe(), scores=False, expects=False, white_box=False)

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        return self._oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        return self._oracle.register_images(images, keep=keep)
