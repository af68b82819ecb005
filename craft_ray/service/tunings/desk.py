"""What the routes of files, fine-tunings and classifiers need of the service around them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from starlette.requests import Request

from craft_ray.config.service import ServiceConfig
from craft_ray.oracle.contract import Oracle
from craft_ray.service.meter.terms import Caller
from craft_ray.service.tunings.classify import Classifiers
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.tuning_meter import TuningMeter


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

    def oracle(self) -> AbstractContextManager[Oracle]:
        """A client of the pool that nobody else asks within the block."""
        ...
