"""A process that begins a request, says so, and waits to be killed: `holder.py FILE TOKEN NAME`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from craft_ray.service.meter.meter import Meter
from tests.service.meter.world import asked, begun


def main(path: str, token: str, name: str) -> None:
    """Begin, and wait."""
    meter = Meter(Path(path), time.time())
    print(begun(meter, token, asked(name, holder=name), time.time()).request_id, flush=True)
    number = 0
    while True:  # is killed in the middle of a write, if it comes so
        one = begun(meter, token, asked(f"{name} {number}", 1, holder=name), time.time())
        meter.settle(one.request_id, 1, None, time.time())
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
