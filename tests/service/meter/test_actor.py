"""The meter as an actor that is killed, and whoever asks it meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.exceptions import RayError

from craft_ray.errors import ArtifactError, ConfigError, RunFailedError
from craft_ray.service.meter.actor import MeterClient, MeterPlan, start_meter
from craft_ray.service.meter.terms import Begun, Replayed
from tests.service.meter.world import add_key, asked, stored

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(shared_ray: str) -> Iterator[None]:
    ray.init(shared_ray, log_to_driver=False)
    yield
    ray.shutdown()


def kill(client: MeterClient) -> None:
    """As the kernel does it that has no memory left."""
    process = ray.get(client._actor.__ray_call__.remote(lambda _: os.getpid()), timeout=30)
    os.kill(process, signal.SIGKILL)


def answer(client: MeterClient, token: str, name: str) -> int:
    """Begin, settle, and be told of it by a repetition."""
    what = asked(name, 3)
    one = client.begin(token, "predict", what, time.time())
    assert isinstance(one, Begun), one
    client.settle(one.request_id, 2, stored(one), time.time())
    again = client.begin(token, "predict", what, time.time())
    assert isinstance(again, Replayed)
    return again.answer.pairs


def test_an_actor_that_is_killed_again_and_again_charges_once(driver: None, tmp_path: Path) -> None:
    key, token = add_key(tmp_path / "keys.db", pairs=200)
    client = start_meter(MeterPlan(tmp_path / "keys.db"), f"{uuid.uuid4()}/meter")
    other = cloudpickle.loads(cloudpickle.dumps(client))
    stop = threading.Event()
    kills = 0

    def kill_now_and_then() -> None:
        nonlocal kills
        # A few times: on a busy machine it is hardly up between two kills.
        while kills < 4 and not stop.wait(1.0):
            with suppress(RayError):  # it is down already
                kill(client)
                kills += 1

    killer = threading.Thread(target=kill_now_and_then)
    kill(client)
    killer.start()
    with ThreadPoolExecutor(4) as threads:
        names = [f"{number}" for number in range(60)]
        found = list(threads.map(lambda name: answer(other, token, name), names))
    stop.set()
    killer.join()
    assert set(found) == {2}
    usage = client.usage(key.key_id, time.time())
    assert (usage.requests, usage.balance.spent) == (60, 120)


def test_errors_come_as_if_it_was_here(driver: None, tmp_path: Path) -> None:
    name = f"{uuid.uuid4()}/meter"
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(ArtifactError, match="must be a file of `craft-ray keys`"):
        start_meter(MeterPlan(tmp_path / "text"), name)
    client = start_meter(MeterPlan(tmp_path / "meter.db", needs_keys=False), name)
    with pytest.raises(ConfigError, match="there is an actor"):
        start_meter(MeterPlan(tmp_path / "meter.db"), name)
    with pytest.raises(ValueError, match="request_id must be one"):
        client.refund("nothing", time.time())


def test_a_client_that_gives_up_takes_back_what_it_may_have_begun(
    driver: None, tmp_path: Path
) -> None:
    plan = MeterPlan(tmp_path / "meter.db", needs_keys=False)
    patient = start_meter(plan, f"{uuid.uuid4()}/meter")
    hasty = MeterClient(patient._actor, patience_s=0.0)
    with pytest.raises(RunFailedError, match="must answer within 0 s"):
        hasty.begin(None, "predict", asked(), time.time())
    until = time.monotonic() + 10
    while patient.balance("local", time.time()).spent == 0 and time.monotonic() < until:
        time.sleep(0.05)
    hasty._patience_s = 30.0
    hasty.alive("ingress", time.time())
    assert patient.balance("local", time.time()).spent == 0
    assert answer(hasty, "", "one") == 2
