"""What holds when processes of a running service are killed: the same numbers, charged once."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from craft_ray.config.oracle import OracleConfig
from craft_ray.data.encoded import png_files
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack, unpack
from craft_ray.service.meter.key_file import open_keys
from craft_ray.service.meter.key_table import KeyTable
from craft_ray.service.meter.keys import SCOPES, Key
from craft_ray.service.tunings.outcome import spending_of
from tests.service.http.test_protocol import PICTURES, digest_of
from tests.support.asked_endpoint import endpoint, soft_oracle
from tests.support.serving import Serving

pytestmark = [pytest.mark.slow]

TASK = ClassificationTask(("cat", "dog", "ship"))
K, N, C = 60, 60, 3
PER_REQUEST, PER_CHUNK = 20, 10


class World:
    """One service for all tests, and two keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "keys.db").parent.mkdir(parents=True, exist_ok=True)
        self.serving = Serving(
            folder,
            "pool.replicas=2",
            "pool.threads_per_replica=1",
            "ray.num_cpus=4",
            "ray.object_store_mb=200",
            "bounds.requests_at_a_time=8",
            "bounds.requests_waiting=16",
            "gives.hugging_face=true",
            "mlflow.enabled=false",
        )
        self.tokens = {name: self._add_key(name) for name in ("Ada", "Bob", "Cy")}

    def _add_key(self, name: str) -> str:
        database = open_keys(self.serving.keys)
        try:
            key = Key("", name, b"", frozenset(SCOPES), created=time.time())
            return KeyTable(database).add(key)[1]
        finally:
            database.close()

    def client(self, name: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.serving.url, headers=self.headers(name), timeout=60.0)

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def usage(self, name: str) -> dict[str, Any]:
        with self.client(name) as client:
            found: dict[str, Any] = client.get("/v1/usage").json()
            return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(tmp_path_factory.mktemp("world"))
        stack.callback(made.serving.stop)
        made.serving.start()
        yield made


@pytest.fixture(scope="module")
def clip() -> ClipOracle:
    return ClipOracle.load(OracleConfig())


@pytest.fixture(scope="module")
def pixels(clip: ClipOracle) -> Any:
    size = clip.describe().image_size
    return np.random.default_rng(0).integers(0, 256, (N, 3, size, size), dtype=np.uint8)


def populations(clip: ClipOracle) -> Iterator[FloatArray]:
    """One after the other, [K, L, E]."""
    start, random = clip.register_task(TASK).initial_context, np.random.default_rng(1)
    while True:
        yield (start + 0.05 * random.normal(size=(K, *start.shape))).astype(np.float32)


def logits_of(clip: ClipOracle, pixels: Any, contexts: FloatArray) -> FloatArray:
    """In the chunks of a pool."""
    task, images = clip.register_task(TASK), clip.register_images(pixels)
    parts = [
        clip.predict(task, images, contexts[at : at + PER_CHUNK])
        for at in range(0, len(contexts), PER_CHUNK)
    ]
    return np.concatenate(parts)


def question(clip: ClipOracle, images: list[str], number: int = 1) -> bytes:
    contexts = next(populations(clip))[:number]
    return pack({"contexts": contexts}, {"task": TASK.digest, "images": images})


def register(client: httpx2.Client) -> list[str]:
    document = {"class_names": list(TASK.class_names), "template": TASK.template}
    assert client.post("/v1/tasks", json=document).status_code == 200
    for data in PICTURES:
        assert client.put(f"/v1/images/{digest_of(data)}", content=data).status_code in (200, 201)
    return [digest_of(data) for data in PICTURES]


def post(client: httpx2.Client, body: bytes, key: str) -> httpx2.Response:
    headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": key}
    return client.post("/v1/predict", content=body, headers=headers)


def until(is_so: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


PARTS = ("ServeReplica:craft-ray:ingress", "MeterActor", "OracleReplica", "RecordsActor")


def test_parts_that_are_killed_in_the_middle_of_populations(
    world: World, clip: ClipOracle, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAS_KEY", world.tokens["Ada"])
    config = endpoint(
        world.serving.url,
        "craft_ray",
        api_key_env="ADAS_KEY",
        limits={"contexts": PER_REQUEST},
        max_attempts=30,
    )
    asked: list[FloatArray] = []
    answers: list[FloatArray] = []
    killed = threading.Event()

    def kill_all() -> None:
        try:
            for part in PARTS:
                time.sleep(0.5)
                world.serving.kill_part(part)
                world.serving.wait_until_healthy()
        finally:
            killed.set()

    with soft_oracle(config, world.folder / "run") as oracle, ThreadPoolExecutor(1) as other:
        task = oracle.register_task(TASK)
        images = oracle.register_images(png_files(pixels))
        killing = other.submit(kill_all)
        for contexts in populations(clip):
            asked.append(contexts)
            answers.append(oracle.predict(task, images, contexts))
            if killed.is_set():
                break
        killing.result()
        bill = oracle.bill
    for contexts, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer, logits_of(clip, pixels, contexts))
    pairs = len(asked) * K * N * C
    assert world.usage("Ada")["pairs"] == pairs
    assert bill.answered.pairs == pairs, bill


def test_whoever_hangs_up_has_the_answer_with_the_same_key(world: World, clip: ClipOracle) -> None:
    with world.client("Bob") as client:
        images, before = register(client), world.usage("Bob")["pairs"]
        for number in range(5):
            body = question(clip, images, 20)
            head = (
                f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: {world.headers('Bob')['Authorization']}\r\n"
                f"Content-Type: {MEDIA_TYPE}\r\nIdempotency-Key: gone-{number}\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", world.serving.port)) as connection:
                connection.sendall(head.encode() + body)
                time.sleep(0.01 * number)
            reply = post(client, body, f"gone-{number}")
            while reply.status_code == 409:
                assert reply.headers["retry-after"] == "1"
                time.sleep(0.1)
                reply = post(client, body, f"gone-{number}")
            assert reply.status_code == 200, reply.text
            charged = world.usage("Bob")["pairs"] - before
            assert charged == (number + 1) * 20 * len(images) * C


