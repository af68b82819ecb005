"""What an ingress process does beside its requests: it says that it lives, and tidies up."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from craft_ray.service.meter.actor import MeterClient
from craft_ray.service.meter.meter import HOUR_S, Meter

logger = logging.getLogger(__name__)

BEAT_S = 2.0
"""How often the meter hears that this process lives."""
TIDY_S = 600.0
"""How often answers that nobody may ask for again are deleted."""


async def keep_alive(meter: Meter | MeterClient, holder: str, given_up: list[str]) -> None:
    """Tell the meter that this process lives; ends when it is cancelled.

    Args:
        meter: whom to tell.
        holder: name of this process.
        given_up: attempts that are to be given up; they are taken off when they were told.
    """
    loop = asyncio.get_running_loop()
    # In a thread of its own: behind images that are decoded it would come too late, and what is
    # being answered would be taken for lost.
    with ThreadPoolExecutor(1, "beat") as thread:
        while True:
            telling = list(given_up)
            try:
                await loop.run_in_executor(thread, meter.alive, holder, time.time(), telling)
                del given_up[: len(telling)]
            except Exception as error:  # whatever it is: were this to end, all work would be lost
                logger.error("the meter was not told that this ingress lives: %s", error)
            await asyncio.sleep(BEAT_S)


async def tidy(meter: Meter | MeterClient, answers: Path, keep_answers_h: float) -> None:
    """Delete answers that nobody may ask for again; ends when it is cancelled.

    Args:
        meter: who knows them.
        answers: their folder.
        keep_answers_h: how long they are kept.
    """
    while True:
        try:
            await asyncio.to_thread(_tidy_once, meter, answers, keep_answers_h)
        except Exception as error:  # of the meter or the disk; both may be better next time
            logger.error("old answers were not deleted: %s", error)
        await asyncio.sleep(TIDY_S)


def _tidy_once(meter: Meter | MeterClient, answers: Path, keep_answers_h: float) -> None:
    for name in meter.forget_old(time.time()):
        (answers / name).unlink(missing_ok=True)
    delete_before(answers, time.time() - (keep_answers_h + 1) * HOUR_S)


def delete_before(folder: Path, before: float) -> None:
    """Delete files of a folder, and of those in it, by their age: no record names the answers of
    requests that were given back, or whose process was killed.

    Args:
        folder: of answers.
        before: seconds of the epoch; what was written before that goes.
    """
    for each in (folder, *(path for path in folder.glob("*") if path.is_dir())):
        for entry in os.scandir(each) if each.is_dir() else ():
            with suppress(FileNotFoundError):  # somebody else has deleted it
                if entry.is_file() and entry.stat().st_mtime < before:
                    os.unlink(entry.path)
