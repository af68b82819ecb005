"""A scheduler's SIGTERM is a user's Ctrl-C: what runs is ended, and can be continued."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from craft_ray.errors import EXIT_CODE_INTERRUPTED

REPEAT_AFTER_S = 0.05
NOTHING_STARTED = "interrupted before anything was started"


def end_at_once() -> None:
    """For the first moments of a program, in which it imports and reads its command line.

    Ctrl-C there would show the reader a traceback of whatever was being imported, and `--help |
    head` one of the output that is closed: the program ends without. `take_signals` ends this.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def take_signals() -> None:
    """From now on Ctrl-C and a closed output are exceptions again: something is to be ended in
    order."""
    if signal.getsignal(signal.SIGINT) == _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGPIPE") and signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def comes_of_ctrl_c(error: BaseException) -> bool:
    """Whether an error only passes on a Ctrl-C, as an import does that was cut off by one."""
    if isinstance(error, KeyboardInterrupt):
        return True
    if not isinstance(error, ImportError | SystemError):
        return False
    causes = (str(error), repr(error.__cause__), repr(error.__context__))
    return any("KeyboardInterrupt" in text for text in causes)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{NOTHING_STARTED}\n".encode())
    os._exit(EXIT_CODE_INTERRUPTED)


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


def repeat_lost_interrupts() -> None:
    """Where Python cannot raise, such as between two steps of an import, it prints that it ignores
    a Ctrl-C and goes on: have it come again a moment later, silently."""
    before = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            before(found)
            return
        again = threading.Timer(REPEAT_AFTER_S, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = hook


def uninterrupted(task: Callable[[], None]) -> None:
    """Do it to its end, or do not begin; an interrupt of the caller is raised after that.

    It runs in a thread, as Python delivers signals to the main one only. What it raises is raised
    here.
    """
    # `Thread.join` takes a thread for ended when it has been interrupted once.
    may_begin, ended, is_cancelled = threading.Event(), threading.Event(), False
    errors: list[BaseException] = []

    def run() -> None:
        may_begin.wait()
        if is_cancelled:
            return
        try:
            task()
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="uninterrupted")
    try:
        thread.start()
        may_begin.set()
        ended.wait()
    except BaseException:
        is_cancelled = not may_begin.is_set()
        may_begin.set()  # once more, as an interrupt may have cut it off
        if not is_cancelled:
            ended.wait()
        raise
    if errors:
        raise errors[0]
