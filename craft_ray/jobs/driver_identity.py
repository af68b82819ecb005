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

import psutil


@dataclass(frozen=True)
class Driver:
    """A process.

    Attributes:
        host, pid, since: for people.
        machine: of this start of the machine and this namespace of process ids; empty where the
            system does not tell.
        created: when the process was started: ids of processes are used again.
        token: of this driver alone.
    """

    host: str
    pid: int
    since: str
    machine: str
    created: float
    token: str

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
            machine=_machine(),
            created=psutil.Process().create_time(),
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
        if [type(value) for value in values.values()] != [str, int, str, str, float, str]:
            raise ValueError(f"must say who it is, but got {document!r}")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def lives(self) -> bool | None:
        """Whether the process is there; None: it is of another machine, which nobody here knows."""
        if not self.machine or self.machine != _machine():
            return None
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created) < 1.0
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def _machine() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""
