"""A service around the routes of fine-tunings: a meter that keeps the laws, and no Ray."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import Request

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.sections import MlflowConfig, RayConfig
from craft_ray.config.service import ServiceConfig
from craft_ray.metering.ledger import Spending
from craft_ray.oracle.contract import Oracle
from craft_ray.service.meter.terms import (
    Asked,
    Balance,
    Begun,
    Caller,
    Refusal,
    Replayed,
    Stored,
)
from craft_ray.service.tunings.api_error import refused
from craft_ray.service.tunings.classify import Classifiers
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.preparation import Workplace
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.routes import tuning_routes
from craft_ray.service.tunings.rows import JobRecord
from craft_ray.service.tunings.runner import TuningRunner
from tests.support.fake_oracle import FakeOracle

T = TypeVar("T")


@dataclass
class Held:
    """A request of the fake meter."""

    key_id: str
    request_id: str
    asked: Asked
    pairs: int
    is_settled: bool = False
    answer: Stored | None = None


@dataclass
class FakeMeter:
    """Reserves, settles once, and repeats; a quota by key, or none."""

    quotas: dict[str, int] = field(default_factory=dict)
    held: dict[tuple[str, str, str], Held] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_for(self, key_id: str, asked: Asked, now: float) -> Begun | Replayed | Refusal:
        caller = caller_of(key_id)
        with self.lock:
            place = (key_id, asked.route, asked.idempotency_key)
            known = self.held.get(place)
            if known is not None and known.asked.body_digest != asked.body_digest:
                return Refusal(422, "another_body", "the body must be the same")
            if known is not None and known.is_settled:
                answer = known.answer or Stored("", "", known.pairs)
                return Replayed(caller, answer, self._balance(key_id))
            if known is not None and asked.holder:
                return Refusal(409, "still_running", "must have ended", 1.0)
            if known is None:
                left = self._balance(key_id).remaining
                if left is not None and asked.pairs > left:
                    return Refusal(403, "quota_exhausted", f"{left} pairs are left")
                known = Held(key_id, f"{key_id}.{len(self.held)}", asked, asked.pairs)
                self.held[place] = known
            return Begun(known.request_id, caller, self._balance(key_id))

    def settle(self, request_id: str, pairs: int, answer: Stored | None, now: float) -> Balance:
        with self.lock:
            held = next(each for each in self.held.values() if each.request_id == request_id)
            if not held.is_settled:
                assert 0 <= pairs <= held.pairs
                held.pairs, held.answer, held.is_settled = pairs, answer, True
            return self._balance(held.key_id)

    def refund(self, request_id: str, now: float) -> Balance:
        with self.lock:
            place, held = next(
                (place, each) for place, each in self.held.items() if each.request_id == request_id
            )
            if not held.is_settled:
                del self.held[place]
            return self._balance(held.key_id)

    def balance(self, key_id: str, now: float) -> Balance:
        return self._balance(key_id)

    def _balance(self, key_id: str) -> Balance:
        spent = sum(each.pairs for each in self.held.values() if each.key_id == key_id)
        return Balance(spent, self.quotas.get(key_id))


def caller_of(key_id: str) -> Caller:
    """A key with all scopes."""
    return Caller(key_id, f"name of {key_id}", frozenset({"tune"}))


@dataclass
class FakeService:
    """A `Desk`. A key's token is its id."""

    config: ServiceConfig
    records: TuningRecords
    meter: Any
    """A `TuningMeter`; mostly the fake one."""
    model: Oracle = field(default_factory=FakeOracle)
    keys: Sequence[str] = ("anna", "bert")
    models: Sequence[str] = ("service", "embedded")
    holder: str = "ingress-1"
    classifiers: Classifiers = field(default_factory=Classifiers)

    @property
    def layout(self) -> Layout:
        return Layout(Path(self.config.folder))

    def authenticate(self, request: Request) -> Caller:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token == "hasty":
            raise refused(Refusal(429, "too_many_requests", "wait", 3.0))
        if token not in self.keys:
            raise refused(Refusal(401, "unknown_key", "must be a key that works"))
        return caller_of(token)

    def ask(self, key_id: str, work: Callable[[Oracle], T], pairs: int) -> T:
        return work(self.model)

    def app(self) -> FastAPI:
        """Of the routes alone."""
        app = FastAPI()
        app.include_router(tuning_routes(self))
        return app

    def workplace(self, attach: str | None = None, address: str | None = None) -> Workplace:
        """Whose model is the small one."""
        return Workplace(
            layout=self.layout,
            oracle=OracleConfig(),
            pool=PoolConfig(replicas=1),
            mlflow=MlflowConfig(enabled=False),
            ray=RayConfig(),
            attach=attach,
            address=address,
        )

    def runner(
        self, command_of: Callable[[JobRecord], Sequence[str]], at_a_time: int = 1
    ) -> TuningRunner:
        """Which runs something else than craft-ray."""
        return TuningRunner(self.records, self.meter, self.workplace(), at_a_time, command_of)


def fake_service(folder: Path, **sections: Any) -> FakeService:
    """Below a folder.

    Args:
        folder: of it.
        sections: of the settings.
    """
    config = ServiceConfig.model_validate({"folder": str(folder), **sections})
    layout = Layout(folder)
    return FakeService(config, TuningRecords(layout.database), FakeMeter())


def summary(predictions: int = 20, **tuned: Any) -> dict[str, Any]:
    """Of a run."""
    score = {"accuracy": 0.9, "loss": 0.3, "calibration_error": 0.02}
    return {
        "name": "x",
        "zero_shot": {"validation": {**score, "accuracy": 0.5}, "held_out": None, "test": None},
        "tuned": {"validation": score, "held_out": None, "verdict": None, "head": None, **tuned},
        "ledger": Spending(candidate_queries=1, search_predictions=predictions).as_dict(),
        "seconds": 1.0,
        "settings": {"output_dir": "/a/secret/place"},
    }


RUN = """
import json, os, pathlib, shutil, sys, time
run, source, summary, seconds, code = sys.argv[1:]
folder = pathlib.Path(run)
folder.mkdir(parents=True, exist_ok=True)
(folder / "settings.json").write_text("{}")
print("Zero-shot: 50.0% on validation.", file=sys.stderr, flush=True)
print("  generation 1/2, not validated, 1 s, see /a/secret/place/of", file=sys.stderr, flush=True)
print("continue with /a/secret/place", file=sys.stderr, flush=True)
try:
    time.sleep(float(seconds))
except KeyboardInterrupt:
    sys.exit(130)
if int(code):
    print(f"error: {run}: must be another", file=sys.stderr)
    sys.exit(int(code))
if source:
    shutil.copytree(source, folder / "best", dirs_exist_ok=True)
(folder / "summary.json").write_text(summary)
"""


def fake_command(
    service: FakeService,
    job: JobRecord,
    artifact: Path | None = None,
    said: Mapping[str, Any] | None = None,
    seconds: float = 0.0,
    code: int = 0,
) -> list[str]:
    """What does as a run does, at once."""
    run = service.layout.run(job.key_id, job.id)
    words = ["" if artifact is None else str(artifact), json.dumps(said or summary())]
    return [sys.executable, "-c", RUN, str(run), *words, str(seconds), str(code)]
