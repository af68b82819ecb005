"""Who drives a run, as it stands in the run's folder for other drivers to read."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Driver:
    """A process.

    Attributes:
        host, pid, since: for people.
        machine: of this start of the machine and this namespace of process ids; empty where the
            system does not tell.
        created: when the process was started, in ticks since the machine was: ids of processes are
            used again. No date, which moves with the clock when that is set.
        token: of this driver alone.
    """

    host: str
    pid: int
    since: str
    machine: str
    created: int
    token: str

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
            machine=_machine(),
            created=_created(os.getpid()) or 0,
            token=secrets.token_hex(8),
        )

    @classmethod
    def from_dict(cls, document: Any) -> Self:
        """What `as_dict` gave.

        Raises:
            ValueError: something is missing or of another type.
        """
        if not isinstance(document, dict):
            raise ValueError(f"must say who it is, but got {document!r}")
        values: dict[str, Any] = {field.name: document.get(field.name) for field in fields(cls)}
        if [type(value) for value in values.values()] != [str, int, str, str, int, str]:
            raise ValueError(f"must say who it is, but got {document!r}")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def lives(self) -> bool | None:
        """Whether the process works; None: nobody here knows, as it is of another machine, or the
        system does not show it."""
        if not self.machine or self.machine != _machine():
            return None
        try:
            return _created(self.pid) == self.created
        except OSError:
            pass
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return None  # another user's, of which `/proc` may be told to say nothing
        return None  # it has started in this moment

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def _created(pid: int) -> int | None:
    """In ticks since the start of the machine; None if it has ended, and nobody has asked how.

    Raises:
        OSError: there is no such process, or it is not shown.
    """
    # The name in brackets may hold anything.
    state, *others = (
        Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    )
    return None if state in "ZXx" else int(others[18])


def _machine() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""
