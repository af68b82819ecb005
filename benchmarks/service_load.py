"""A service in processes of its own, and clients that load it: parts of `benchmarks.serve`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import psutil

from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack, unpack

START_WITHIN_S = 300.0
RETRIED = (408, 409, 429, 502, 503)


@dataclass
class Service:
    """`craft-ray serve`, which runs.

    Attributes:
        url: of it.
        process: the command.
    """

    url: str
    process: subprocess.Popen[str]

    def processes(self) -> list[psutil.Process]:
        """The command and all that it has started."""
        command = psutil.Process(self.process.pid)
        return [command, *command.children(recursive=True)]

    def cpu_s(self) -> float:
        """Of all its processes that live."""
        total = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def resident_mb(self) -> dict[str, float]:
        """Of each kind of process, by the name that Ray gives it."""
        found: dict[str, float] = {}
        for process in self.processes():
            try:
                name = " ".join(process.cmdline())[:60] or process.name()
                memory = process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
            kind = _kind_of(name)
            found[kind] = round(found.get(kind, 0.0) + memory, 1)
        return found

    def ray_address(self) -> str:
        """Of the Ray that it has started, as its raylet was told."""
        option = "--gcs-address="
        for process in self.processes():
            for word in process.cmdline():
                if word.startswith(option):
                    return word.removeprefix(option)
        raise RuntimeError("the service has started no Ray")

    def interrupt(self) -> int:
        """As Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=120)


def _kind_of(command: str) -> str:
    for part, kind in (
        ("ray::OracleReplica", "replica"),
        ("ray::ServeReplica", "ingress"),
        ("ray::ProxyActor", "proxy"),
        ("ray::MeterActor", "meter"),
        ("ray::Registry", "registry"),
        ("ray::ServeController", "controller"),
        ("craft_ray.serve", "command"),
    ):
        if part in command:
            return kind
    return "ray"


@contextmanager
def running_service(folder: Path, port: int, *words: str) -> Iterator[Service]:
    """Start the command in `folder`, wait until it answers, and end it afterwards."""
    service = start_service(folder, port, *words)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.interrupt()


def start_service(folder: Path, port: int, *words: str) -> Service:
    """Start the command, and wait until it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"serve-{time.time():.0f}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "craft_ray.serve", f"port={port}", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # No token: only the address of its Ray is handed over.
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "RAY_AUTH_MODE": "disabled",
            },
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "answers" not in line:
        process.kill()
        raise RuntimeError(f"the service has not started: {log.name}")
    return Service(line.split()[0], process)


@dataclass
class Client:
    """One caller.

    Attributes:
        url: of the service.
        token: of its key; None: there are no keys.
        retries: refusals that were met by asking again.
    """

    url: str
    token: str | None = None
    retries: list[int] = field(default_factory=list)
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=600))

    def send(self, method: str, path: str, content: bytes, kind: str, key: str = "") -> Any:
        """A request, again while the service says that it cannot answer now."""
        headers = {"Content-Type": kind, "Idempotency-Key": key or uuid.uuid4().hex}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        while True:
            try:
                reply = self.http.request(method, self.url + path, content=content, headers=headers)
            except httpx2.TransportError:  # it is started again
                self.retries.append(0)
                time.sleep(0.5)
                continue
            starts = reply.status_code == 404 and "/-/routes" in reply.text
            if reply.status_code not in RETRIED and not starts:
                return reply
            self.retries.append(reply.status_code)
            time.sleep(min(float(reply.headers.get("retry-after", "0.5")), 2.0))

    def register(self, task: ClassificationTask, files: Sequence[bytes]) -> list[str]:
        """Task and images; the images' digests."""
        document = {"class_names": list(task.class_names), "template": task.template}
        body = json.dumps(document).encode()
        _checked(self.send("POST", "/v1/tasks", body, "application/json"))
        digests = [hashlib.sha256(file).hexdigest() for file in files]
        for digest, file in zip(digests, files, strict=True):
            _checked(self.send("PUT", f"/v1/images/{digest}", file, "image/png"))
        return digests

    def predict(
        self, task: ClassificationTask, images: Sequence[str], contexts: FloatArray, key: str = ""
    ) -> npt.NDArray[Any]:
        """Logits."""
        document = {"task": task.digest, "images": list(images), "answer": "logits"}
        body = pack({"contexts": contexts}, document)
        arrays, _ = unpack(
            _checked(self.send("POST", "/v1/predict", body, MEDIA_TYPE, key)).content
        )
        return arrays["logits"]


def _checked(reply: Any) -> Any:
    if reply.status_code >= 300:
        raise RuntimeError(f"{reply.status_code}: {reply.text[:300]}")
    return reply


def latencies(
    asks: Sequence[Callable[[], None]], seconds: float
) -> tuple[list[list[float]], float]:
    """Have each of some callers ask again and again, at the same time.

    Args:
        asks: one for each caller.
        seconds: for how long; what is under way then is awaited.

    Returns:
        Seconds of each question, by caller; and of all of it.
    """
    taken: list[list[float]] = [[] for _ in asks]
    errors: list[BaseException] = []
    began_s = time.monotonic()

    def run(number: int) -> None:
        try:
            while time.monotonic() - began_s < seconds:
                sent_s = time.monotonic()
                asks[number]()
                taken[number].append(time.monotonic() - sent_s)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return taken, time.monotonic() - began_s


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Of questions, in milliseconds."""
    return round(1000 * float(np.percentile(np.asarray(seconds), 100 * share)), 1)
