"""A reply of the meter's actor is lost after the work was done: the call is asked again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from craft_ray.errors import RunFailedError
from craft_ray.service.meter.actor import Call, MeterActor, MeterClient, MeterPlan, Told
from craft_ray.service.meter.terms import Asked, Begun


class Forgetful(MeterClient):
    """Asks an actor that is no process, and does not hear the first replies."""

    def __init__(self, actor: MeterActor, deaf: int, patience_s: float) -> None:
        super().__init__(ray_handle(actor), patience_s)
        self._here, self._deaf = actor, deaf

    def _ask(self, calls: Sequence[Call]) -> Sequence[Told]:
        told = self._here.ask(calls)
        self._deaf -= 1
        if self._deaf >= 0:
            raise ActorUnavailableError("it starts again", None)
        return told


def ray_handle(actor: MeterActor) -> Any:
    return actor


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[MeterActor]:
    actor = MeterActor(MeterPlan(tmp_path / "meter.db", needs_keys=False))
    yield actor
    actor._opened().close()


def asked(holder: str = "ingress") -> Asked:
    return Asked("classify", 10, "one", "a" * 64, holder)


@pytest.mark.parametrize("holder", ["ingress", ""])
def test_who_was_admitted_before_begins_once(actor: MeterActor, holder: str) -> None:
    client = Forgetful(actor, 1, 30.0)
    begun = client.begin_for("local", asked(holder), 0.0)
    assert isinstance(begun, Begun), begun
    assert client.balance("local", 0.0).spent == 10
    assert client.refund(begun.request_id, 0.0).spent == 0


def test_what_nobody_heard_of_is_given_back(actor: MeterActor) -> None:
    client = Forgetful(actor, 1, 0.0)
    with pytest.raises(RunFailedError, match="must answer"):
        client.begin_for("local", asked(), 0.0)
    assert client.balance("local", 0.0).spent == 10
    client.alive("ingress", 0.0)
    assert client.balance("local", 0.0).spent == 0
