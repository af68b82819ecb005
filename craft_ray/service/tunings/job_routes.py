"""`/v1/fine_tuning/jobs`."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from craft_ray.service.meter.terms import Caller
from craft_ray.service.tunings.api_error import ApiError, bad_request, not_found
from craft_ray.service.tunings.body import read_json
from craft_ray.service.tunings.desk import Desk
from craft_ray.service.tunings.handing_out import zipped
from craft_ray.service.tunings.jobs import (
    PURPOSE,
    JobObject,
    JobRequest,
    checkpoint_objects,
    event_object,
    job_object,
    page_of,
)
from craft_ray.service.tunings.methods import Method, check_model, plan_of, read_method
from craft_ray.service.tunings.rows import FileRecord, JobRecord, new_id
from craft_ray.service.tunings.upload import Facts

MOST_JOB_BYTES = 1_000_000
MOST_UNFINISHED = 100
"""Jobs of a key that wait or run."""
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": JobRequest.model_json_schema()}},
    }
}
Limit = Annotated[int, Query(ge=1, le=1_000)]


def add_job_routes(router: APIRouter, desk: Desk) -> None:
    """Create, list, retrieve, cancel; events, checkpoints and the classifier that came of it."""
    path = "/v1/fine_tuning/jobs"

    @router.post(path, openapi_extra=BODY)
    async def create_job(request: Request) -> JobObject:
        caller = await run_in_threadpool(desk.authenticate, request)
        document = await read_json(request, MOST_JOB_BYTES)
        return await run_in_threadpool(_create, desk, caller, document)

    @router.get(path)
    def list_jobs(request: Request, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
        caller = desk.authenticate(request)
        found = desk.records.jobs(caller.key_id, after, limit + 1)
        if found is None:
            raise not_found("after: job", str(after))
        return page_of([job_object(each) for each in found], limit)

    @router.get(path + "/{job_id}")
    def retrieve_job(request: Request, job_id: str) -> JobObject:
        return job_object(find_job(desk, desk.authenticate(request), job_id))

    @router.post(path + "/{job_id}/cancel")
    def cancel_job(request: Request, job_id: str) -> JobObject:
        caller = desk.authenticate(request)
        before, now = find_job(desk, caller, job_id), time.time()
        job = desk.records.cancel(caller.key_id, job_id, now)
        if job is None:
            raise not_found("job", job_id)
        if job.is_cancelled and not before.is_cancelled:
            words = "The job was cancelled." if job.finished_at else "The job is being cancelled."
            desk.records.add_event(caller.key_id, job_id, "info", words, None, now)
        return job_object(job)

    @router.get(path + "/{job_id}/events")
    def list_events(
        request: Request, job_id: str, after: str | None = None, limit: Limit = 20
    ) -> dict[str, Any]:
        caller = desk.authenticate(request)
        find_job(desk, caller, job_id)
        found = desk.records.events(caller.key_id, job_id, after, limit + 1)
        if found is None:
            raise not_found("after: event", str(after))
        return page_of([event_object(each) for each in found], limit)

    @router.get(path + "/{job_id}/checkpoints")
    def list_checkpoints(
        request: Request, job_id: str, after: str | None = None, limit: Limit = 10
    ) -> dict[str, Any]:
        found = checkpoint_objects(find_job(desk, desk.authenticate(request), job_id))
        if after is not None:  # there is one, and nothing after it
            if after not in [each.id for each in found]:
                raise not_found("after: checkpoint", after)
            found = []
        return page_of(found, limit)

    @router.get(
        path + "/{job_id}/artifact",
        response_class=Response,
        responses={200: {"content": {"application/zip": {}}}},
    )
    def artifact(request: Request, job_id: str) -> Response:
        caller = desk.authenticate(request)
        job = succeeded_job(desk, caller, job_id)
        run = desk.layout.run(caller.key_id, job.id)
        content = zipped(desk.classifiers.of_run(run), job.id)
        headers = {"Content-Disposition": f'attachment; filename="{job.id}.zip"'}
        return Response(content, media_type="application/zip", headers=headers)


def find_job(desk: Desk, caller: Caller, job_id: str) -> JobRecord:
    """The caller's job.

    Raises:
        ApiError: there is none.
    """
    job = desk.records.job(caller.key_id, job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


def succeeded_job(desk: Desk, caller: Caller, job_id: str) -> JobRecord:
    """The caller's job, which has a classifier.

    Raises:
        ApiError: there is none, or it has no classifier.
    """
    job = find_job(desk, caller, job_id)
    if job.status != "succeeded":
        raise ApiError(
            409,
            f"job {job.id} must have succeeded, but is {job.status}",
            "job_has_no_model",
            "model",
        )
    return job


def _create(desk: Desk, caller: Caller, document: dict[str, Any]) -> JobObject:
    try:
        asked = JobRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise bad_request(f"{where}: {first['msg']}", where) from error
    check_model(asked.model, desk.models)
    training = _facts_of(desk, caller, asked.training_file, "training_file")
    if asked.validation_file is not None:
        validation = _facts_of(desk, caller, asked.validation_file, "validation_file")
        if strangers := sorted(set(validation.class_names) - set(training.class_names)):
            raise bad_request(
                "validation_file: its classes must be those of training_file, but "
                f"{strangers[0]!r} is not one of them",
                "validation_file",
            )
    method = read_method(asked.method, asked.hyperparameters)
    seed = asked.seed if asked.seed is not None else _seed_of(method)
    has_validation = asked.validation_file is not None
    plan = plan_of(method, seed, training, has_validation, desk.config.tuning.most_queries)
    records, now = desk.records, time.time()
    if records.num_unfinished(caller.key_id) >= MOST_UNFINISHED:
        raise ApiError(
            429,
            f"a key must have at most {MOST_UNFINISHED} jobs that wait or run, and has as many",
            "too_many_jobs",
            retry_after_s=60.0,
        )
    job_id = new_id("ftjob")
    request = {**asked.model_dump(mode="json"), "seed": seed}
    job = records.add_job(caller.key_id, job_id, request, plan.as_dict(), now)
    records.add_event(caller.key_id, job_id, "info", f"Created job {job_id}.", None, now)
    for note in plan.notes:
        records.add_event(caller.key_id, job_id, "warn", note, None, now)
    return job_object(job)


def _seed_of(method: Method) -> int:
    """The one among its settings, or a new one."""
    seed = method.settings.get("seed")
    return seed if isinstance(seed, int) else secrets.randbelow(2**31)


def _facts_of(desk: Desk, caller: Caller, file_id: str, param: str) -> Facts:
    file: FileRecord | None = desk.records.file(caller.key_id, file_id)
    if file is None:
        raise ApiError(
            404, f"{param} {file_id[:80]!r} must exist, but does not", "not_found", param
        )
    if file.purpose != PURPOSE:
        raise bad_request(f"{param} must have purpose {PURPOSE}, but has {file.purpose}", param)
    facts = Facts.from_dict(file.facts)
    allowed = desk.config.gives.labels
    if allowed is not None and (strangers := sorted(set(facts.class_names) - set(allowed))):
        raise bad_request(
            f"{param}: its classes must be among those of the service, but {strangers[0]!r} is not",
            param,
        )
    return facts
