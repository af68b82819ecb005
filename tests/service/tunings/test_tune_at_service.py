"""`craft-ray tune IMAGES --service URL`, over a real connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from craft_ray.classifiers.artifact import Artifact
from craft_ray.commands.tune import main
from craft_ray.service.tunings import client
from tests.classifiers.test_artifact import trained
from tests.support.images import write_tree
from tests.support.tuning_service import FakeService, fake_command, fake_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service")
    yield service
    service.records.close()


@pytest.fixture
def url(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of the service, whose runs end at once."""
    monkeypatch.setattr(client, "LOOK_EVERY_S", 0.05)
    trained().save(tmp_path / "artifact")
    runner = service.runner(lambda job: fake_command(service, job, tmp_path / "artifact"))
    server = uvicorn.Server(uvicorn.Config(service.app(), port=0, log_level="error"))
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            runner.look()

    threads = [threading.Thread(target=server.run), threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    ended.set()
    for thread in threads:
        thread.join()


def test_images_go_and_a_classifier_comes(
    service: FakeService,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SERVICE_KEY", "anna")
    images = write_tree(tmp_path / "images", images=3)
    words = [str(images), "seed=4", "trials=2", "data.views=0", f"output_dir={tmp_path / 'runs'}"]
    assert main([*words, "--service", url, "--key-env", "SERVICE_KEY"]) == 0
    (job,) = service.records.jobs("anna", None, 10) or []
    assert job.request["method"] == {
        "type": "search",
        "trials": 2,
        "settings": {"data.views": 0},
    }
    assert (job.request["seed"], job.request["validation_file"] is None) == (4, False)
    files = service.records.files("anna", "fine-tune", None, 10, False) or []
    assert [file.facts["images_per_class"] for file in files] == [[3, 3], [3, 3]]
    artifact = Artifact.load(tmp_path / "runs" / job.id / "best")
    assert artifact.content_id == Artifact.load(tmp_path / "artifact").content_id
    printed = capsys.readouterr().out
    assert "The job has succeeded." in printed
    assert f"craft-ray predict {tmp_path / 'runs' / job.id} PHOTOS" in printed


@pytest.mark.parametrize(
    ("words", "law"),
    [
        (["--model", "ViT-B-32/openai"], "--model"),
        (["--dry-run"], "--dry-run"),
        (["--preset", "own_images"], "--preset"),
        (["--key-env", "NOT_SET"], "NOT_SET must be set"),
        (["oracle.model=embedded"], "method.settings may have"),
    ],
)
def test_what_is_the_owners_is_refused(
    words: list[str],
    law: str,
    url: str,
    service: FakeService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SERVICE_KEY", "anna")
    images = write_tree(tmp_path / "images", images=3)
    key = [] if "--key-env" in words else ["--key-env", "SERVICE_KEY"]
    assert main([str(images), *words, "--service", url, *key]) == 2
    assert law in capsys.readouterr().err
    assert service.records.jobs("anna", None, 10) == []
