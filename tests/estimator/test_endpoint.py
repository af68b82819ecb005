"""Fitted to a model behind an endpoint: the bill is there, and so is what to type."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.embedded_server import Embedder, Handler
from craft_ray import CraftClassifier
from craft_ray.errors import ConfigError
from tests.support.images import write_tree


@pytest.fixture
def url() -> Iterator[str]:
    class WithModel(Handler):
        embedder = Embedder()

    server = ThreadingHTTPServer(("127.0.0.1", 0), WithModel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_what_it_cost_is_said(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = write_tree(tmp_path / "images", images=4) / "train"
    settings = {
        "oracle.url": url,
        "oracle.dialect": "infinity",
        "oracle.model": "embedded",
        "oracle.prices.image": 0.5,
        "head.kind": "features",
        "head.folds": 2,
        "data.views": 1,
    }
    classifier = CraftClassifier("http", settings=settings)
    assert classifier.bill is None
    classifier.fit(images)
    about = classifier.artifact_.about
    assert about is not None
    assert about.cost
    assert about.currency == "USD"
    assert classifier.bill is not None
    assert f"{about.cost:.4f} USD" in classifier.bill
    assert "USD" in classifier.artifact_.card("best")


def test_an_address_is_no_name_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"oracle: must be 'http' .*'oracle.url'"):
        CraftClassifier("https://host.example/v1").fit(tmp_path)
