"""Where the files of users and their runs are, below the folder of a service."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from craft_ray.service.tunings.jobs import RESULT_PURPOSE
from craft_ray.service.tunings.rows import FileRecord

TRAINING, VALIDATION = "train.parquet", "validation.parquet"
_A_PATH = re.compile(r"/(?:[^\s/'\":,;]+/)+[^\s'\":,;]*")


@dataclass(frozen=True)
class Layout:
    """Of one service. Ids come from the records alone, never from a request.

    Attributes:
        folder: of the service, absolute.
    """

    folder: Path

    @property
    def database(self) -> Path:
        """Of the records."""
        return self.folder / "tunings.db"

    def file(self, file: FileRecord) -> Path:
        """What is kept of an uploaded file, or of a result."""
        suffix = ".json" if file.purpose == RESULT_PURPOSE else ".parquet"
        return self.file_of(file.key_id, file.id, suffix)

    def file_of(self, key_id: str, file_id: str, suffix: str = ".parquet") -> Path:
        """Of a file that has no record yet."""
        return self.folder / "files" / key_id / f"{file_id}{suffix}"

    def upload(self, key_id: str, file_id: str) -> Path:
        """Where an upload lies until it is checked."""
        return self.folder / "files" / key_id / f".{file_id}.upload"

    def remove_uploads(self, before: float) -> None:
        """Those that began before a time and that nobody checks any more: the process that took
        them has ended meanwhile."""
        for path in self.folder.glob("files/*/.*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def runs(self, key_id: str) -> Path:
        """The key's folder of runs."""
        return self.folder / "tunings" / key_id

    def run(self, key_id: str, job_id: str) -> Path:
        """The run of a job."""
        return self.runs(key_id) / job_id

    def work(self, key_id: str, job_id: str) -> Path:
        """Beside the runs: what a job starts from, and what it printed."""
        return self.runs(key_id) / "work" / job_id

    def data(self, key_id: str, job_id: str) -> Path:
        """The Parquet files of a job. They are its own: the user may remove those uploaded."""
        return self.work(key_id, job_id) / "data"

    def in_users_words(self, text: str, key_id: str, job_id: str) -> str:
        """A message without paths of this machine."""
        data = self.data(key_id, job_id)
        for path, word in (
            (data / TRAINING, "training_file"),
            (data / VALIDATION, "validation_file"),
            (data, "the files"),
            (self.run(key_id, job_id), "the job"),
        ):
            text = text.replace(str(path), word)
        return _A_PATH.sub("...", text)


def link_or_copy(source: Path, destination: Path) -> None:
    """Another name for a file that is never changed; a copy where the disk knows no such names."""
    destination.unlink(missing_ok=True)
    try:
        os.link(source, destination)
    except OSError:
        destination.write_bytes(source.read_bytes())
