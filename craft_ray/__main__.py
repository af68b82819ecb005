"""`python -m craft_ray`, as `craft-ray`."""

import sys

from craft_ray.interrupts import end_at_once


def run() -> int:
    """The program `craft-ray`; returns its exit code."""
    end_at_once()
    # Imported late: Ctrl-C would end it with a traceback.
    from craft_ray.commands.program import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
