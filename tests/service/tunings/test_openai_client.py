"""The official client of OpenAI drives files, fine-tunings and what goes with them."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from starlette.testclient import TestClient

from craft_ray.classifiers.artifact import Artifact
from craft_ray.service.tunings.classify import pairs_asked
from craft_ray.service.tunings.runner import TuningRunner
from tests.classifiers.test_artifact import trained
from tests.support.images import encoded, noise
from tests.support.tuning_service import FakeService, fake_command, fake_service

IMAGES = [encoded(noise(8, 8, seed=number)) for number in range(6)]


def data_uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


LINES = "\n".join(
    json.dumps({"image": data_uri(image), "label": ("cat", "dog")[number % 2]})
    for number, image in enumerate(IMAGES)
).encode()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service", tuning={"file_mb": 1})
    yield service
    service.records.close()


@pytest.fixture
def client_of(service: FakeService) -> Iterator[Callable[[str], OpenAI]]:
    with TestClient(service.app(), base_url="http://service") as http:

        def client(key: str) -> OpenAI:
            return OpenAI(
                api_key=key,
                base_url="http://service/v1",
                http_client=http,
                max_retries=0,
            )

        yield client


@pytest.fixture
def anna(client_of: Callable[[str], OpenAI]) -> OpenAI:
    return client_of("anna")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    trained().save(tmp_path / "artifact")
    return tmp_path / "artifact"


def upload(client: OpenAI) -> str:
    return client.files.create(file=("pets.jsonl", LINES), purpose="fine-tune").id


def look_until(runner: TuningRunner, is_so: Callable[[], bool]) -> None:
    """The runner looks again and again."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        runner.look()
        time.sleep(0.02)


def test_files(anna: OpenAI, client_of: Callable[[str], OpenAI]) -> None:
    file = anna.files.create(file=("pets.jsonl", LINES), purpose="fine-tune")
    assert (file.filename, file.purpose, file.status) == ("pets.jsonl", "fine-tune", "processed")
    assert [each.id for each in anna.files.list()] == [file.id]
    assert list(anna.files.list(purpose="batch")) == []
    assert anna.files.retrieve(file.id) == file
    assert anna.files.content(file.id).read()[:4] == b"PAR1"
    second = upload(anna)
    assert [each.id for each in anna.files.list(limit=1)] == [second, file.id]
    bert = client_of("bert")
    assert list(bert.files.list()) == []
    for identity in (file.id, "file-nothing"):
        for ask in (bert.files.retrieve, bert.files.content, bert.files.delete):
            with pytest.raises(openai.NotFoundError):
                ask(identity)
    assert anna.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        anna.files.content(file.id)


def test_what_is_wrong_with_a_file_is_said_and_leaves_nothing(
    anna: OpenAI, service: FakeService
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        anna.files.create(file=("x.jsonl", b'{"image": 1, "label": "cat"}'), purpose="fine-tune")
    assert error.value.code == "invalid_file"
    assert error.value.param == "file"
    with pytest.raises(openai.BadRequestError, match="purpose must be fine-tune"):
        anna.files.create(file=("x.jsonl", LINES), purpose="batch")
    with pytest.raises(openai.APIStatusError, match="at most 1,100,000 bytes") as large:
        anna.files.create(file=("x.jsonl", b"x" * 1_200_000), purpose="fine-tune")
    assert large.value.status_code == 413
    assert [path for path in service.layout.folder.glob("files/**/*") if path.is_file()] == []


def test_keys(client_of: Callable[[str], OpenAI]) -> None:
    with pytest.raises(openai.AuthenticationError):
        client_of("nobody").files.list()
    with pytest.raises(openai.RateLimitError) as error:
        client_of("hasty").fine_tuning.jobs.list()
    assert error.value.response.headers["retry-after"] == "3"


def test_from_an_upload_to_labels(
    anna: OpenAI, client_of: Callable[[str], OpenAI], service: FakeService, artifact: Path
) -> None:
    file = upload(anna)
    job = anna.fine_tuning.jobs.create(
        model="embedded",
        training_file=file,
        seed=5,
        suffix="pets",
        metadata={"of": "anna"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}},
    )
    assert (job.status, job.seed, job.metadata) == ("validating_files", 5, {"of": "anna"})
    assert job.fine_tuned_model is None
    runner = service.runner(lambda job: fake_command(service, job, artifact))
    retrieve = anna.fine_tuning.jobs.retrieve
    look_until(runner, lambda: retrieve(job.id).status == "succeeded")
    done = retrieve(job.id)
    assert done.fine_tuned_model == f"ft:{job.id}"
    # 20 predictions, each about 2 classes and 500 names.
    assert done.trained_tokens == 20 * 502 == service.meter.balance("anna", 0.0).spent
    messages = [each.message for each in anna.fine_tuning.jobs.list_events(job.id, limit=3)]
    assert messages[0] == "The job has succeeded."
    assert messages[-1] == f"Created job {job.id}."
    assert "generation 1/2, not validated, 1 s, see ..." in messages
    assert not any("secret" in message for message in messages)
    (checkpoint,) = anna.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.metrics.full_valid_mean_token_accuracy == 0.9
    results = json.loads(anna.files.content(done.result_files[0]).read())
    assert results["tuned"]["validation"]["accuracy"] == 0.9
    assert "settings" not in results
    assert [each.id for each in anna.models.list()] == ["service", "embedded", f"ft:{job.id}"]
    assert anna.models.retrieve(f"ft:{job.id}").owned_by == "anna"

    labelled = anna.post(
        "/classify",
        cast_to=object,
        body={"model": f"ft:{job.id}", "images": [data_uri(image) for image in IMAGES]},
    )
    assert isinstance(labelled, dict)
    assert [each["index"] for each in labelled["data"]] == list(range(6))
    first = labelled["data"][0]
    assert first["probability"] == max(first["probabilities"].values())
    assert sum(first["probabilities"].values()) == pytest.approx(1.0)
    assert labelled["usage"]["pairs"] == pairs_asked(Artifact.load(artifact), 6)

    content = anna.get(
        f"/fine_tuning/jobs/{job.id}/artifact",
        cast_to=openai._legacy_response.HttpxBinaryResponseContent,
    )
    with zipfile.ZipFile(io.BytesIO(content.read())) as archive:
        archive.extractall(service.layout.folder / "unpacked")
    loaded = Artifact.load(service.layout.folder / "unpacked" / job.id)
    assert loaded.content_id == Artifact.load(artifact).content_id

    bert = client_of("bert")
    assert list(bert.fine_tuning.jobs.list()) == []
    assert [each.id for each in bert.models.list()] == ["service", "embedded"]
    asks: list[Callable[[str], Any]] = [
        bert.fine_tuning.jobs.retrieve,
        bert.fine_tuning.jobs.cancel,
        bert.fine_tuning.jobs.list_events,
        bert.fine_tuning.jobs.checkpoints.list,
        lambda identity: bert.models.retrieve(f"ft:{identity}"),
        lambda identity: bert.get(f"/fine_tuning/jobs/{identity}/artifact", cast_to=object),
        lambda identity: bert.post(
            "/classify",
            cast_to=object,
            body={"model": f"ft:{identity}", "images": [data_uri(IMAGES[0])]},
        ),
        lambda identity: bert.fine_tuning.jobs.create(model="service", training_file=file),
    ]
    for ask in asks:
        with pytest.raises(openai.NotFoundError):
            ask(job.id)


