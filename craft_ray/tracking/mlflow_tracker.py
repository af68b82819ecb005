"""MLflow, written to from one thread of the driver.

Trials report through Ray; only the driver talks to MLflow, so a trial costs no set-up of its own
and a slow or dead server never stops a query. A server that is unreachable at the start is an
error; one that dies later costs its metrics and one warning.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from craft_ray.config.run import MlflowConfig
from craft_ray.errors import TrackingError
from craft_ray.tracking.base import NullTracker, Point, RunStatus, Tracker

logger = logging.getLogger(__name__)

KEY_TAG = "craft_ray.key"
# Opens the UI on its pages for model training; the default are those for language-model traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
MAX_PARAMS_PER_BATCH = 100
MAX_METRICS_PER_BATCH = 1000
MAX_PARAM_LENGTH = 6000
SHUTDOWN_TIMEOUT_S = 30.0


def make_tracker(config: MlflowConfig, output_dir: Path) -> Tracker:
    """The tracker that `config` asks for.

    Raises:
        TrackingError: the tracking server or database cannot be reached.
    """
    if not config.enabled:
        return NullTracker()
    return MlflowTracker(tracking_uri(config, output_dir), config.experiment, output_dir)


def tracking_uri(config: MlflowConfig, output_dir: Path) -> str:
    """The configured address, or an absolute sqlite one: Ray changes its workers' folder."""
    return config.tracking_uri or f"sqlite:///{output_dir.resolve() / 'mlflow.db'}"


def ui_command(config: MlflowConfig, output_dir: Path) -> str | None:
    """What a user types to look at the runs; None where a server is already running."""
    uri = tracking_uri(config, output_dir)
    if not config.enabled or uri.startswith(("http://", "https://")):
        return None
    return f"mlflow ui --backend-store-uri {uri} --host 127.0.0.1 --port 5000"


class MlflowTracker:
    """Implements `Tracker`.

    Args:
        uri: tracking address.
        experiment: name; made if it does not exist.
        output_dir: where artefacts go when the store is a local database.

    Raises:
        TrackingError: the address does not answer.
    """

    def __init__(self, uri: str, experiment: str, output_dir: Path) -> None:
        # The defaults retry for four minutes; what is queued here can wait, a user cannot.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        try:
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is not None:
                self._experiment_id = str(found.experiment_id)
            else:
                local = not uri.startswith(("http://", "https://"))
                location = (output_dir.resolve() / "mlflow-artifacts").as_uri() if local else None
                self._experiment_id = str(
                    self._client.create_experiment(
                        experiment, artifact_location=location, tags=EXPERIMENT_TAGS
                    )
                )
        except (MlflowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrackingError(f"mlflow.tracking_uri: {uri} must answer, but: {reason}") from error
        self._run_ids: dict[str, str] = {}
        self._healthy = True
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)
        self._thread.start()

    def open(
        self, key: str, name: str, params: Mapping[str, object], parent: str | None = None
    ) -> None:
        """See `Tracker`."""
        self._jobs.put(lambda: self._open(key, name, params, parent))

    def log(self, key: str, points: Sequence[Point]) -> None:
        """See `Tracker`."""
        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now_ms, int(point["generation"]))
            for point in points
            for name, value in point.items()
            if name != "generation"
        ]
        for start in range(0, len(metrics), MAX_METRICS_PER_BATCH):
            batch = metrics[start : start + MAX_METRICS_PER_BATCH]
            self._jobs.put(lambda batch=batch: self._log(key, batch))  # type: ignore[misc]

    def log_folder(self, key: str, folder: Path) -> None:
        """See `Tracker`."""
        self._jobs.put(lambda: self._client.log_artifacts(self._run_ids[key], str(folder)))

    def close(self, key: str, status: RunStatus) -> None:
        """See `Tracker`."""
        self._jobs.put(lambda: self._client.set_terminated(self._run_ids[key], status))

    def shutdown(self) -> None:
        """See `Tracker`."""
        self._jobs.put(None)
        self._thread.join(SHUTDOWN_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("MLflow did not take everything within %g s", SHUTDOWN_TIMEOUT_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            # Whatever a tracking backend raises, tracking must not end a run.
            except Exception as error:
                if self._healthy:
                    reason = str(error).splitlines()[0] if str(error) else repr(error)
                    logger.warning("MLflow failed; the search goes on without it: %s", reason)
                self._healthy = False

    def _open(self, key: str, name: str, params: Mapping[str, object], parent: str | None) -> None:
        earlier = self._client.search_runs(
            [self._experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1
        )
        if earlier:
            self._run_ids[key] = earlier[0].info.run_id
            self._client.update_run(self._run_ids[key], status="RUNNING")
            return
        tags = {KEY_TAG: key, MLFLOW_RUN_NAME: name}
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._run_ids[parent]
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=name)
        self._run_ids[key] = run.info.run_id
        entries = [Param(k, str(v)[:MAX_PARAM_LENGTH]) for k, v in params.items()]
        for start in range(0, len(entries), MAX_PARAMS_PER_BATCH):
            self._client.log_batch(
                run.info.run_id, params=entries[start : start + MAX_PARAMS_PER_BATCH]
            )

    def _log(self, key: str, metrics: Sequence[Metric]) -> None:
        self._client.log_batch(self._run_ids[key], metrics=metrics)
