"""Tunes at a service of somebody else: uploads images, follows the job, fetches the classifier.

OpenAI's client does the same but for the last step; this one needs nothing beside craft-ray.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Self

import httpx2

from craft_ray.classifiers.artifact import RESULT_FOLDER
from craft_ray.errors import ConfigError, RunFailedError, UserError

LOOK_EVERY_S = 2.0
TIMEOUT_S = 600.0
"""Of a request: an upload is checked before it is answered."""
MOST_ARTIFACT_BYTES = 500_000_000
MOST_TRIES = 6
"""Of a request that may be repeated, while the service is busy or starts again."""
BUSY = (429, 502, 503, 504)
ENDED = ("succeeded", "failed", "cancelled")


class TuningClient:
    """A context manager.

    Args:
        url: of the service, such as `https://host:8080`.
        key: of the service; None: it needs none.
        transport: for tests.
    """

    def __init__(
        self, url: str, key: str | None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        base = url.rstrip("/").removesuffix("/v1") + "/v1/"
        self._http = httpx2.Client(
            base_url=base, headers=headers, timeout=TIMEOUT_S, transport=transport
        )
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def upload(self, file: Path) -> str:
        """The id of a Parquet or JSONL file, which the service has checked.

        Raises:
            UserError: the service says what is wrong with it.
            RunFailedError: it does not answer.
        """
        with file.open("rb") as stream:
            answer = self._ask(
                "POST", "files", data={"purpose": "fine-tune"}, files={"file": (file.name, stream)}
            )
        return str(answer["id"])

    def create(
        self,
        training_file: str,
        validation_file: str | None = None,
        method: Mapping[str, Any] | None = None,
        seed: int | None = None,
        model: str | None = None,
    ) -> str:
        """The id of a new job.

        Args:
            training_file, validation_file: ids.
            method: as docs/serving.md says it. None: probes.
            seed: of it. None: one is drawn.
            model: None: the service's own.

        Raises:
            UserError: the service says what is wrong.
            RunFailedError: it does not answer.
        """
        body = {
            "model": model or self._ask("GET", "models")["data"][0]["id"],
            "training_file": training_file,
            "validation_file": validation_file,
            "method": None if method is None else dict(method),
            "seed": seed,
        }
        given = {key: value for key, value in body.items() if value is not None}
        return str(self._ask("POST", "fine_tuning/jobs", json=given)["id"])

    def follow(self, job_id: str, say: Callable[[str], None]) -> dict[str, Any]:
        """Wait for the end of a job, and tell what happens.

        Args:
            job_id: of it.
            say: is told a line for each event but the last of a job that has failed.

        Returns:
            The job, which has succeeded.

        Raises:
            UserError: it has failed by a mistake, or was cancelled.
            RunFailedError: the machine has failed, or the service does not answer.
        """
        told: set[str] = set()
        while True:
            try:
                job = self.job(job_id)
                events = list(self._events(job_id, told))
            except RunFailedError as lost:
                raise RunFailedError(
                    f"{lost}. The job goes on there; when it has succeeded, its classifier is at "
                    f"{self._http.base_url}fine_tuning/jobs/{job_id}/artifact"
                ) from lost
            for event in reversed(events):
                told.add(event["id"])
                if event["level"] != "error":  # why a job has failed is raised
                    say(event["message"])
            if job["status"] in ENDED:
                break
            time.sleep(LOOK_EVERY_S)
        if job["status"] == "succeeded":
            return job
        error = job["error"] or {"code": "cancelled", "message": "it was cancelled"}
        words = f"job {job_id}: {error['message']}"
        raise RunFailedError(words) if error["code"] == "server_error" else UserError(words)

    def job(self, job_id: str) -> dict[str, Any]:
        """As the service tells it."""
        return self._ask("GET", f"fine_tuning/jobs/{job_id}")

    def cancel(self, job_id: str) -> None:
        """End a job; what it has asked is charged."""
        self._ask("POST", f"fine_tuning/jobs/{job_id}/cancel")

    def remove(self, file_id: str) -> None:
        """Have the service forget a file. A job that has begun goes on without it."""
        self._ask("DELETE", f"files/{file_id}")

    def fetch(self, job_id: str, folder: Path) -> Path:
        """Write the classifier of a job into `folder/best`, which `craft-ray predict` takes.

        Raises:
            UserError: it is there already, or the service sends something else.
            RunFailedError: the service does not answer.
        """
        destination = folder / RESULT_FOLDER
        if destination.exists():
            raise ConfigError("output_dir", [f"{destination} must not exist yet, but does"])
        content = self._send("GET", f"fine_tuning/jobs/{job_id}/artifact").content
        try:
            files = dict(_files_in(content))
        except (zipfile.BadZipFile, ValueError) as error:
            raise UserError(
                f"{self._url}: must send a zip of a classifier, but: {error}"
            ) from error
        destination.mkdir(parents=True)
        for name, file in files.items():
            (destination / name).write_bytes(file)
        return destination

    def _events(self, job_id: str, told: set[str]) -> Iterator[dict[str, Any]]:
        """Those that were not told yet, the newest first."""
        path, after = f"fine_tuning/jobs/{job_id}/events?limit=100", ""
        while True:
            page = self._ask("GET", path + after)
            for event in page["data"]:
                if event["id"] in told:
                    return
                yield event
            if not page["has_more"]:
                return
            after = f"&after={page['last_id']}"

    def _ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(method, path, **body).json()
        return answer

    def _send(self, method: str, path: str, **body: Any) -> httpx2.Response:
        """Raises:
        UserError: the service refuses it.
        RunFailedError: it does not answer.
        """
        for tried in range(MOST_TRIES):
            is_last = tried + 1 == MOST_TRIES or method != "GET"
            try:
                answer = self._http.request(method, path, **body)
            except httpx2.TransportError as error:
                if is_last:
                    raise RunFailedError(f"{self._url} must answer, but: {error}") from error
            else:
                if answer.status_code not in BUSY or is_last:
                    break
            time.sleep(min(2.0**tried, 30.0))
        if answer.is_success:
            return answer
        raise _refusal(answer, self._url)


def _refusal(answer: httpx2.Response, url: str) -> Exception:
    try:
        said = answer.json()
        words = str(said.get("error", {}).get("message") or said.get("detail"))
    except (ValueError, AttributeError):
        words = answer.text[:200]
    message = f"{url} says {answer.status_code}: {words}"
    return RunFailedError(message) if answer.status_code >= 500 else UserError(message)


def _files_in(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of one folder.

    Raises:
        ValueError: it is too large, or has folders or odd names.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(each.file_size for each in archive.infolist()) > MOST_ARTIFACT_BYTES:
            raise ValueError(f"it has more than {MOST_ARTIFACT_BYTES:,} bytes")
        for each in archive.infolist():
            parts = PurePosixPath(each.filename).parts
            is_odd = any(part.startswith(".") or "\\" in part for part in parts)
            if len(parts) != 2 or is_odd:
                raise ValueError(f"{each.filename[:60]!r} is no file of a classifier")
            yield parts[1], archive.read(each)


@contextmanager
def removed_after(client: TuningClient, files: Collection[str]) -> Iterator[None]:
    """The files go after the block: they would fill the room that a key has. They stay where the
    service was lost, as a job may need them yet."""
    try:
        yield
    except RunFailedError:
        raise
    except BaseException:
        _remove(client, files)
        raise
    _remove(client, files)


def _remove(client: TuningClient, files: Collection[str]) -> None:
    for file_id in files:
        with suppress(UserError, RunFailedError):  # what was to be told is something else
            client.remove(file_id)


@contextmanager
def cancelled_with(client: TuningClient, job_id: str) -> Iterator[None]:
    """Within the block Ctrl-C cancels the job."""
    try:
        yield
    except KeyboardInterrupt:
        client.cancel(job_id)
        raise
