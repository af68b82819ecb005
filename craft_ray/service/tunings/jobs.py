"""Requests and objects of the API, in the shape of OpenAI's files and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from craft_ray.service.tunings.rows import EventRecord, FileRecord, JobRecord, Level, Status

TUNED = "ft:"
"""Before the id of a job: the classifier that came of it."""
PURPOSE = "fine-tune"
RESULT_PURPOSE = "fine-tune-results"


class JobRequest(BaseModel):
    """Body of `POST /v1/fine_tuning/jobs`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    training_file: str = Field(min_length=1, max_length=100)
    validation_file: str | None = Field(None, max_length=100)
    method: dict[str, Any] | None = None
    hyperparameters: dict[str, Any] | None = None
    """OpenAI's older place of them."""
    seed: int | None = Field(None, ge=0, lt=2**32)
    suffix: str | None = Field(None, min_length=1, max_length=64)
    metadata: (
        Annotated[
            dict[
                Annotated[str, Field(max_length=64)],
                Annotated[str, Field(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    """There are none."""


class FileObject(BaseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    num_images: int | None = None
    """Beside OpenAI's fields: what was read from it."""
    num_classes: int | None = None


class FileDeleted(BaseModel):
    """What is left of a file."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class JobError(BaseModel):
    """Why a job has failed."""

    code: str
    message: str
    param: str | None = None


class JobObject(BaseModel):
    """A fine-tuning."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    status: Status
    model: str
    fine_tuned_model: str | None
    training_file: str
    validation_file: str | None
    method: dict[str, Any]
    hyperparameters: dict[str, Any]
    seed: int
    trained_tokens: int | None
    """Pairs that were charged: each an image compared with a prompt."""
    estimated_finish: int | None = None
    error: JobError | None
    result_files: list[str]
    organization_id: str
    """The id of the key."""
    integrations: list[Any] = Field(default_factory=list)
    metadata: dict[str, str] | None
    user_provided_suffix: str | None
    result: dict[str, Any] | None
    """Beside OpenAI's fields: accuracies and what they are worth."""


class EventObject(BaseModel):
    """What happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Level
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None


class CheckpointMetrics(BaseModel):
    """Of a state of a job; OpenAI's names, where accuracies are of images."""

    step: int
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class CheckpointObject(BaseModel):
    """The state of a job that is kept: the one that was chosen."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class ModelObject(BaseModel):
    """The model of the service, or a classifier of the key."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


def page_of(found: Sequence[BaseModel], limit: int) -> dict[str, Any]:
    """A page of what was looked for with one more than the limit, as JSON holds it."""
    shown = [each.model_dump(mode="json") for each in found[:limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(found) > limit,
    }


def file_object(file: FileRecord) -> FileObject:
    """As the API shows it."""
    counts = file.facts.get("images_per_class")
    return FileObject(
        id=file.id,
        bytes=file.num_bytes,
        created_at=int(file.created_at),
        filename=file.filename,
        purpose=file.purpose,
        num_images=None if counts is None else sum(counts),
        num_classes=None if counts is None else len(counts),
    )


def job_object(job: JobRecord) -> JobObject:
    """As the API shows it."""
    request, result = job.request, job.result or {}
    has_succeeded = job.status == "succeeded"
    has_ended = job.finished_at is not None
    return JobObject(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=None if job.finished_at is None else int(job.finished_at),
        status=job.status,
        model=request["model"],
        fine_tuned_model=TUNED + job.id if has_succeeded else None,
        training_file=request["training_file"],
        validation_file=request.get("validation_file"),
        method=request.get("method") or {"type": "probes"},
        hyperparameters=request.get("hyperparameters") or {},
        seed=request["seed"],
        trained_tokens=job.pairs if has_ended and job.pairs is not None else None,
        error=None if job.error is None else JobError(**job.error),
        result_files=[result["file"]] if "file" in result else [],
        organization_id=job.key_id,
        metadata=request.get("metadata"),
        user_provided_suffix=request.get("suffix"),
        result={key: value for key, value in result.items() if key != "file"} or None,
    )


def event_object(event: EventRecord) -> EventObject:
    """As the API shows it."""
    return EventObject(
        id=event.id,
        created_at=int(event.created_at),
        level=event.level,
        message=event.message,
        type="message" if event.data is None else "metrics",
        data=event.data,
    )


def checkpoint_objects(job: JobRecord) -> list[CheckpointObject]:
    """Of a job that has succeeded its only one; of others none."""
    if job.status != "succeeded" or job.result is None or job.finished_at is None:
        return []
    validation: Mapping[str, Any] = job.result.get("validation") or {}
    step = int(job.result.get("candidate_queries", 0))
    metrics = CheckpointMetrics(
        step=step,
        full_valid_loss=validation.get("loss"),
        full_valid_mean_token_accuracy=validation.get("accuracy"),
    )
    return [
        CheckpointObject(
            id=job.id.replace("ftjob-", "ftckpt-"),
            created_at=int(job.finished_at),
            fine_tuned_model_checkpoint=TUNED + job.id,
            fine_tuning_job_id=job.id,
            step_number=step,
            metrics=metrics,
        )
    ]
