"""Answers on their way to an object store: on a disk of this machine, so that the end of a process
takes none of them. Whoever takes up the work on this machine finds them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from craft_ray.errors import RunFailedError

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""Somebody else may remove the folder, empty as it was, before the first file is in it."""
_UNFINISHED = "."
"""How the names of files begin that are being written."""


class Outbox:
    """What one journal has not sent yet: a folder of files. Any number of processes may use it at
    once, and none is made before there is something.

    Args:
        identity: of the journal; processes that name the same one share what is there.
    """

    def __init__(self, identity: str) -> None:
        self._all = Path(tempfile.gettempdir()) / f"craft-ray-outbox-{os.getuid()}"
        self._folder = self._all / hashlib.sha256(identity.encode()).hexdigest()[:32]

    def ensure_room(self, num_bytes: int) -> None:
        """Before a question: what a full disk cannot keep must not be paid for.

        Args:
            num_bytes: that will wait here.

        Raises:
            RunFailedError: the disk is full, or nearly so.
        """
        disk = self._all.parent
        try:
            free = shutil.disk_usage(disk).free
        except OSError as error:
            raise RunFailedError(f"{disk}: must be readable, but: {error}") from error
        if free < num_bytes:
            raise RunFailedError(
                f"{disk}: must have {num_bytes / 2**20:.0f} MB free to keep what is asked for "
                f"until it is sent, but has {free / 2**20:.1f} MB; nothing more was asked: make "
                "room there, or name another folder with TMPDIR"
            )

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
        """What is there, by name. A machine that lost its power may leave files that are not whole.

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

    def discard(self, name: str, problem: object) -> None:
        """Drop an answer that cannot be used; whoever needs it asks again."""
        logger.warning(
            "%s: must be an answer that was not sent yet, but: %s; it is removed, and asked for "
            "again where it is needed",
            self._folder / name,
            problem,
        )
        self.drop([name])

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
