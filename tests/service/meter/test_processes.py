"""Processes that die between `begin` and `settle`, and processes that share the file."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import Admitted, Refusal
from tests.service.meter.world import add_key, asked, begun, meter_of, stored

pytestmark = pytest.mark.slow


def test_kill_minus_9_between_begin_and_settle(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    key, token = add_key(path)
    by_chance = random.Random(5)
    charged = 0
    for number in range(3):
        words = ["tests.service.meter.holder", str(path), token, f"h{number}"]
        command = [sys.executable, "-m", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            request_id = process.stdout.readline().strip()
            time.sleep(by_chance.uniform(0.0, 0.2))
            process.kill()
        now = time.time()
        with meter_of(path, now) as meter:
            spent = meter.balance(key.key_id, now).spent
            usage = meter.usage(key.key_id, now)
            # The request that stays, and one at most that was under way.
            assert spent - sum(usage.by_route.values()) in (10, 11)
            refused = meter.begin(token, "predict", asked(f"h{number}", holder="next"), now)
            assert isinstance(refused, Refusal)
            assert refused.code == "still_running"
            charged = meter.balance(key.key_id, now + 11).spent
            assert charged == usage.requests == sum(usage.by_route.values())
            again = begun(meter, token, asked(f"h{number}", holder="next"), now + 11)
            assert again.request_id != request_id
            meter.settle(again.request_id, 1, stored(again), now + 12)
    assert charged > 0


def test_the_command_changes_keys_of_a_meter_that_works(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    _, token = add_key(path)
    meter = Meter(path, time.time())
    answered, is_over = list[str](), threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            one = begun(meter, token, asked(f"{len(answered)}", 1), time.time())
            meter.settle(one.request_id, 1, stored(one), time.time())
            answered.append(one.request_id)

    def keys(*words: str) -> str:
        command = [sys.executable, "-m", "craft_ray", "keys", *words, "--file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def within_a_second(token: str, kind: type[object]) -> bool:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            if isinstance(meter.admit(token, None, time.time()), kind):
                return True
            time.sleep(0.01)
        return False

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        new = keys("add", "Bob")
        assert within_a_second(new, Admitted)
        keys("revoke", "Bob")
        assert within_a_second(new, Refusal)
    finally:
        is_over.set()
        thread.join()
        meter.close()
    number = f"{len(answered):,}"
    assert f"predict: {number} charged requests, {number} pairs in all" in keys("usage")
