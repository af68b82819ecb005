"""Whole runs that ask an endpoint, on a real Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import craft_ray
from craft_ray.estimator.classifier import CraftClassifier
from craft_ray.oracle.endpoints.wire import Reply, Request
from tests.docs.blocks import ROOT
from tests.support.asked_endpoint import speaking
from tests.support.model_server import Asked, model_server
from tests.support.shared_ray import Outcome, call
from tests.support.small_data import small_data

pytestmark = pytest.mark.slow

PROBES = ("head.kind=probes", "head.names=500")
KEY = "sk-a-key-that-nobody-may-see"


class Endpoint:
    """Answers whoever has the key, until it is told to refuse."""

    def __init__(self, dialect: str) -> None:
        self.answer = speaking(dialect)
        self.refuse_after: int | None = None
        self.refusal = Reply(503, {}, b"")
        self.bodies: list[bytes] = []
        self.seconds = 0.0

    def serve(self, request: Request) -> Reply:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return Reply(401, {}, b'{"error": "wrong key"}')
        if self.refuse_after is not None and len(self.bodies) >= self.refuse_after:
            return self.refusal
        self.bodies.append(request.body)
        time.sleep(self.seconds)
        return self.answer(request)


class Place:
    """A folder where commands are called."""

    def __init__(self, address: str, folder: Path, server: Asked) -> None:
        self.address, self.folder, self.server = address, folder, server

    def call(self, command: str, *words: str) -> Outcome:
        return call(self.address, self.folder, command, *words)

    def ask(self, command: str, *words: str, dialect: str = "infinity") -> Outcome:
        return self.call(*self.words(command, dialect), *words)

    def words(self, command: str, dialect: str = "infinity") -> tuple[str, ...]:
        return (
            command,
            *("--endpoint", self.server.url, "--dialect", dialect, "--model", "clip"),
            *("--key-env", "ENDPOINT_KEY", small_data(), "mlflow.enabled=false"),
            *("data.shots=2", "data.views=1", "pool.replicas=auto", "pool.threads_per_replica=1"),
        )

    def summary(self, name: str) -> dict[str, Any]:
        text = (self.folder / "runs" / name / "summary.json").read_text()
        document: dict[str, Any] = json.loads(text)
        return document


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)


def test_a_run_and_what_is_made_of_it(
    on_shared_ray: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = Endpoint("infinity")
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        first = place.ask("train", "name=one", *PROBES, "oracle.prices.image=0.001")
        assert first.returncode == 0, first.stderr
        assert "images, 520 texts at most, for 0.1000 USD; what is known" in first.stdout
        assert "The endpoint was asked for 100 images, 510 texts in" in first.stdout
        summary = place.summary("one")
        assert summary["cost"] == summary["bill"]["cost_answered"] == 0.1
        assert summary["bill"]["answered"]["images"] == 100
        asked = len(endpoint.bodies)
        assert len(set(endpoint.bodies)) == asked == summary["bill"]["answered"]["requests"]

        again = place.ask("train", "name=two", *PROBES, "oracle.prices.image=0.001")
        assert again.returncode == 0, again.stderr
        assert "The endpoint was asked for nothing: all answers were there." in again.stdout
        assert place.summary("two")["cost"] == 0
        assert place.summary("two")["tuned"] == summary["tuned"]
        assert len(endpoint.bodies) == asked

        listed = place.call("runs", "list")
        names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
        assert names == ["two", "one"]

        # What was tested is known; other images are asked about, with a bill of their own.
        tested = place.call("evaluate", "one", tested_images())
        assert tested.returncode == 0, tested.stderr
        assert "nothing: all answers were there" in tested.stderr
        assert len(endpoint.bodies) == asked
        photo = tmp_path / "photo.png"
        photo.write_bytes(png(7))
        labelled = place.call("predict", "one", str(photo))
        assert labelled.returncode == 0, labelled.stderr
        assert "The endpoint was asked for 1 image in 1 request: 0.001 USD." in labelled.stderr
        assert len(endpoint.bodies) == asked + 1

        classifier = CraftClassifier.load(tmp_path / "runs" / "one" / "best")
        assert list(classifier.predict([str(photo)])) == [labelled.stdout.split("\t")[1]]

        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "runs" / "two").rename(tmp_path / "elsewhere" / "two")
        moved = place.call("predict", "elsewhere/two", str(photo))
        assert moved.returncode == 0, moved.stderr
        assert moved.stdout == labelled.stdout
        assert len(endpoint.bodies) == asked + 1
    said = "".join(o.stdout + o.stderr for o in (first, again, listed, tested, labelled, moved))
    said += "".join(capfd.readouterr())
    assert KEY not in said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_wrong_key_ends_the_run_at_once(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint("infinity")
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        monkeypatch.setenv("ENDPOINT_KEY", "sk-another-key-entirely")
        done = place.ask("train", "name=one")
        print(done)
        assert done.returncode == 2
        assert "status 401" in done.stderr
        assert "oracle.api_key_env" in done.stderr
        assert "another-key" not in done.stderr
        assert len(server.requests) <= 4
        monkeypatch.delenv("ENDPOINT_KEY")
        done = place.ask("train", "name=two", "--dry-run")
        assert done.returncode == 2
        assert "ENDPOINT_KEY must have the endpoint's key, but is not set" in done.stderr


@pytest.mark.parametrize("refuse_after", [0, 3])
def test_an_endpoint_that_asks_to_wait_too_long_ends_the_run_which_goes_on_later(
    refuse_after: int, on_shared_ray: str, tmp_path: Path
) -> None:
    endpoint = Endpoint("infinity")
    endpoint.refuse_after = refuse_after
    endpoint.refusal = Reply(429, {"Retry-After": "300"}, b'{"error": "slowly"}')
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        done = place.ask("train", "name=one")
        print(done)
        assert done.returncode == 1
        assert "asks to wait 300 s, longer than oracle.longest_wait_s (120)" in done.stderr
        assert "--resume" in done.stderr
        assert "Traceback" not in done.stderr
        endpoint.refuse_after = None
        done = place.ask("train", "name=one", "--resume")
        print(done)
        assert done.returncode == 0, done.stderr
        assert len(set(endpoint.bodies)) == len(endpoint.bodies), "nothing is asked twice"
        assert place.summary("one")["bill"]["answered"]["images"] == 100


def test_a_search_and_its_money(on_shared_ray: str, tmp_path: Path) -> None:
    endpoint = Endpoint("hf_zero_shot")
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        words = ("trials=2", "oracle.prices.pair=0.001", "name=search")
        done = place.ask("tune", *words, dialect="hf_zero_shot")
        print(done)
        assert done.returncode == 0, done.stderr
        summary = place.summary("search")
        assert summary["cost"] == pytest.approx(0.001 * summary["bill"]["answered"]["pairs"])
        assert len(set(endpoint.bodies)) == len(endpoint.bodies)


def test_money_that_ends_in_the_middle(on_shared_ray: str, tmp_path: Path) -> None:
    # How many tokens a text has, only the endpoint knows: the plan is a guess, the bound is none.
    endpoint = Endpoint("infinity")
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        words = ("name=one", *PROBES, "oracle.prices.token=0.001", "oracle.tokens_per_image=10")
        done = place.ask("train", *words, "max_cost=12")
        assert done.returncode == 2, done
        assert "max_cost: must allow the next request, but it is 12.0000 USD" in done.stderr
        assert "continue with --resume and a larger max_cost" in done.stderr
        asked = len(endpoint.bodies)
        done = place.ask("train", *words, "max_cost=40", "--resume")
        assert done.returncode == 0, done.stderr
        assert len(set(endpoint.bodies)) == len(endpoint.bodies) > asked
        assert 12 < place.summary("one")["cost"] < 40


def test_a_driver_that_is_killed(on_shared_ray: str, tmp_path: Path) -> None:
    endpoint = Endpoint("infinity")
    endpoint.seconds = 0.8
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
        words = ("name=one", *PROBES, "oracle.limits.images=4", "oracle.limits.concurrency=2")
        driver = subprocess.Popen(
            [sys.executable, "-m", "craft_ray", *place.words("train"), *words],
            cwd=tmp_path,
            env={**os.environ, "RAY_ADDRESS": on_shared_ray, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 100
        while len(endpoint.bodies) < 7 and driver.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        driver.kill()
        driver.wait()
        assert len(endpoint.bodies) >= 7
        endpoint.seconds = 0.0
        done = place.ask("train", *words, "--resume")
        assert done.returncode == 0, done.stderr
        answered = place.summary("one")["bill"]["answered"]
        assert answered["images"] == 100
        # What was under way when it was killed is asked again; of what was answered, nothing.
        assert len(endpoint.bodies) - len(set(endpoint.bodies)) <= 2


def test_nothing_listens_there(on_shared_ray: str, tmp_path: Path) -> None:
    endpoint = Endpoint("infinity")
    with model_server(endpoint.serve) as server:
        place = Place(on_shared_ray, tmp_path, server)
    done = place.ask("train", "name=one", "oracle.longest_wait_s=1", "oracle.max_attempts=2")
    assert done.returncode == 1, done
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_from_python(on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("hf_vertex")
    monkeypatch.chdir(tmp_path)
    with model_server(endpoint.serve) as server:
        settings = {
            "oracle.kind": "http",
            "oracle.url": server.url,
            "oracle.dialect": "hf_vertex",
            "oracle.api_key_env": "ENDPOINT_KEY",
            "oracle.limits.images": 8,
            "oracle.prices.request": 0.5,
            "method": "head",
            "head.kind": "linear",
            "data.source.kind": "parquet",
            "data.source.root": data_folder(),
            "data.shots": 2,
            "data.views": 1,
            "mlflow.enabled": False,
            "name": "one",
        }
        result = craft_ray.train(settings=settings)
        assert result.cost == 0.5 * len(endpoint.bodies)
        photo = tmp_path / "photo.png"
        photo.write_bytes(png(8))
        asked = len(endpoint.bodies)
        assert len(result.classifier().predict([str(photo)])) == 1
        assert len(endpoint.bodies) == asked + 1
        exported = call(on_shared_ray, tmp_path, "runs", "export", "one", "out")
        assert exported.returncode == 0, exported
        removed = call(on_shared_ray, tmp_path, "runs", "remove", "one")
        assert removed.returncode == 0, removed
        assert not (tmp_path / "runs" / "one").exists()
        assert list((tmp_path / "runs" / "answers").glob("*.db"))


def data_folder() -> str:
    """Where the small data are."""
    return small_data().partition("root: ")[2].rstrip("}")


def tested_images() -> str:
    """Where the images are that a run was tested on."""
    return f"{data_folder()}/test.parquet"


def png(seed: int) -> bytes:
    """A small image."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    stream = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, size=(32, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
