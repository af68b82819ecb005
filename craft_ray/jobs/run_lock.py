"""One driver at a time in the folder of a run: two would pay for the same questions twice.

On a disk, also a shared one, the lock is the kernel's (`flock`): it ends with its process, however
that ends. On an object store, and on a file system without locks, it is a lease (`run_lease`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place
from craft_ray.jobs.driver_identity import Driver
from craft_ray.jobs.run_lease import TakenError, check_no_lease, has_claims, run_lease

LOCK_FILE = ".driver"
PATIENCE_S = 0.5
"""Somebody who only looks holds the lock for a moment."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
HELD = (errno.EAGAIN, errno.EACCES)


class RunTakenError(ConfigError):
    """Another driver works in the folder."""


def check_is_free(folder: Place) -> None:
    """That no driver works in this folder now, as far as can be seen at once.

    Raises:
        RunTakenError: says which does.
    """
    try:
        if isinstance(folder, Path):
            _check_no_lock(folder / LOCK_FILE)
        check_no_lease(folder)
    except TakenError as error:
        raise _refusal(folder, error.driver) from error


@contextmanager
def run_lock(folder: Place) -> Iterator[None]:
    """Keep every other driver out of a folder that is there.

    Raises:
        RunTakenError: another driver is in it.
        ConfigError: the folder cannot be written.
        RunFailedError: see `run_lease`.
    """
    try:
        with ExitStack() as stack:
            if not isinstance(folder, Path) or not stack.enter_context(_lock(folder)):
                stack.enter_context(run_lease(folder))
            yield
    except TakenError as error:
        raise _refusal(folder, error.driver) from error


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the kernel's lock, and say whether it is enough: there is such a thing here, and nobody
    has left a claim who could not lock, such as a driver on a machine that mounts the folder
    without locks."""
    descriptor = _take_lock(folder)
    if descriptor is None:
        yield False
        return
    try:
        yield not has_claims(folder)
    finally:
        with suppress(OSError):
            (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)


def _take_lock(folder: Path) -> int | None:
    """Descriptor of the lock file, which holds it as long as it is open; None: there are no locks.

    Raises:
        RunTakenError: another driver holds it.
        ConfigError: the file cannot be made.
    """
    path = folder / LOCK_FILE
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            problem = f"{path} must be writable, but: {error.strerror}"
            raise ConfigError("output_dir", [problem]) from error
        try:
            if _locks(descriptor, fcntl.LOCK_EX):
                with suppress(FileNotFoundError):
                    # The driver before removes the file: a lock on what is no longer there keeps
                    # nobody out.
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        return _signed(descriptor)
            elif time.monotonic() > deadline:
                raise _refusal(folder, _read_lock(path))
        except OSError as error:
            os.close(descriptor)
            if error.errno == errno.ESTALE:
                continue
            if error.errno not in NO_LOCKS:
                raise
            if _read_lock(path) is not None:
                problem = (
                    f"{path} was made where the folder can be locked, and here it cannot: remove "
                    "it if no driver works there"
                )
                raise ConfigError("output_dir", [problem]) from error
            path.unlink(missing_ok=True)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(PATIENCE_S / 20)


def _signed(descriptor: int) -> int:
    """The same, with what others read of this driver; a full disk does not take it."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(Driver.me().as_dict()).encode())
    return descriptor


def _check_no_lock(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # it is not there, or another user's: who wants to lock it will hear of it
        return
    try:
        is_free = _locks(descriptor, fcntl.LOCK_SH)
    except OSError:
        return
    finally:
        os.close(descriptor)
    if not is_free:
        raise _refusal(path.parent, _read_lock(path))


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def _read_lock(path: Path) -> Driver | None:
    try:
        return Driver.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError):  # it is being written
        return None


def _refusal(folder: Place, driver: Driver | None) -> RunTakenError:
    who = driver or "another process"
    problem = f"{folder} is being worked on by {who}: one at a time; wait for its end or stop it"
    return RunTakenError("name", [problem])
