"""One process at a time, for what must not be set up by two at once."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ASK_EVERY_S = 0.05
TELL_AFTER_S = 2.0
"""A wait shorter than this is not worth a line."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
HELD = (errno.EAGAIN, errno.EACCES)


@contextmanager
def my_turn(path: Path, patience_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock on the file `path` as long as the block lasts; wait for whoever holds it.

    The lock is the kernel's: it ends with its process, however that ends, and on shared storage
    with NFS's locks also between machines. On a file system without locks the block runs at once.

    Args:
        path: of the lock file, in a folder that is there. It is removed at the end.
        patience_s: how long to wait.
        say: gets one line that names the holder, if the wait is not short.

    Raises:
        TimeoutError: it was held for longer; names the holder.
        OSError: the file cannot be made.
    """
    descriptor = _wait_for(path, patience_s, say)
    if descriptor is None:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _wait_for(path: Path, patience_s: float, say: Callable[[str], None]) -> int | None:
    """Descriptor of the locked file; None: there are no locks here."""
    begun, is_told = time.monotonic(), False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _is_locked_by_us(descriptor, path):
                _sign(descriptor)
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno not in NO_LOCKS:
                raise
            path.unlink(missing_ok=True)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        waited_s = time.monotonic() - begun
        if waited_s > patience_s:
            raise TimeoutError(f"{path} is held by {_holder(path)} for {waited_s:.0f} s")
        if waited_s > TELL_AFTER_S and not is_told:
            is_told = True
            say(f"Waiting for {_holder(path)}, which holds {path}")
        time.sleep(ASK_EVERY_S)


def _is_locked_by_us(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    # The holder before removes the file: a lock on what is no longer there keeps nobody out.
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # a full disk does not take it; the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _holder(path: Path) -> str:
    try:
        return path.read_text() or "another process"
    except (OSError, ValueError):
        return "another process"
