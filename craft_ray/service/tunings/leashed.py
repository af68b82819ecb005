"""`python -m craft_ray.service.tunings.leashed PARENT COMMAND...`: the command, which gets Ctrl-C
when its parent ends, however that ends. Imports nothing that takes time."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> None:
    """Become the command.

    The kernel sends the signal when the thread ends that has started this process: a runner starts
    processes in the one thread that lives as long as itself.
    """
    parent, command = int(arguments[0]), list(arguments[1:])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a service in the background may ignore it
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it has ended in this moment
        sys.exit(130)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
