"""Requests about classifiers and jobs that go wrong half-way, or that nobody sends by accident."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from craft_ray.errors import RunFailedError
from craft_ray.service.meter.terms import Balance
from craft_ray.service.tunings.rows import new_id
from tests.classifiers.test_artifact import trained
from tests.service.tunings.test_openai_client import IMAGES, LINES
from tests.support.tuning_service import FakeMeter, FakeService, fake_service, summary

HEADERS = {"Authorization": "Bearer anna"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service")
    yield service
    service.records.close()


@pytest.fixture
def http(service: FakeService) -> Iterator[TestClient]:
    app = service.app()
    with TestClient(app, base_url="http://service/v1", headers=HEADERS) as client:
        yield client


def tuned(service: FakeService) -> str:
    """The name of a classifier."""
    job_id = new_id("ftjob")
    trained().save(service.layout.run("anna", job_id) / "best")
    service.records.add_job(
        "anna", job_id, {"model": "x", "training_file": "x", "seed": 1}, {}, time.time()
    )
    result = {**summary()["tuned"], "file": "x"}
    service.records.change_job(
        "anna", job_id, "validating_files", status="succeeded", finished_at=1.0, result=result
    )
    return f"ft:{job_id}"


def classify(http: TestClient, model: str, **headers: str) -> Any:
    files = [("images", (f"{n}.png", image)) for n, image in enumerate(IMAGES[:2])]
    return http.post("/classify", data={"model": model}, files=files, headers=headers)


class NoSettling(FakeMeter):
    """Until it may."""

    may = False

    def settle(self, *arguments: Any) -> Balance:
        if not self.may:
            raise RunFailedError("the meter must answer within 30 s")
        return super().settle(*arguments)


def test_labels_that_cannot_be_charged_can_be_asked_for_again(
    service: FakeService, http: TestClient
) -> None:
    service.meter = meter = NoSettling()
    model = tuned(service)
    assert classify(http, model, **{"Idempotency-Key": "one"}).status_code == 503
    assert meter.balance("anna", 0.0).spent == 0
    meter.may = True
    answer = classify(http, model, **{"Idempotency-Key": "one"})
    assert answer.status_code == 200
    assert "Idempotency-Replayed" not in answer.headers
    again = classify(http, model, **{"Idempotency-Key": "one"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == answer.content
    assert meter.balance("anna", 0.0).spent == answer.json()["usage"]["pairs"]
    for file in (service.layout.folder / "answers").glob("*/*"):
        file.unlink()
    gone = classify(http, model, **{"Idempotency-Key": "one"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "answer_gone")


def test_numbers_that_json_cannot_tell_are_not_kept(service: FakeService, http: TestClient) -> None:
    file = http.post(
        "/files", data={"purpose": "fine-tune"}, files={"file": ("x.jsonl", LINES)}
    ).json()["id"]
    for value in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = f'{{"model": "service", "training_file": "{file}", "hyperparameters": {{"a": %s}}}}'
        answer = http.post("/fine_tuning/jobs", content=body % value)
        assert answer.status_code == 400, value
        assert answer.json()["error"]["message"].startswith("the body must be JSON")
    assert http.get("/fine_tuning/jobs").json()["data"] == []


@pytest.mark.parametrize("where", ["method", "hyperparameters", "metadata"])
def test_objects_in_objects_without_end(http: TestClient, where: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"a": deep}
    answer = http.post(
        "/fine_tuning/jobs", json={"model": "service", "training_file": "x", where: deep}
    )
    assert answer.status_code == 400
    assert "at most 20 levels" in answer.json()["error"]["message"]


def test_many_words_without_effect_are_no_events(service: FakeService, http: TestClient) -> None:
    file = http.post(
        "/files", data={"purpose": "fine-tune"}, files={"file": ("x.jsonl", LINES)}
    ).json()["id"]
    words = {f"a{number}": 1 for number in range(10_000)}
    answer = http.post(
        "/fine_tuning/jobs",
        json={"model": "service", "training_file": file, "hyperparameters": words},
    )
    assert answer.status_code == 400
    assert service.records.num_unfinished("anna") == 0


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..", ".", "x" * 5000, "\\ud800", "a\x00b"],
)
def test_names_of_files_are_words_and_no_places(
    service: FakeService, http: TestClient, name: str
) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode() + b'"'
        b"\r\n\r\n" + LINES + b"\r\n--x--\r\n"
    )
    kind = "multipart/form-data; boundary=x; charset=unicode_escape"
    answer = http.post("/files", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (200, 400), answer.text
    kept = [path for path in service.layout.folder.rglob("*") if path.suffix == ".parquet"]
    if answer.status_code == 200:
        assert [path.stem for path in kept] == [answer.json()["id"]]
        assert json.loads(http.get("/files").content)["data"][0]["id"] == answer.json()["id"]
    assert not [path for path in service.layout.folder.glob("files/*/.*")]


@pytest.mark.parametrize("how", [str.upper, str.lower])
def test_a_form_with_half_a_character_for_a_model(
    http: TestClient, how: Callable[[str], str]
) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nft:\\ud800\r\n'
        b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nx\r\n--x--\r\n'
    )
    kind = f"multipart/form-data; boundary=x; charset={how('unicode_escape')}"
    answer = http.post("/classify", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 404)
