"""craft-ray's own client of a service."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from craft_ray.classifiers.artifact import Artifact
from craft_ray.errors import RunFailedError, UserError
from craft_ray.service.tunings import client as module
from craft_ray.service.tunings.client import TuningClient, removed_after
from tests.classifiers.test_artifact import trained
from tests.service.tunings.test_openai_client import LINES
from tests.support.tuning_service import FakeService, fake_command, fake_service


class Passing(httpx2.BaseTransport):
    """To an application in this process."""

    def __init__(self, http: TestClient) -> None:
        self._http = http

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._http.request(
            request.method, str(request.url), headers=request.headers, content=request.read()
        )
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service")
    yield service
    service.records.close()


@pytest.fixture
def client(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[TuningClient]:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    with (
        TestClient(service.app(), base_url="http://service") as http,
        TuningClient("http://service/", "anna", Passing(http)) as client,
    ):
        yield client


def test_from_a_file_to_a_classifier(
    service: FakeService, client: TuningClient, tmp_path: Path
) -> None:
    lines = tmp_path / "pets.jsonl"
    lines.write_bytes(LINES)
    trained().save(tmp_path / "artifact")
    job_id = client.create(client.upload(lines), method={"type": "probes"}, seed=3)
    runner = service.runner(lambda job: fake_command(service, job, tmp_path / "artifact"))
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            runner.look()

    looking = threading.Thread(target=look)
    looking.start()
    said: list[str] = []
    try:
        job = client.follow(job_id, said.append)
    finally:
        ended.set()
        looking.join()
    assert job["fine_tuned_model"] == f"ft:{job_id}"
    assert said[0] == f"Created job {job_id}."
    assert said[-1] == "The job has succeeded."
    assert len(said) == len(set(said))
    folder = client.fetch(job_id, tmp_path / "runs" / job_id)
    assert Artifact.load(folder).content_id == Artifact.load(tmp_path / "artifact").content_id
    with pytest.raises(UserError, match="must not exist yet"):
        client.fetch(job_id, tmp_path / "runs" / job_id)


def test_what_the_service_refuses(
    service: FakeService, client: TuningClient, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="says 404: training_file 'file-x' must exist"):
        client.create("file-x")
    lines = tmp_path / "x.jsonl"
    lines.write_bytes(b'{"label": "cat"}')
    with pytest.raises(UserError, match="says 400: line 1: must be an object with the keys"):
        client.upload(lines)
    lines.write_bytes(LINES)
    job_id = client.create(client.upload(lines))
    client.cancel(job_id)
    with pytest.raises(UserError, match="was cancelled"):
        client.follow(job_id, lambda _: None)


def test_why_a_job_has_failed_is_told_once(
    service: FakeService, client: TuningClient, tmp_path: Path
) -> None:
    lines = tmp_path / "pets.jsonl"
    lines.write_bytes(LINES)
    job_id = client.create(client.upload(lines), method={"type": "probes"})
    (job,) = service.records.jobs("anna", None, 1) or []
    error = {"code": "quota_exhausted", "message": "too few pairs", "param": "method"}
    service.records.change_job("anna", job_id, job.status, status="failed", error=error)
    service.records.add_event("anna", job_id, "error", "too few pairs", None, 1.0)
    said: list[str] = []
    with pytest.raises(UserError, match=f"job {job_id}: too few pairs"):
        client.follow(job_id, said.append)
    assert said == [f"Created job {job_id}."]


@pytest.mark.parametrize("name", ["../evil", "a/../b", "one", "a/b/c", "a/.x", "a/..\\b"])
def test_a_zip_with_odd_names_is_not_unpacked(name: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, b"x")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=content.getvalue()))
    with (
        TuningClient("http://service", None, transport) as client,
        pytest.raises(UserError, match="must send a zip of a classifier"),
    ):
        client.fetch("ftjob-1", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_busy_service_is_asked_again_and_one_that_is_gone_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("craft_ray.service.tunings.client.time.sleep", lambda _: None)
    answers = iter([httpx2.Response(503), httpx2.Response(200, json={"status": "queued"})])
    with TuningClient("http://x", None, httpx2.MockTransport(lambda _: next(answers))) as client:
        assert client.job("ftjob-1")["status"] == "queued"

    def gone(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("nobody listens")

    with (
        TuningClient("http://x", None, httpx2.MockTransport(gone)) as client,
        pytest.raises(RunFailedError, match="http://x must answer, but: nobody listens"),
    ):
        client.job("ftjob-1")


def test_a_service_that_is_lost_while_it_tunes_keeps_what_the_job_needs() -> None:
    asked: list[str] = []

    def gone(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        return httpx2.Response(500)

    with (
        TuningClient("http://x", None, httpx2.MockTransport(gone)) as client,
        pytest.raises(RunFailedError, match=r"The job goes on .* http://x/v1/.*/j1/artifact"),
        removed_after(client, ["file-1"]),
    ):
        client.follow("j1", print)
    assert asked == ["GET"]
