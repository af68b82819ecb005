"""Requests are counted by key and route, those of fine-tunings as well."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from craft_ray.service.http.metrics import Metrics
from craft_ray.service.tunings.routes import tuning_routes
from tests.support.tuning_service import fake_service


def test_requests_of_tunings_are_counted_with_the_status_that_is_sent(tmp_path: Path) -> None:
    service, metrics = fake_service(tmp_path), Metrics(lambda: 0)
    app = FastAPI()
    app.include_router(tuning_routes(service, metrics.answered))
    with TestClient(app) as client:
        headers = {"Authorization": "Bearer anna"}
        assert client.get("/v1/files", headers=headers).status_code == 200
        assert client.get("/v1/files/none", headers=headers).status_code == 404
        assert client.get("/v1/fine_tuning/jobs", params={"limit": 0}).status_code == 400
    service.records.close()
    told = metrics.text().decode()
    for route, status in (
        ("/v1/files", 200),
        ("/v1/files/{file_id}", 404),
        ("/v1/fine_tuning/jobs", 400),
    ):
        words = f'craft_ray_requests_total{{key="-",route="{route}",status="{status}"}} 1.0'
        assert words in told
