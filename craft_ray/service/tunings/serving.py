"""Fine-tunings as a part of a service that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import ray
from starlette.requests import Request

from craft_ray.config.service import ServiceConfig
from craft_ray.oracle.contract import Oracle
from craft_ray.service.asking import Asker
from craft_ray.service.meter.actor import MeterClient
from craft_ray.service.meter.terms import Caller, Refusal
from craft_ray.service.tunings.actor import find_records, start_records, stop_records
from craft_ray.service.tunings.api_error import refused
from craft_ray.service.tunings.classify import Classifiers
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.preparation import Workplace
from craft_ray.service.tunings.runner import TuningRunner
from craft_ray.service.tunings.tuning_meter import TuningMeter

T = TypeVar("T")
PAIRS_PER_CHUNK = 10_000
"""Of a turn: about what a chunk of candidates asks about a few images."""


@contextmanager
def running_tunings(config: ServiceConfig, meter: TuningMeter) -> Iterator[None]:
    """The records and the runner, on the Ray that is connected, beside a pool that is offered under
    the name of the service. To be entered before requests are taken.

    Raises:
        ArtifactError: the records are something else.
        ConfigError: there are records of this service already.
        RunFailedError: they cannot be written.
    """
    layout = layout_of(config)
    layout.remove_uploads()
    records = start_records(config.name, layout.database)
    try:
        place = Workplace(
            layout=layout,
            oracle=config.oracle,
            pool=config.pool,
            mlflow=config.mlflow,
            ray=config.ray,
            attach=config.name,
            address=ray.get_runtime_context().gcs_address,
        )
        runner = TuningRunner(records, meter, place, config.tuning.at_a_time)
        runner.start()
        try:
            yield
        finally:
            runner.stop()
    finally:
        stop_records(config.name)


def layout_of(config: ServiceConfig) -> Layout:
    """Where its files are."""
    return Layout(Path(config.folder).absolute())


class TuningDesk:
    """The `Desk` of an ingress process.

    Args:
        config: of the service.
        meter: of it.
        asker: of its pool.
        holder: what the meter knows this process by.
    """

    def __init__(
        self, config: ServiceConfig, meter: MeterClient, asker: Asker, holder: str
    ) -> None:
        self.config, self.meter, self.holder = config, meter, holder
        self.layout = layout_of(config)
        self.records = find_records(config.name)
        self.classifiers = Classifiers()
        model = config.oracle.model
        is_place = model.startswith("local-dir:")  # of this machine, which nobody has to know
        self.models: Sequence[str] = (config.name,) if is_place else (config.name, model)
        self._asker = asker

    def authenticate(self, request: Request) -> Caller:
        """See `Desk`."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if kind.lower() == "bearer" and token.strip() else None
        said = self.meter.admit(given, "tune", time.time())
        if isinstance(said, Refusal):
            raise refused(said)
        request.state.key_name = said.caller.name
        request.state.rate = said.rate
        return said.caller

    def ask(self, key_id: str, work: Callable[[Oracle], T], pairs: int) -> T:
        """See `Desk`."""
        cost = max(1.0, pairs / PAIRS_PER_CHUNK)
        answer: T = self._asker.run(key_id, work, cost).result()
        return answer
