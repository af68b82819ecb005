"""Whole runs on a model that infinity-emb serves: nobody of this project wrote that server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from craft_ray.oracle.endpoints.wire import Reply, Request
from tests.support.foreign_environment import python_or_skip, run_program
from tests.support.images import encoded, noise
from tests.support.infinity_server import INFINITY, KEY, NAME, infinity_server
from tests.support.model_server import Asked, model_server
from tests.support.plain_client import PlainClient, plain_client
from tests.support.shared_ray import FEW_PROCESSES, Outcome, call
from tests.support.small_data import small_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # the first time, infinity's environment is built
    pytest.mark.nightly("craft_ray/oracle", "tests/oracle/endpoints/test_infinity_runs.py"),
]

VARIABLE = "KEY_OF_THE_TESTS"
NUM_CLASSES = 10
CLASSES = ("ankle boot", "bag")
"""Some of the embedded data set."""


class Counting:
    """Stands before infinity and counts.

    Attributes:
        answered: bodies of the requests that were answered well.
        delay_s: that each request takes longer.
    """

    def __init__(self, client: PlainClient) -> None:
        self.answered: list[bytes] = []
        self.delay_s = 0.0
        self._client = client

    def __call__(self, request: Request) -> Reply:
        time.sleep(self.delay_s)
        wanted = {"authorization", "content-type", "accept"}
        headers = {name: value for name, value in request.headers.items() if name.lower() in wanted}
        plain = Request(
            request.method, request.path, headers, request.body, request.part, request.units
        )
        reply = self._client.send(plain)
        if reply.status == 200:
            self.answered.append(request.body)
        return Reply(reply.status, {"Content-Type": "application/json"}, reply.body)

    def items(self, modality: str) -> int:
        """Images or texts that were answered."""
        documents = [json.loads(body) for body in self.answered]
        return sum(len(it["input"]) for it in documents if it["modality"] == modality)


@dataclass
class Endpoint:
    counting: Counting
    server: Asked
    address: str
    """Of Ray."""

    def words(self, *given: str) -> tuple[str, ...]:
        return (
            *("--endpoint", self.server.url, "--dialect", "infinity", "--model", NAME),
            *("--key-env", VARIABLE, small_data(), "mlflow.enabled=false"),
            *("pool.replicas=auto", *given),
        )

    def train(self, folder: Path, *given: str) -> Outcome:
        return call(self.address, folder, "train", *self.words(*given))


@pytest.fixture(scope="module")
def infinity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = python_or_skip(INFINITY)
    folder = tmp_path_factory.mktemp("infinity")
    run_program(python, "tiny_clip_folder.py", "clip", str(folder / "model"))
    with infinity_server(python, folder / "model", folder / "server.log") as url:
        yield url


@pytest.fixture
def endpoint(
    infinity: str, on_shared_ray: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Endpoint]:
    monkeypatch.setenv(VARIABLE, KEY)
    with plain_client(infinity) as client:
        counting = Counting(client)
        with model_server(counting) as server:
            yield Endpoint(counting, server, on_shared_ray)


def summary(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "runs" / name / "summary.json").read_text())
    return document


FEATURES = ("method=head", "head.kind=features", "data.shots=2", "data.views=1")


def test_a_run_its_bill_and_its_classifier(endpoint: Endpoint, tmp_path: Path) -> None:
    counting = endpoint.counting
    done = endpoint.train(tmp_path, *FEATURES, "name=one", "oracle.prices.image=0.001")
    assert done.returncode == 0, done.stdout + done.stderr
    images, texts = counting.items("image"), counting.items("text")
    assert len(counting.answered) == len(set(counting.answered))
    assert texts == NUM_CLASSES
    assert f"asked for {images} images, {texts} texts, " in done.stdout, done.stdout
    assert f" tokens in {len(counting.answered)} requests" in done.stdout
    assert summary(tmp_path, "one")["bill"]["cost_answered"] == pytest.approx(0.001 * images)

    picture = tmp_path / "new.png"
    picture.write_bytes(encoded(noise(40, 30)))
    told = call(endpoint.address, tmp_path, "predict", "one", str(picture))
    assert told.returncode == 0, told.stderr
    assert str(picture) in told.stdout
    assert counting.items("image") == images + 1
    assert counting.items("text") == texts

    for number in range(2):
        folder = tmp_path / "labelled" / CLASSES[number]
        folder.mkdir(parents=True)
        (folder / "an_image.png").write_bytes(encoded(noise(30, 30, seed=number)))
    told = call(endpoint.address, tmp_path, "evaluate", "one", str(tmp_path / "labelled"))
    assert told.returncode == 0, told.stderr
    assert counting.items("image") == images + 3


def test_after_a_kill_nothing_that_was_answered_is_asked_again(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    counting = endpoint.counting
    counting.delay_s = 0.5
    paced = ("name=killed", "oracle.limits.images=8", "oracle.limits.concurrency=1")
    words = endpoint.words(*FEATURES, *paced)
    process = subprocess.Popen(
        [sys.executable, "-m", "craft_ray", "train", *FEW_PROCESSES, *words],
        cwd=tmp_path,
        env=os.environ | {"RAY_ADDRESS": endpoint.address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while len(endpoint.server.requests) < 5:  # one at a time: four were answered
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    answered = endpoint.server.bodies[:4]
    counting.delay_s = 0.0
    time.sleep(3)  # what was sent by the killed run comes through
    before = len(endpoint.server.requests)
    done = endpoint.train(tmp_path, *FEATURES, *paced, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    after = endpoint.server.bodies[before:]
    assert after
    assert not set(answered) & set(after)
    assert len(set(after)) == len(after)


def test_a_wrong_key_is_a_line_and_exit_code_2(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "a-wrong-key-of-the-tests")
    done = endpoint.train(tmp_path, *FEATURES, "name=refused")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert "a-wrong-key" not in done.stderr + done.stdout
    assert "401" in done.stderr
    assert "api_key_env" in done.stderr
    assert not endpoint.counting.answered
