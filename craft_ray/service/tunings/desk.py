"""What the routes of files, fine-tunings and classifiers need of the service around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from starlette.requests import Request

from craft_ray.config.service import ServiceConfig
from craft_ray.oracle.contract import Oracle
from craft_ray.service.meter.terms import Caller
from craft_ray.service.tunings.classify import Classifiers
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.tuning_meter import TuningMeter

T = TypeVar("T")


class Desk(Protocol):
    """Called from many threads."""

    @property
    def config(self) -> ServiceConfig: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def records(self) -> TuningRecords:
        """Or who passes its methods on to the process that has them."""
        ...

    @property
    def meter(self) -> TuningMeter: ...

    @property
    def classifiers(self) -> Classifiers: ...

    @property
    def models(self) -> Sequence[str]:
        """Names of the model of the service."""
        ...

    @property
    def holder(self) -> str:
        """Of this process, for the meter."""
        ...

    def authenticate(self, request: Request) -> Caller:
        """Who asks, for the scope `tune`; counted as one request.

        Raises:
            ApiError: see `api_error.refused`.
        """
        ...

    def ask(self, key_id: str, work: Callable[[Oracle], T], pairs: int) -> T:
        """Do what asks the model, when it is the key's turn.

        Args:
            key_id: for whom.
            work: is given a client that nobody else asks meanwhile.
            pairs: that it asks about.

        Raises:
            Exception: of the work, or of the pool.
        """
        ...
