"""Whole runs that ask an endpoint, on a real Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from craft_ray.oracle.endpoints.wire import Reply, Request
from tests.support.asked_endpoint import speaking
from tests.support.model_server import Asked, Served, model_server
from tests.support.shared_ray import Outcome, call
from tests.support.small_data import small_data

pytestmark = pytest.mark.slow

KEY = "sk-a-key-that-nobody-may-see"


class Run:
    """`train`, and what follows, against a server."""

    def __init__(self, address: str, folder: Path, server: Asked, patch: pytest.MonkeyPatch):
        self.address, self.folder, self.server = address, folder, server
        patch.setenv("ENDPOINT_KEY", KEY)

    def words(self, dialect: str) -> tuple[str, ...]:
        return (
            *("--endpoint", self.server.url, "--dialect", dialect, "--model", "clip"),
            *("--key-env", "ENDPOINT_KEY", small_data(), "method=head", "mlflow.enabled=false"),
            *("data.shots=2", "data.views=1", "pool.replicas=auto"),
        )

    def train(self, *words: str, dialect: str = "infinity") -> Outcome:
        return call(self.address, self.folder, "train", *self.words(dialect), *words)

    def summary(self, name: str) -> dict[str, Any]:
        text = (self.folder / "runs" / name / "summary.json").read_text()
        document: dict[str, Any] = json.loads(text)
        return document


def test_a_run(on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server(speaking("infinity")) as server:
        run = Run(on_shared_ray, tmp_path, server, monkeypatch)
        done = run.train("name=one", "oracle.prices.image=0.001")
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        for words in (("list",), ("show", "one")):
            o = call(on_shared_ray, tmp_path, "runs", *words)
            print(o)
        import subprocess

        print(
            subprocess.run(
                "find . -type f | head -60",
                shell=True,
                cwd=tmp_path,
                capture_output=True,
                text=True,
            ).stdout
        )
        print(run.summary("one")["bill"], run.summary("one")["cost"])
        assert 0
