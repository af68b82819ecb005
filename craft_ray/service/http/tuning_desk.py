"""What the routes of tuning need of an ingress process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from craft_ray.config.service import ServiceConfig
from craft_ray.errors import RunFailedError
from craft_ray.oracle.contract import Oracle
from craft_ray.service.http.bodies import bearer_token
from craft_ray.service.http.desk import Desk
from craft_ray.service.http.problems import Problem
from craft_ray.service.meter.terms import Caller, Refusal
from craft_ray.service.tunings.api_error import refused
from craft_ray.service.tunings.classify import Classifiers
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.records import TuningRecords

T = TypeVar("T")

MOST_FORWARDS = 2_000
"""Of one request: each image, and each text, is seen by the model once, whatever the pairs."""


class TuningDesk:
    """Implements `craft_ray.service.tunings.desk.Desk`.

    Args:
        desk: of the process.
        records: of the service.
    """

    def __init__(self, desk: Desk, records: TuningRecords) -> None:
        self._desk = desk
        self.records = records
        self.meter = desk.meter
        self.holder = desk.holder
        self.classifiers = Classifiers()
        self.layout = Layout(Path(desk.config.folder).absolute())

    @property
    def config(self) -> ServiceConfig:
        """Of the service."""
        return self._desk.config

    @property
    def models(self) -> Sequence[str]:
        """The service's own name, and the model's as the owner calls it; not where it lies."""
        model = self.config.oracle.model
        is_place = model.startswith("local-dir:")
        return tuple(dict.fromkeys([self.config.name, *([] if is_place else [model])]))

    def authenticate(self, request: Request) -> Caller:
        """Who asks, for the scope `tune`; counted as one request.

        Raises:
            ApiError: 401, 403 or 429.
        """
        try:
            token = bearer_token(request)
        except Problem as problem:
            refusal = Refusal(problem.status, problem.code, problem.detail)
            raise refused(refusal) from None
        said = self._desk.meter.admit(token, "tune", time.time())
        if isinstance(said, Refusal):
            if said.caller is not None:
                request.state.key_name = said.caller.name
            raise refused(said)
        request.state.key_name = said.caller.name
        return said.caller

    def ask(self, key_id: str, work: Callable[[Oracle], T], pairs: int) -> T:
        """Do what asks the model, when it is the key's turn; blocks until it is done.

        Raises:
            RunFailedError: the service ends before that.
        """
        cost = min(pairs, MOST_FORWARDS)
        try:
            done: T = self._desk.asker.run(key_id, work, cost).result()
        except CancelledError as error:
            raise RunFailedError("the service ends") from error
        return done