def test_more_requests_than_may_wait(world: World, clip: ClipOracle) -> None:
    with world.client("Bob") as client:
        images, before = register(client), world.usage("Bob")["pairs"]
        body = question(clip, images)
        with ThreadPoolExecutor(200) as many:
            replies = list(many.map(lambda n: post(client, body, f"many-{n}"), range(200)))
        statuses = [reply.status_code for reply in replies]
        assert set(statuses) <= {200, 429}, set(statuses)
        assert statuses.count(429) > 0
        for reply in replies:
            if reply.status_code == 429:
                assert int(reply.headers["retry-after"]) >= 1
        charged = world.usage("Bob")["pairs"] - before
        assert charged == statuses.count(200) * len(images) * C
        # None is lost: whoever asks again is answered, and nobody pays twice.
        for number in range(200):
            while (reply := post(client, body, f"many-{number}")).status_code == 429:
                time.sleep(0.2)
            assert reply.status_code == 200
        assert world.usage("Bob")["pairs"] - before == 200 * len(images) * C


PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not written yet")
def test_lines_of_curl_in_the_documents(world: World) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [block for block in blocks if "curl" in block and "$URL" in block]
    assert lines
    (world.folder / "photos").mkdir()
    (world.folder / "photos" / "0.png").write_bytes(PICTURES[0])
    program = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n'
    variables = {"URL": world.serving.url, "CRAFT_KEY": world.tokens["Cy"]}
    for block in lines:
        done = subprocess.run(
            ["bash", "-c", program + block],
            cwd=world.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _lines() -> bytes:
    rows = []
    for number in range(40):
        pixels = np.full((16, 16, 3), 40 + 4 * number, np.uint8)
        pixels[..., number % 2] = 255
        (data,) = png_files(pixels.transpose(2, 0, 1)[None])
        uri = "data:image/png;base64," + base64.b64encode(data).decode()
        rows.append(json.dumps({"image": uri, "label": ("cat", "dog")[number % 2]}))
    return "\n".join(rows).encode()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_service_that_is_killed_goes_on_where_it_was(
    world: World, clip: ClipOracle, stack: ExitStack
) -> None:
    serving = world.serving
    url = f"{serving.url}/v1"
    openai = stack.enter_context(OpenAI(api_key=world.tokens["Cy"], base_url=url, max_retries=5))
    with world.client("Cy") as client:
        images = register(client)
        answered = post(client, question(clip, images), "before")
        assert answered.status_code == 200, answered.text
        used = world.usage("Cy")["pairs"]
        file = openai.files.create(file=("pets.jsonl", _lines()), purpose="fine-tune")
        method: Any = {"type": "craft", "budget": 200, "settings": {"data.shots": 4}}
        job = openai.fine_tuning.jobs.create(
            model="service", training_file=file.id, extra_body={"method": method}, seed=1
        )

        def has_begun() -> bool:
            events = openai.fine_tuning.jobs.list_events(job.id, limit=100).data
            return any(re.search(r"generation \d", event.message) for event in events)

        until(has_begun)
    serving.kill()
    serving.start()
    with world.client("Cy") as client:
        again = post(client, question(clip, images), "before")
        assert again.headers["idempotency-replayed"] == "true"
        assert again.content == answered.content
        new = post(client, question(clip, images), "after")  # nothing is registered again
        assert (
            unpack(new.content)[0]["logits"].tobytes()
            == unpack(answered.content)[0]["logits"].tobytes()
        )
        assert [each.id for each in openai.files.list(purpose="fine-tune")] == [file.id]
        until(lambda: openai.fine_tuning.jobs.retrieve(job.id).finished_at is not None, 300.0)
        found = openai.fine_tuning.jobs.retrieve(job.id)
        assert found.status == "succeeded", found.error
        usage = world.usage("Cy")
        assert usage["pairs_by_route"]["predict"] == 2 * used
        (run,) = (world.folder / "service" / "tunings").glob(f"*/{job.id}")
        spent = spending_of(run)
        assert spent is not None
        assert usage["pairs_by_route"]["tuning"] == 2 * spent.image_predictions, spent  # texts
        assert usage["pairs"] == sum(usage["pairs_by_route"].values())
