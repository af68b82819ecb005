"""One driver at a time in a folder that knows no locks: on an object store.

Every driver has a claim there, a file of its own, which it writes anew every few seconds. It writes
its claim first and looks for others afterwards, so of two who come at once at least one sees the
other, however slow the store is: nobody goes in beside a claim that lives, and of two new ones the
one with the larger token gives way. A claim is dead when its process is, where that can be seen, or
when it was not renewed while somebody looked at it for a minute: clocks of machines are not
compared.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from craft_ray.errors import RunFailedError, StorageError
from craft_ray.files.remote import Place, entries
from craft_ray.files.whole_files import write_json
from craft_ray.jobs.driver_identity import Driver

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = ".driver-", ".json"
RENEWED_EVERY_S = 10.0
EXPIRES_AFTER_S = 60.0
LOOKS_EVERY_S = 1.0
PATIENCE_S = 5.0
"""For a request that is under way when the run ends."""


class TakenError(Exception):
    """Another driver is in the folder.

    Attributes:
        driver: which.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__(str(driver))
        self.driver = driver


@dataclass(frozen=True)
class _Claim:
    driver: Driver
    is_in: bool
    """Works in the folder; else it would like to."""
    renewed: int


def check_no_lease(folder: Place) -> None:
    """That no driver of this machine works in the folder. Of those of others only time tells.

    Raises:
        TakenError: one does.
    """
    for claim in _claims(folder):
        if claim.is_in and claim.driver.lives:
            raise TakenError(claim.driver)


def has_claims(folder: Place) -> bool:
    """Whether there is one of anybody, dead or alive."""
    return bool(_claims(folder))


@contextmanager
def run_lease(folder: Place) -> Iterator[None]:
    """Keep every other driver out. After a driver of another machine has died, this waits for a
    minute until it is sure of that.

    Raises:
        TakenError: another driver is in it.
        RunFailedError: at the end, whatever else there was to say: this driver was away for longer
            than its claim holds, another has taken over, and this one was stopped with SIGTERM.
    """
    me = Driver.me()
    ended, lost = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=_keep, args=(folder, me, ended, lost), name="run-lease", daemon=True
    )
    try:
        _enter(folder, me)
        thread.start()
        try:
            yield
        except BaseException as error:
            if lost.is_set():
                raise _taken_over(folder) from error
            raise
        if lost.is_set():
            raise _taken_over(folder)
    finally:
        ended.set()
        if thread.is_alive():
            thread.join(PATIENCE_S)
        if not lost.is_set():
            with suppress(StorageError, OSError):  # it expires
                _path(folder, me).unlink(missing_ok=True)


def _taken_over(folder: Place) -> RunFailedError:
    return RunFailedError(f"{folder}: another driver has taken it over while this one was away")


def _enter(folder: Place, me: Driver) -> None:
    seen: dict[str, tuple[int, float]] = {}
    """Token -> how often it was renewed, and since when that is so."""
    renewed = 0
    _write(folder, _Claim(me, is_in=False, renewed=0))
    while others := [claim for claim in _claims(folder) if claim.driver.token != me.token]:
        for claim in others:
            driver = claim.driver
            before, since_s = seen.setdefault(driver.token, (claim.renewed, time.monotonic()))
            is_dead = driver.lives is False or time.monotonic() - since_s > EXPIRES_AFTER_S
            if claim.renewed != before or driver.lives:
                if claim.is_in or driver.token < me.token:
                    raise TakenError(driver)
                seen[driver.token] = claim.renewed, time.monotonic()
            elif is_dead:
                _path(folder, driver).unlink(missing_ok=True)
            elif renewed == 0:
                logger.warning("%s: looking for up to a minute whether %s lives", folder, driver)
        time.sleep(LOOKS_EVERY_S)
        renewed += 1
        _write(folder, _Claim(me, is_in=False, renewed=renewed))
    _write(folder, _Claim(me, is_in=True, renewed=renewed + 1))


def _keep(folder: Place, me: Driver, ended: threading.Event, lost: threading.Event) -> None:
    """Renew the claim; once it is gone, or another one is in as well, stop the run."""
    while not ended.wait(RENEWED_EVERY_S):
        with suppress(StorageError, OSError):  # the store is away for a while
            claims = {claim.driver.token: claim for claim in _claims(folder)}
            others = [token for token, claim in claims.items() if claim.is_in and token < me.token]
            if me.token not in claims or others:
                lost.set()
                # Not SIGINT, which a job in the background of a shell ignores.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            _write(folder, _Claim(me, is_in=True, renewed=claims[me.token].renewed + 1))


def _path(folder: Place, driver: Driver) -> Place:
    return folder / f"{PREFIX}{driver.token}{SUFFIX}"


def _write(folder: Place, claim: _Claim) -> None:
    document = {**claim.driver.as_dict(), "is_in": claim.is_in, "renewed": claim.renewed}
    write_json(_path(folder, claim.driver), document)


def _claims(folder: Place) -> list[_Claim]:
    """Of all drivers.

    Raises:
        StorageError: the store does not answer.
    """
    found = []
    for path in entries(folder):
        if path.name.startswith(PREFIX) and path.name.endswith(SUFFIX):
            with suppress(FileNotFoundError, KeyError, ValueError):  # withdrawn, or no claim
                document = json.loads(path.read_text())
                driver = Driver.from_dict(document)
                found.append(_Claim(driver, bool(document["is_in"]), int(document["renewed"])))
    return found
