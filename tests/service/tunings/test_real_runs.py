"""Real fine-tunings on Ray, which ask the pool of the service, from an upload to labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from openai import OpenAI
from starlette.testclient import TestClient

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
from craft_ray.metering.journal import spent_on_record
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.lifecycle import ClipFactory, starting_pool
from craft_ray.pool.membership import decide_size
from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import LOCAL_KEY
from craft_ray.service.tunings.actor import start_records, stop_records
from craft_ray.service.tunings.runner import TuningRunner
from craft_ray.zoo import EMBEDDED_DATASET
from tests.support.small_data import small_data
from tests.support.tuning_service import FakeService, fake_service

POOL = PoolConfig(replicas=2, threads_per_replica=1)
NAME = "tunings-under-test"


@pytest.fixture
def service(on_shared_ray: str, tmp_path: Path) -> Iterator[FakeService]:
    """Whose pool, records and meter are real."""
    with ExitStack() as stack:
        service = fake_service(tmp_path / "service")
        service.records.close()
        stack.enter_context(ray_session(RayConfig()))
        size = decide_size(POOL, cluster_nodes())
        made = ClipFactory(OracleConfig(), size.device, size.threads_per_replica)
        pool = stack.enter_context(starting_pool(NAME, made, POOL, size, offered=True))
        records = start_records(f"{NAME}/tunings", service.layout.database)
        stack.callback(stop_records, f"{NAME}/tunings")
        pool.keeper.wait_until_ready()
        meter = Meter(tmp_path / "keys.db", time.time(), needs_keys=False)
        stack.callback(meter.close)
        service.records, service.meter, service.keys = records, meter, (LOCAL_KEY,)
        service.model = PoolOracle(pool.address, POOL)
        yield service


@pytest.fixture
def runner(service: FakeService, on_shared_ray: str) -> Iterator[TuningRunner]:
    place = service.workplace(attach=NAME, address=on_shared_ray)
    runner = TuningRunner(service.records, service.meter, place, at_a_time=1)
    yield runner
    runner.stop()


@pytest.fixture
def client(service: FakeService) -> Iterator[OpenAI]:
    with TestClient(service.app(), base_url="http://service") as http:
        yield OpenAI(
            api_key=LOCAL_KEY, base_url="http://service/v1", http_client=http, max_retries=0
        )


def upload(client: OpenAI, split: str) -> str:
    folder = Path(small_data().split("root: ")[1].rstrip("}"))
    file = client.files.create(file=folder / f"{split}.parquet", purpose="fine-tune")
    return file.id


def wait_for_success(client: OpenAI, job_id: str) -> None:
    wait_until(
        lambda: client.fine_tuning.jobs.retrieve(job_id).status == "succeeded", client, job_id
    )


def wait_until(is_so: Callable[[], bool], client: OpenAI, job_id: str) -> None:
    deadline = time.monotonic() + 240
    while not is_so():
        job = client.fine_tuning.jobs.retrieve(job_id)
        assert job.status != "failed", job.error
        assert time.monotonic() < deadline, list(client.fine_tuning.jobs.list_events(job_id))
        time.sleep(0.2)


@pytest.mark.slow
def test_from_an_upload_to_labels_on_the_pool_of_the_service(
    service: FakeService, runner: TuningRunner, client: OpenAI
) -> None:
    training, validation = upload(client, "train"), upload(client, "val")
    jobs = client.fine_tuning.jobs
    settings = {"data.views": 1, "head.names": 40}
    probes = jobs.create(
        model="service",
        training_file=training,
        seed=1,
        extra_body={"method": {"type": "probes", "settings": settings}},
    )
    search = jobs.create(
        model="service",
        training_file=training,
        validation_file=validation,
        seed=2,
        extra_body={
            "method": {"type": "search", "trials": 1, "settings": {"data.views": 0}},
        },
    )
    runner.start()
    for job in (probes, search):
        wait_for_success(client, job.id)
    meter = service.meter
    charged = [jobs.retrieve(job.id).trained_tokens or 0 for job in (probes, search)]
    assert meter.balance(LOCAL_KEY, time.time()).spent == sum(charged)
    run = service.layout.run(LOCAL_KEY, probes.id)
    asked = spent_on_record(run) + spent_on_record(run / "worker")
    assert charged[0] == asked.image_predictions * 50  # ten classes and forty names
    messages = [event.message for event in jobs.list_events(search.id, limit=100)]
    assert any(message.startswith("trial 1: ") for message in messages)
    folder = str(service.layout.folder)
    assert not any(folder in message for message in messages)
    artifact = Artifact.load(run / "best")
    assert artifact.oracle_id == service.model.describe().oracle_id

    table = pq.read_table(EMBEDDED_DATASET / "test.parquet").slice(0, 20).to_pylist()
    files = [("images", ("x.png", row["image"]["bytes"])) for row in table]
    answer = client._client.post(
        "http://service/v1/classify",
        data={"model": f"ft:{probes.id}"},
        files=files,
        headers={"Authorization": f"Bearer {LOCAL_KEY}"},
    )
    assert answer.status_code == 200, answer.text
    names = artifact.task.class_names
    right = [
        found["label"] == names[row["label"]]
        for found, row in zip(answer.json()["data"], table, strict=True)
    ]
    assert sum(right) >= 12
    assert answer.json()["usage"]["pairs"] == 20 * 50


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_after_a_restart_and_is_charged_once(
    service: FakeService, runner: TuningRunner, client: OpenAI, on_shared_ray: str
) -> None:
    training, validation = upload(client, "train"), upload(client, "val")
    job = client.fine_tuning.jobs.create(
        model="service",
        training_file=training,
        validation_file=validation,
        seed=1,
        extra_body={
            "method": {"type": "craft", "budget": 200, "settings": {"data.views": 1}},
        },
    )
    runner.start()

    def messages() -> list[str]:
        return [each.message for each in client.fine_tuning.jobs.list_events(job.id, limit=100)]

    wait_until(lambda: any("generation" in each for each in messages()), client, job.id)
    runner.stop()
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    place = service.workplace(attach=NAME, address=on_shared_ray)
    again = TuningRunner(service.records, service.meter, place, at_a_time=1)
    again.start()
    try:
        wait_for_success(client, job.id)
    finally:
        again.stop()
    run = service.layout.run(LOCAL_KEY, job.id)
    asked = spent_on_record(run) + spent_on_record(run / "worker")
    assert asked.candidate_queries == 200
    charged = client.fine_tuning.jobs.retrieve(job.id).trained_tokens
    assert charged == asked.image_predictions * 10
    assert service.meter.balance(LOCAL_KEY, time.time()).spent == charged
