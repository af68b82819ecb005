"""Checks an upload in a process of its own: `python -m craft_ray.service.tunings.checking ...`.

A file that is made for it can end whoever reads it (Arrow's C++ does not survive every broken
Parquet file), or have it fill its memory. Then the file is refused, and the service goes on.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from craft_ray.errors import DataError, RunFailedError
from craft_ray.service.tunings.process import as_found_here
from craft_ray.service.tunings.upload import Facts, UploadBounds, take_upload

AT_A_TIME = 2
"""Of all keys; the others wait."""
MOST_MEMORY = 8 * 10**9
"""Bytes of addresses."""
MOST_SECONDS = 1800
_turns = threading.BoundedSemaphore(AT_A_TIME)


def take_upload_apart(path: Path, destination: Path, bounds: UploadBounds) -> Facts:
    """`take_upload`, whatever the file does to who reads it.

    Raises:
        DataError: as there; or the file has ended its reader.
        RunFailedError: there is no reader.
    """
    words = [str(path), str(destination), json.dumps(asdict(bounds))]
    with _turns:
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=as_found_here(),
                timeout=MOST_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise _ended(f"is not read within {MOST_SECONDS:,} s") from None
        finally:
            for partial in destination.parent.glob(f".{destination.name}.*.part"):
                partial.unlink(missing_ok=True)  # of a reader that was ended
    if done.returncode < 0:
        raise _ended("ends what reads it")
    if done.returncode:
        words_of_it = done.stderr.decode(errors="replace")[-2000:]
        raise RunFailedError(f"an upload cannot be checked: {words_of_it}")
    said = json.loads(done.stdout)
    if "refused" in said:
        raise DataError(said["refused"])
    return Facts.from_dict(said["facts"])


def _ended(how: str) -> DataError:
    return DataError(f"file: must be readable, but {how}: write it anew")


def main(arguments: list[str]) -> None:
    """Print the facts, or why the file is refused, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, destination, bounds = arguments
    try:
        facts = take_upload(Path(path), Path(destination), UploadBounds(**json.loads(bounds)))
        said: dict[str, Any] = {"facts": facts.as_dict()}
    except DataError as error:
        said = {"refused": str(error)}
    except MemoryError:
        said = {"refused": "file: must be read with less memory, but takes too much"}
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1:])
