"""MLflow, written to from one thread of the driver, and never waited for.

Trials report through Ray; only the driver talks to MLflow, so a trial costs no set-up of its own
and a slow or dead server never stops a query. A server that is unreachable at the start is an
error. One that dies later costs nothing: every entry goes into the spool on disk first, and leaves
it when MLflow has it. What is left at the end is sent by the next driver with the same output
folder and address, or by `python -m craft_ray.tracking`.
"""

from __future__ import annotations

import logging
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.config.secrets import mask
from craft_ray.config.sections import MlflowConfig
from craft_ray.errors import TrackingError
from craft_ray.tracking.base import (
    CLASSIFIER_PLACE,
    MAX_PARAM_LENGTH,
    STEP,
    TIME_MS,
    DataInput,
    LoggedModel,
    NullTracker,
    Point,
    RefusedError,
    RunStatus,
    Tracker,
    first_line,
    is_remote,
)
from craft_ray.tracking.places import DATABASE_FILE, database_uri
from craft_ray.tracking.spool import (
    LIMIT_BYTES,
    MAX_METRICS_PER_REQUEST,
    Kind,
    Spool,
    abandoned_spools,
)

if TYPE_CHECKING:
    from craft_ray.tracking.sender import MlflowSender

logger = logging.getLogger(__name__)

MAX_COPIED_BYTES = 32 * 2**20
"""A folder up to this size is copied into the spool as it is now. Of a larger one the path is kept:
it must still be there when it is sent."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
MAX_TAG_LENGTH = 8000
"""Characters that MLflow keeps of a tag."""
SHUTDOWN_TIMEOUT_S = 30.0

Say = Callable[[str], None]


def make_tracker(config: MlflowConfig, output_dir: Path, say: Say | None = None) -> Tracker:
    """The tracker that `config` asks for; `say` gets its lines for the user.

    Raises:
        TrackingError: the tracking server or database cannot be reached, or the spool not made.
    """
    if not config.enabled:
        return NullTracker()
    return MlflowTracker(tracking_uri(config, output_dir), config.experiment, output_dir, say)


def tracking_uri(config: MlflowConfig, output_dir: Path) -> str:
    """The configured address, masked, or an absolute sqlite one: Ray changes workers' folders."""
    return config.tracking_uri or database_uri(output_dir / DATABASE_FILE)


def ui_command(config: MlflowConfig, output_dir: Path) -> str | None:
    """What a user types to look at the runs; None where a server is already running."""
    uri = tracking_uri(config, output_dir)
    if not config.enabled or is_remote(uri):
        return None
    place = ["--output-dir", str(output_dir.resolve())]
    if config.tracking_uri:
        place = ["--tracking-uri", uri]
    default = MlflowConfig().experiment
    experiment = [] if config.experiment == default else ["--experiment", config.experiment]
    return shlex.join(["craft-ray", "ui", *place, *experiment])


