"""One driver at a time in the folder of a run: two would pay for the same questions twice.

On a disk, also a shared one, the lock is the kernel's (`flock`): it ends with its process, however
that ends. On an object store, and on a file system without locks, it is a lease: a file that its
holder writes anew every few seconds, and that counts for nothing when it has not done so for a
minute.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from craft_ray.errors import ArtifactError, ConfigError, RunFailedError, StorageError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json

logger = logging.getLogger(__name__)

LOCK_FILE = ".driver"
LEASE_FILE = ".driver.json"
RENEWED_EVERY_S = 10.0
EXPIRES_AFTER_S = 60.0
SETTLES_IN_S = 1.0
"""An object store has no exclusive creation: of two who write at once the last one stands, and each
looks after this pause who it was."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Driver:
    """Who works in a folder."""

    host: str
    pid: int
    since: str
    token: str
    seen: float = 0.0
    """Of a lease: Unix time of its last renewal."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def check_is_free(folder: Place) -> None:
    """That no driver works in this folder now.

    Raises:
        ConfigError: says which does.
    """
    with suppress(FileNotFoundError):
        if isinstance(folder, Path) and (path := folder / LOCK_FILE).exists():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if not _locks(descriptor, fcntl.LOCK_SH):
                    raise _refusal(folder, _read_lock(path))
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            finally:
                os.close(descriptor)
    _check_lease(folder)


@contextmanager
def run_lock(folder: Place) -> Iterator[None]:
    """Keep every other driver out of a folder that is there.

    Raises:
        ConfigError: another driver is in it; says which.
        RunFailedError: at the end, in place of the Ctrl-C that stopped the work: another driver has
            taken the lease of this one, which was away for longer than it holds.
    """
    me = Driver(
        socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), secrets.token_hex(8)
    )
    _check_lease(folder)
    if isinstance(folder, Path):
        try:
            descriptor = _take_lock(folder, me)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            (folder / LOCK_FILE).unlink(missing_ok=True)
        else:
            try:
                yield
            finally:
                (folder / LOCK_FILE).unlink(missing_ok=True)
                os.close(descriptor)
            return
    with _lease(folder, me):
        yield


def _take_lock(folder: Path, me: Driver) -> int:
    """Descriptor of the lock file, which holds it as long as it is open."""
    path = folder / LOCK_FILE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _locks(descriptor, fcntl.LOCK_EX):
                raise _refusal(folder, _read_lock(path))
            with suppress(FileNotFoundError):
                # The one before removes the file: a lock on what is no longer there keeps nobody
                # out.
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(asdict(me)).encode())
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_lock(path: Path) -> Driver | None:
    try:
        return Driver(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # it is being written
        return None


def _refusal(folder: Place, driver: Driver | None, hint: str = "") -> ConfigError:
    who = driver or "another process"
    problem = f"{folder} is being worked on by {who}: one at a time; wait for its end or stop it"
    return ConfigError("name", [problem + hint])


def _read_lease(folder: Place) -> Driver | None:
    """None: there is none, or nobody could read it."""
    with suppress(ArtifactError, FileNotFoundError, TypeError):
        return Driver(**read_json(folder / LEASE_FILE))
    return None


def _check_lease(folder: Place) -> None:
    lease = _read_lease(folder)
    is_here = lease is not None and lease.host == socket.gethostname()
    if lease is None or (is_here and not psutil.pid_exists(lease.pid)):
        return
    left_s = lease.seen + EXPIRES_AFTER_S - time.time()
    if left_s > 0:
        raise _refusal(folder, lease, f". If it is dead, try again in {left_s:.0f} s")


@contextmanager
def _lease(folder: Place, me: Driver) -> Iterator[None]:
    _renew(folder, me)
    time.sleep(SETTLES_IN_S)
    if (holder := _read_lease(folder)) is not None and holder.token != me.token:
        raise _refusal(folder, holder)
    ended, lost = threading.Event(), threading.Event()

    def keep() -> None:
        while not ended.wait(RENEWED_EVERY_S):
            with suppress(StorageError, OSError):  # it is away for a while
                if (other := _read_lease(folder)) is not None and other.token != me.token:
                    lost.set()
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                _renew(folder, me)

    thread = threading.Thread(target=keep, name="run-lease", daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt as error:
        if lost.is_set():
            raise RunFailedError(f"{folder}: another driver has taken it over") from error
        raise
    finally:
        ended.set()
        thread.join()
        if not lost.is_set():
            with suppress(StorageError, OSError):  # it expires
                (folder / LEASE_FILE).unlink(missing_ok=True)


def _renew(folder: Place, me: Driver) -> None:
    write_json(folder / LEASE_FILE, {**asdict(me), "seen": time.time()})
