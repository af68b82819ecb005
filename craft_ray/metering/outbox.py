"""Answers on their way to an object store: on a disk of this machine, so that the end of a process
takes none of them. Whoever takes up the work on this machine finds them."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from craft_ray.errors import RunFailedError

ATTEMPTS = 5
"""Somebody else may remove the folder, empty as it was, before the first file is in it."""
_UNFINISHED = "."
"""How the names of files begin that are being written."""


class Outbox:
    """What one journal has not sent yet: a folder of files. Any number of processes may use it at
    once, and none is made before there is something.

    Args:
        address: of the journal; processes that name the same one share what is there.
    """

    def __init__(self, address: str) -> None:
        self._all = Path(tempfile.gettempdir()) / f"craft-ray-outbox-{os.getuid()}"
        self._folder = self._all / hashlib.sha256(address.encode()).hexdigest()[:32]

    def keep(self, name: str, body: bytes) -> None:
        """Whole, and durable against the end of this process, when it returns.

        Raises:
            RunFailedError: it cannot be written.
        """
        try:
            for attempt in range(ATTEMPTS):
                try:
                    return self._write(name, body)
                except FileNotFoundError:
                    if attempt == ATTEMPTS - 1:
                        raise
        except OSError as error:
            raise RunFailedError(f"{self._folder}: must be writable, but: {error}") from error

    def _write(self, name: str, body: bytes) -> None:
        _make_private(self._all)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / f"{_UNFINISHED}{name}.{uuid.uuid4().hex}"
        try:
            unfinished.write_bytes(body)
            os.replace(unfinished, self._folder / name)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def all(self) -> dict[str, bytes]:
        """What is there, by name.

        Raises:
            RunFailedError: it cannot be read.
        """
        found = {}
        try:
            for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
                if not path.name.startswith(_UNFINISHED):
                    with suppress(FileNotFoundError):  # it was sent in this moment
                        found[path.name] = path.read_bytes()
        except OSError as error:
            raise RunFailedError(f"{self._folder}: must be readable, but: {error}") from error
        return found

    def drop(self, names: Iterable[str]) -> None:
        """What has arrived."""
        for name in names:
            with suppress(OSError):  # where it is, too, is known by its name
                (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Leave no empty folder."""
        with suppress(OSError):
            self._folder.rmdir()

    def remove(self) -> None:
        """With whatever is there."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
        self.close()


def _make_private(folder: Path) -> None:
    """In a folder for everybody's files, what somebody else has put there is not trusted.

    Raises:
        OSError: it cannot be made, or is not ours alone.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{folder} must be a folder of this user alone")