class MlflowTracker:
    """Implements `Tracker`.

    Args:
        uri: tracking address.
        experiment: name; made if it does not exist.
        output_dir: where the spool is, and artefacts when the store is a local database.
        say: gets a line when MLflow is back, and at the end if something is left.
        sender: instead of one that talks to `uri`.

    Raises:
        TrackingError: the address does not answer, or the spool cannot be made.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        output_dir: Path,
        say: Say | None = None,
        sender: MlflowSender | None = None,
    ) -> None:
        # Here: a run without tracking, and a command's help, do not load MLflow.
        from craft_ray.tracking.sender import MlflowSender

        self._say = say or logger.info
        self._output_dir = output_dir
        self._sender = sender or MlflowSender(uri, output_dir)
        self._sender.connect(experiment)
        address = self._sender.address
        try:
            # What earlier drivers have left comes first: this may be the rest of the same run.
            self._spools = []
            for spool in abandoned_spools(output_dir):
                if spool.address == address:
                    self._spools.append(spool)
                else:
                    spool.close()
            self._own = Spool.create(output_dir, address, experiment)
        except (OSError, sqlite3.Error) as error:
            raise TrackingError(
                f"output_dir: {output_dir.resolve()} must be writable for what MLflow has not "
                f"taken yet, but: {error}"
            ) from error
        self._left = 0
        self._healthy = True
        self._warned: set[str] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)
        self._thread.start()

    def open(
        self,
        key: str,
        name: str,
        params: Mapping[str, object],
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        texts = {k: mask(str(v))[:MAX_PARAM_LENGTH] for k, v in params.items()}
        body = {"key": key, "name": name, "params": texts, "parent": parent}
        self._put("open", {**body, "tags": _masked(tags or {})})

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self._put("tags", {"key": key, "tags": _masked(tags)})

    def log_inputs(self, key: str, inputs: Sequence[DataInput]) -> None:
        self._put("inputs", {"key": key, "inputs": [asdict(each) for each in inputs]})

    def log(self, key: str, points: Sequence[Point]) -> None:
        now_ms = _now_ms()
        metrics = [
            (name, float(value), int(point.get(TIME_MS, now_ms)), int(point[STEP]))
            for point in points
            for name, value in point.items()
            if name not in (STEP, TIME_MS)
        ]
        for start in range(0, len(metrics), MAX_METRICS_PER_REQUEST):
            batch = metrics[start : start + MAX_METRICS_PER_REQUEST]
            self._put("log", {"key": key, "metrics": batch})

    def log_folder(self, key: str, folder: Path, place: str = CLASSIFIER_PLACE) -> None:
        self._put_folder("folder", {"key": key, "place": place}, folder)

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        self._put("folder", {"key": key, "place": "", "path": None}, list(files.items()))

    def log_model(self, key: str, folder: Path, model: LoggedModel) -> None:
        self._put_folder("model", {"key": key, "model": asdict(model)}, folder)

    def _put_folder(self, kind: Kind, body: dict[str, Any], folder: Path) -> None:
        try:
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            is_small = sum(path.stat().st_size for path in paths) <= MAX_COPIED_BYTES
            copied = paths if is_small else []
            files = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in copied]
        except OSError as error:
            self._warn_once("folder", f"{folder} cannot be read for MLflow: {error}")
            return
        kept = None if is_small else str(folder.resolve())
        self._put(kind, {**body, "path": kept}, files)

    def close(self, key: str, status: RunStatus) -> None:
        self._put("close", {"key": key, "status": status})

    def shutdown(self) -> None:
        """What is not taken within 30 s, or after one more try of a server that is
        away, stays in the spool."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(SHUTDOWN_TIMEOUT_S)
        self._give_up.set()
        if self._thread.is_alive():
            with suppress(sqlite3.Error):  # the thread has ended in this moment, and has counted
                self._left = sum(spool.count() for spool in (*self._spools, self._own))
        if self._left:
            self._say(
                f"MLflow has not taken {self._left} entries. They are in {self._own.path.parent} "
                "and are sent at the next start with this output_dir and tracking address, or by\n"
                f"  craft-ray tracking {shlex.quote(str(self._output_dir))}"
            )

    def _put(
        self, kind: Kind, body: dict[str, Any], files: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        try:
            if not self._own.append(kind, {**body, "time_ms": _now_ms()}, files):
                size = f"{LIMIT_BYTES / 2**20:g} MB"
                place = f"{self._own.path} is full ({size})"
                self._warn_once("full", f"{place}: from now on metrics and artefacts are lost")
        # A full disk, or a call after the end: tracking must not end a run.
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._warn_once("spool", f"{self._own.path} cannot be written: {first_line(error)}")
        self._wake.set()

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._give_up.is_set():
            self._wake.clear()
            is_sent = self._step()
            if is_sent is None:
                if self._stopping.is_set():
                    break
                self._wake.wait()
            elif is_sent:
                pause_s = FIRST_PAUSE_S
            elif self._stopping.is_set():
                break
            else:
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        for spool in (*self._spools, self._own):
            try:
                self._left += spool.count()
                spool.close()
            except sqlite3.Error as error:
                self._warn_once("spool", f"{spool.path} cannot be read: {first_line(error)}")

    def _step(self) -> bool | None:
        """Send the oldest entry: whether MLflow took it, None if there is nothing to send."""
        spool = self._spools[0] if self._spools else self._own
        try:
            entry = spool.first()
            if entry is None:
                if spool is self._own:
                    return None
                self._spools.pop(0).close()
                return True
            try:
                self._sender.send(entry, spool)
            except RefusedError as error:
                if spool.refuse(entry, str(error)):
                    what = f"MLflow refused what stays in {spool.path}: {error}"
                    self._warn_once("refused", what)
                return True
            spool.remove(entry)
        # Whatever a tracking backend raises, tracking must not end a run.
        except Exception as error:
            if self._skips(spool, error):
                return True
            if self._healthy:
                logger.warning(
                    "MLflow failed; the search goes on without it, and %s keeps what it misses: %s",
                    self._own.path.parent,
                    first_line(error),
                )
            self._healthy = False
            self._sender.forget()
            return False
        if not self._healthy:
            self._healthy = True
            self._say("MLflow is back; it gets what it has missed.")
        return True

    def _skips(self, spool: Spool, error: Exception) -> bool:
        """Leave alone what an earlier driver has left for an experiment that was deleted since: it
        would keep everything of this run waiting."""
        from craft_ray.tracking.sender import DeletedExperimentError

        if spool is self._own or not isinstance(error, DeletedExperimentError):
            return False
        self._warn_once("deleted", f"{spool.path} stays: {error}")
        self._spools.pop(0)
        spool.close()
        return True

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("%s", mask(message))


def _masked(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: mask(value)[:MAX_TAG_LENGTH] for name, value in tags.items()}


def _now_ms() -> int:
    return int(time.time() * 1000)