def test_classify_is_answered_once_for_a_key_of_a_repetition(
    anna: OpenAI, service: FakeService, artifact: Path
) -> None:
    job = anna.fine_tuning.jobs.create(model="service", training_file=upload(anna))
    runner = service.runner(lambda job: fake_command(service, job, artifact))
    retrieve = anna.fine_tuning.jobs.retrieve
    look_until(runner, lambda: retrieve(job.id).status == "succeeded")
    before = service.meter.balance("anna", 0.0).spent
    body = {"model": f"ft:{job.id}"}
    files = [("images", (f"{n}.png", image)) for n, image in enumerate(IMAGES[:2])]
    http, headers = anna._client, {"Authorization": "Bearer anna", "Idempotency-Key": "one"}
    answers = [
        http.post("http://service/v1/classify", data=body, files=files, headers=headers)
        for _ in range(2)
    ]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content
    spent = service.meter.balance("anna", 0.0).spent - before
    assert spent == answers[0].json()["usage"]["pairs"]
    others = [("images", ("0.png", IMAGES[3]))]
    other = http.post("http://service/v1/classify", data=body, files=others, headers=headers)
    assert other.status_code == 422
    with pytest.raises(openai.BadRequestError, match=r"images\[1\]: must be a readable image"):
        anna.post(
            "/classify",
            cast_to=object,
            body={**body, "images": [data_uri(IMAGES[0]), data_uri(b"none")]},
        )
    assert service.meter.balance("anna", 0.0).spent == before + spent


def test_own_methods_and_what_is_refused(anna: OpenAI, service: FakeService) -> None:
    file, create = upload(anna), anna.fine_tuning.jobs.create
    method = {"type": "probes", "settings": {"data.shots": 2, "head": {"names": 50}}}
    job = create(model="service", training_file=file, extra_body={"method": method})
    assert job.to_dict()["method"] == method
    with pytest.raises(openai.NotFoundError, match="model must be service or embedded"):
        create(model="gpt-4o-mini", training_file=file)
    with pytest.raises(openai.NotFoundError, match="training_file 'file-x' must exist"):
        create(model="service", training_file="file-x")
    with pytest.raises(openai.BadRequestError, match="suffix"):
        create(model="service", training_file=file, suffix="x" * 65)
    owners = {"method": {"type": "probes", "settings": {"output_dir": "/tmp"}}}
    with pytest.raises(openai.BadRequestError, match="may have") as error:
        create(model="service", training_file=file, extra_body=owners)
    assert error.value.param == "method"
    half = anna._client.post(
        "http://service/v1/fine_tuning/jobs",
        content=b'{"model": "service", "training_file": "x", "hyperparameters": {"a": "\\ud800"}}',
        headers={"Authorization": "Bearer anna"},
    )
    assert half.status_code == 400
    mice = LINES.replace(b"dog", b"mouse")
    other = anna.files.create(file=("mice.jsonl", mice), purpose="fine-tune").id
    with pytest.raises(openai.BadRequestError, match="'mouse' is not one of them"):
        create(model="service", training_file=file, validation_file=other)
    assert [each.id for each in anna.fine_tuning.jobs.list()] == [job.id]
    with pytest.raises(openai.ConflictError, match="must have succeeded"):
        anna.models.retrieve(f"ft:{job.id}")
    assert anna.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    for _ in range(3):
        create(model="service", training_file=file)
    assert len(list(anna.fine_tuning.jobs.list(limit=2))) == 4


def test_a_job_that_the_quota_cannot_pay_for_fails_before_it_starts(
    anna: OpenAI, service: FakeService
) -> None:
    service.meter.quotas["anna"] = 1000
    job = anna.fine_tuning.jobs.create(model="service", training_file=upload(anna))
    service.runner(lambda job: ["false"]).look()
    failed = anna.fine_tuning.jobs.retrieve(job.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "quota_exhausted"
    assert "quota must have" in failed.error.message
    assert service.meter.balance("anna", 0.0).spent == 0
