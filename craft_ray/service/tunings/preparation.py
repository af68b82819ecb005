"""From a job to what can be started: its files, its settings, and what it may cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from craft_ray.config.documents import to_yaml
from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.secrets import reveal
from craft_ray.config.sections import MlflowConfig, RayConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import UserError
from craft_ray.files.folders import remove_folder
from craft_ray.files.whole_files import write_text
from craft_ray.jobs.run_folder import SETTINGS_FILE as SETTINGS_OF_RUN
from craft_ray.jobs.run_lock import RunTakenError, check_is_free
from craft_ray.search.comparable import check_comparable
from craft_ray.service.tunings.api_error import ApiError, bad_request
from craft_ray.service.tunings.layout import TRAINING, VALIDATION, Layout, link_or_copy
from craft_ray.service.tunings.methods import Plan
from craft_ray.service.tunings.pairs import planned_pairs, texts_asked
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.rows import FileRecord, JobRecord
from craft_ray.service.tunings.upload import renumbered
from craft_ray.task.few_shot_data import sample_data

SETTINGS_FILE = "settings.yaml"


@dataclass(frozen=True)
class Workplace:
    """Where jobs run and which model they ask: the owner's part of their settings.

    Attributes:
        attach: name of the pool that is up; None: each job starts one of its own.
        address: of the cluster.
    """

    layout: Layout
    oracle: OracleConfig
    pool: PoolConfig
    mlflow: MlflowConfig
    ray: RayConfig
    attach: str | None
    address: str | None

    def settings_of(self, job: JobRecord) -> list[str]:
        """Words after those of the user, who can name none of these."""
        layout, key_id = self.layout, job.key_id
        # Of a Ray that is up nothing can be chosen.
        own_ray = {"num_cpus", "object_store_mb", "dashboard"}
        values: dict[str, Any] = {
            "name": job.id,
            "output_dir": str(layout.runs(key_id)),
            "data.source": {"kind": "parquet", "root": str(layout.data(key_id, job.id))},
            "oracle": self.oracle.model_dump(mode="json"),
            "pool": {**self.pool.model_dump(mode="json"), "attach": self.attach},
            "mlflow": self.mlflow.model_dump(mode="json"),
            "ray": {
                **self.ray.model_dump(mode="json", exclude=own_ray),
                "address": self.address,
            },
        }
        return [f"{key}={json.dumps(value)}" for key, value in values.items()]

    def command_of(self, job: JobRecord, python: str) -> Sequence[str]:
        """That starts the job, or goes on with it."""
        layout, plan = self.layout, Plan.from_dict(job.plan)
        file = layout.work(job.key_id, job.id) / SETTINGS_FILE
        words = [python, "-m", f"craft_ray.{plan.command}", str(file), "--json"]
        if self.address is not None:  # a cluster that was started anew has another one
            words.append(f"ray.address={self.address}")
        begun = (layout.run(job.key_id, job.id) / SETTINGS_OF_RUN).is_file()
        return [*words, "--resume"] if begun else words


@dataclass(frozen=True)
class Prepared:
    """What a job needs."""

    pairs: int
    """At most."""
    texts: int
    """That an image is compared with, at most."""
    description: str
    """In words."""


def prepare_job(job: JobRecord, records: TuningRecords, place: Workplace) -> Prepared:
    """Put the files of a job beside each other, write its settings, and count what it may cost.

    Raises:
        ApiError: a file is gone, or the files and the settings do not fit together.
    """
    layout = place.layout
    training = _file(records, job, "training_file")
    folder = layout.data(job.key_id, job.id)
    folder.mkdir(parents=True, exist_ok=True)
    link_or_copy(layout.file(training), folder / TRAINING)
    if job.request.get("validation_file") is not None:
        validation = _file(records, job, "validation_file")
        names = training.facts["class_names"]
        if validation.facts["class_names"] == names:
            link_or_copy(layout.file(validation), folder / VALIDATION)
        else:
            with _users_mistakes(job, layout, "validation_file"):
                renumbered(layout.file(validation), folder / VALIDATION, names)
    with _users_mistakes(job, layout, "method"):
        config = Plan.from_dict(job.plan).load(place.settings_of(job))
    run = config.base if isinstance(config, SpaceConfig) else config
    with _users_mistakes(job, layout, "training_file"):
        data = sample_data(run)
        if isinstance(config, SpaceConfig):
            check_comparable(config, data)
    file = layout.work(job.key_id, job.id) / SETTINGS_FILE
    document = config.model_dump(mode="json")
    of_run = document["base"] if isinstance(config, SpaceConfig) else document
    if place.mlflow.tracking_uri is not None:  # models know addresses without their passwords
        of_run["mlflow"]["tracking_uri"] = reveal(place.mlflow.tracking_uri)
    file.touch(mode=0o600)
    write_text(file, to_yaml(document))
    file.chmod(0o600)
    pairs = planned_pairs(config, data.size)
    size = data.size
    description = (
        f"Files are valid: {size.num_train:,} training and {size.num_validation:,} validation "
        f"images of {size.num_classes:,} classes; at most {pairs:,} pairs of an image and a prompt."
    )
    return Prepared(pairs, texts_asked(config, size), description)


def _file(records: TuningRecords, job: JobRecord, param: str) -> FileRecord:
    file = records.file(job.key_id, job.request[param])
    if file is None:
        raise bad_request(f"{param} must exist, but was removed", param, "file_not_found")
    return file


def is_free(run: Path) -> bool:
    """Whether no process works in the folder of a run. One that was made and left before anything
    was asked is removed."""
    if not run.exists():
        return True
    try:
        check_is_free(run)
    except RunTakenError:
        return False
    if not (run / SETTINGS_OF_RUN).is_file():
        remove_folder(run)
    return True


@contextmanager
def _users_mistakes(job: JobRecord, layout: Layout, param: str) -> Iterator[None]:
    """Around what refuses a user's values."""
    try:
        yield
    except UserError as error:
        words = layout.in_users_words(str(error), job.key_id, job.id)
        raise ApiError(400, words, "invalid_value", param) from error
