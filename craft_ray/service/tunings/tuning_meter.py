"""The meter, as fine-tunings and classifiers see it."""

from __future__ import annotations

from typing import Protocol

from craft_ray.service.meter.terms import Asked, Balance, Begun, Refusal, Replayed, Stored


class TuningMeter(Protocol):
    """What of `Meter` is used in this room."""

    def begin_for(self, key_id: str, asked: Asked, now: float) -> Begun | Replayed | Refusal: ...

    def settle(self, request_id: str, pairs: int, answer: Stored | None, now: float) -> Balance: ...

    def refund(self, request_id: str, now: float) -> Balance: ...

    def balance(self, key_id: str, now: float) -> Balance: ...
