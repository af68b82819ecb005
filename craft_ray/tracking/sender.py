"""Entries of a spool, told to MLflow. Every kind may be sent twice and arrives once.

What makes it so, measured on a real server: metrics of the same key, step, timestamp and value are
one row however often they are sent, and the timestamp was fixed when they were logged; parameters
may be repeated with the same value; a run is looked for by its key before it is made; artefacts
have a path; an end has its time.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from craft_ray.config.secrets import conceal, is_masked, reveal
from craft_ray.errors import TrackingError
from craft_ray.files.turns import my_turn
from craft_ray.tracking.base import DataInput, LoggedModel, RefusedError, first_line, is_remote
from craft_ray.tracking.models import log_model
from craft_ray.tracking.moved import ARTIFACTS_FOLDER, follow
from craft_ray.tracking.places import DATABASE_FILE, database_uri
from craft_ray.tracking.spool import Entry, Spool

KEY_TAG = "craft_ray.key"
# Opens the UI on its pages for model training; the default are those for language-model traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
MAX_PARAMS_PER_BATCH = 100
SETUP_FILE = ".mlflow-setup"
SETUP_WITHIN_S = 300.0
"""Of another driver; MLflow takes about ten seconds to make its tables, on a slow disk a minute."""
DIGEST_LENGTH = 8
"""As MLflow's own: its lists show it beside the name."""
PAGE_OF = re.compile(r"\{run:([^}]*)\}")
"""In a tag's text: the key of a run whose page is meant."""
# The same entry would be refused tomorrow. Everything else, a refused password too, may be mended.
REFUSALS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
logger = logging.getLogger(__name__)


class DeletedExperimentError(Exception):
    """Somebody has deleted the experiment in MLflow. It takes nothing until it is restored."""


