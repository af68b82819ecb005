"""A scheduler's SIGTERM is a user's Ctrl-C: what runs is ended, and can be continued."""

from __future__ import annotations

import signal
import threading
from types import FrameType


def treat_sigterm_as_ctrl_c() -> None:
    """To be called again after Ray was connected to, whose own handler exits without a word."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Tune takes Ctrl-C in a handler of its own. A command in the background (`nohup`) may have been
    # started with it ignored, and must be ended all the same.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