class MlflowSender:
    """A connection to one tracking address.

    Args:
        uri: tracking address, as it is or masked.
        output_dir: where artefacts go when the store is a local database.
    """

    def __init__(self, uri: str, output_dir: Path) -> None:
        # The defaults retry for four minutes; what is spooled here can wait, a user cannot.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        # MLflow prints the address of a run that ends, with the password that is in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self.address = conceal(uri)
        """Masked."""
        self._uri = reveal(uri)
        self._output_dir = output_dir.resolve()
        self._client: MlflowClient | None = None
        self._experiment_ids: dict[str, str] = {}
        self._run_ids: dict[tuple[str, str], str] = {}

    def connect(self, experiment: str) -> None:
        """Find or make the experiment.

        Raises:
            TrackingError: the address does not answer, or the experiment was deleted.
        """
        if is_masked(self._uri):
            raise TrackingError(
                f"mlflow.tracking_uri: {self.address} must be given with what *** stands for, or "
                "without it and with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        try:
            with self._set_up_alone():
                if self._uri == database_uri(self._output_dir / DATABASE_FILE):
                    follow(self._output_dir / DATABASE_FILE)
                self._experiment_id(experiment)
        except DeletedExperimentError as error:
            problem = f"{error}; or choose another name: mlflow.experiment=NAME"
            raise TrackingError(f"mlflow.experiment: {problem}") from None
        except (MlflowException, OSError, ValueError, sqlite3.Error) as error:
            problem = f"{self.address} must answer, but: {first_line(error)}"
            # The cause has the address as it is: a traceback would show the password.
            raise TrackingError(f"mlflow.tracking_uri: {problem}") from None

    @contextmanager
    def _set_up_alone(self) -> Iterator[None]:
        """Two that make the tables of one database at once break each other; a server makes its
        own."""
        if is_remote(self._uri):
            yield
            return
        self._output_dir.mkdir(parents=True, exist_ok=True)
        with my_turn(self._output_dir / SETUP_FILE, SETUP_WITHIN_S, logger.warning):
            yield

    def forget(self) -> None:
        """After a failure: the server that comes back may be another one."""
        self._experiment_ids.clear()
        self._run_ids.clear()

    def send(self, entry: Entry, spool: Spool) -> None:
        """Tell MLflow.

        Raises:
            RefusedError: it will never be taken.
            DeletedExperimentError: it will be taken when the experiment is restored.
            Exception: whatever a tracking backend raises when it is away.
        """
        try:
            self._send(entry, spool)
        except RefusedError:
            self._check_not_deleted(spool.experiment)
            raise

    def _send(self, entry: Entry, spool: Spool) -> None:
        try:
            if entry.kind == "open":
                self._open(spool.experiment, entry.body)
                return
            run_id = self._run_id(spool.experiment, entry.body["key"])
            if run_id is None:
                raise RefusedError(f"there is no run with {KEY_TAG} {entry.body['key']}")
            if entry.kind == "log":
                metrics = [Metric(*metric) for metric in entry.body["metrics"]]
                self._api().log_batch(run_id, metrics=metrics)
            elif entry.kind == "folder":
                with unpacked(entry, spool) as folder:
                    self._api().log_artifacts(run_id, str(folder), entry.body["place"] or None)
            elif entry.kind == "tags":
                self._tag(run_id, spool.experiment, entry.body["tags"])
            elif entry.kind == "inputs":
                inputs = [as_mlflow(DataInput(**each)) for each in entry.body["inputs"]]
                self._api().log_inputs(run_id, inputs)
            elif entry.kind == "model":
                model = LoggedModel(**entry.body["model"])
                with unpacked(entry, spool) as folder:
                    log_model(self._api(), run_id, folder, model)
            else:
                status, end_ms = entry.body["status"], entry.body["time_ms"]
                self._api().set_terminated(run_id, status, end_time=end_ms)
        except MlflowException as error:
            # Without a RestException nothing behind an http address has read the entry: it may be
            # a proxy whose server is away. MLflow's own client checks values, and nothing else.
            is_read = isinstance(error, RestException) or not is_remote(self._uri)
            is_own_check = not str(error).startswith("API request to ")
            if error.error_code in REFUSALS and (is_read or is_own_check):
                raise RefusedError(first_line(error)) from None
            raise

    def _api(self) -> MlflowClient:
        if self._client is None:
            self._client = MlflowClient(tracking_uri=self._uri)
        return self._client

    def _experiment_id(self, name: str) -> str:
        if name not in self._experiment_ids:
            client = self._api()
            found = self._active_experiment(name)
            if found is None:
                place = self._output_dir / ARTIFACTS_FOLDER
                location = None if is_remote(self._uri) else place.as_uri()
                try:
                    found = str(
                        client.create_experiment(
                            name, artifact_location=location, tags=EXPERIMENT_TAGS
                        )
                    )
                except MlflowException as error:
                    # Another driver has made it in this moment.
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self._active_experiment(name)
                    if found is None:
                        raise
            self._experiment_ids[name] = found
        return self._experiment_ids[name]

    def _active_experiment(self, name: str) -> str | None:
        """Its id; None: there is none of this name.

        Raises:
            DeletedExperimentError: there is, and it was deleted.
        """
        found = self._api().get_experiment_by_name(name)
        if found is None:
            return None
        if found.lifecycle_stage == LifecycleStage.DELETED:
            address = shlex.quote(self.address)
            raise DeletedExperimentError(
                f"{name!r} must not be deleted in MLflow, but is: restore it with "
                f"`MLFLOW_TRACKING_URI={address} mlflow experiments restore -x "
                f"{found.experiment_id}`"
            )
        return str(found.experiment_id)

    def _check_not_deleted(self, name: str) -> None:
        """Runs of a deleted experiment are hidden and refuse everything, but can come back.

        Raises:
            DeletedExperimentError: so it is here.
        """
        try:
            self._active_experiment(name)
        except MlflowException:
            return  # what was refused has its own reason

    def _find(self, experiment: str, key: str) -> Run | None:
        experiment_id = self._experiment_id(experiment)
        filter_string = f"tags.`{KEY_TAG}` = '{key}'"
        found = self._api().search_runs([experiment_id], filter_string, max_results=1)
        return found[0] if found else None

    def _run_id(self, experiment: str, key: str) -> str | None:
        known = self._run_ids.get((experiment, key))
        if known is None and (run := self._find(experiment, key)) is not None:
            known = self._run_ids[experiment, key] = run.info.run_id
        return known

    def _open(self, experiment: str, body: Mapping[str, Any]) -> None:
        client, key = self._api(), str(body["key"])
        run = self._find(experiment, key)
        if run is not None:
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            tags = {
                **body.get("tags", {}),  # an earlier version spooled none
                KEY_TAG: key,
                MLFLOW_RUN_NAME: str(body["name"]),
            }
            if body["parent"] is not None:
                parent = self._run_id(experiment, str(body["parent"]))
                if parent is not None:  # else someone has deleted it
                    tags[MLFLOW_PARENT_RUN_ID] = parent
            run = client.create_run(
                self._experiment_id(experiment),
                start_time=int(body["time_ms"]),
                tags=tags,
                run_name=str(body["name"]),
            )
        self._run_ids[experiment, key] = run.info.run_id
        # A run that is opened again keeps the values that it was started with.
        params = [
            Param(name, value)
            for name, value in body["params"].items()
            if name not in run.data.params
        ]
        self._log_params(run.info.run_id, params)

    def _log_params(self, run_id: str, params: Sequence[Param]) -> None:
        for start in range(0, len(params), MAX_PARAMS_PER_BATCH):
            batch = params[start : start + MAX_PARAMS_PER_BATCH]
            self._api().log_batch(run_id, params=batch)

    def _tag(self, run_id: str, experiment: str, tags: Mapping[str, str]) -> None:
        def page(found: re.Match[str]) -> str:
            other = self._run_id(experiment, found[1])
            experiment_id = self._experiment_id(experiment)
            return f"#/experiments/{experiment_id}/runs/{other}?workflowType=machine_learning"

        texts = [RunTag(name, PAGE_OF.sub(page, value)) for name, value in tags.items()]
        self._api().log_batch(run_id, tags=texts)


@contextmanager
def unpacked(entry: Entry, spool: Spool) -> Iterator[Path]:
    """The folder of an entry, from the spool or where it was left.

    Raises:
        RefusedError: it is gone.
    """
    if (kept := entry.body["path"]) is not None:
        if not Path(kept).is_dir():
            raise RefusedError(f"the artefact's folder {kept} is gone")
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="craft-ray-") as folder:
        spool.write_files(entry, Path(folder))
        yield Path(folder)


def as_mlflow(given: DataInput) -> DatasetInput:
    """As MLflow keeps it: the digest is cut to what it takes, the profile has the whole one."""
    profile = {
        "num_rows": given.num_images,
        "num_classes": given.num_classes,
        "manifest": given.digest,
    }
    dataset = Dataset(
        name=given.name,
        digest=given.digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": given.source}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", given.context)])
