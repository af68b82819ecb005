"""Whether a command would be understood: checked by the command itself, without its work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from craft_ray.commands import serve, service_tuning
from craft_ray.commands.frame import RunRequest
from craft_ray.commands.program import main


class _Understood(BaseException):
    """The command has read its words; it is stopped here."""


def mistake_in(words: Sequence[str], folder: Path) -> str | None:
    """What `craft-ray WORDS` has against its words, typed in `folder`; None if nothing.

    `tune`, `train` and `reproduce` read their settings before they make a `RunRequest`, `serve`
    before it looks for what it needs, and `tune --service` before it needs a key; of the other
    commands options and arguments are parsed, and no more.
    """
    parse = argparse.ArgumentParser.parse_args

    def only_parsed(self: argparse.ArgumentParser, *given: object) -> NoReturn:
        parse(self, *given)  # type: ignore[call-overload]
        raise _Understood

    def understood(*_: object) -> NoReturn:
        raise _Understood

    errors = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(errors), redirect_stdout(errors):
        patch.setattr(argparse.ArgumentParser, "parse_args", only_parsed)
        patch.setattr(RunRequest, "check", understood)
        patch.setattr(serve, "check_installed", understood)
        patch.setattr(service_tuning, "_key_of", understood)
        patch.chdir(folder)
        try:
            code = main(words)
        except _Understood:
            return None
        except SystemExit as ended:
            code = int(ended.code or 0)
    return errors.getvalue() if code else None
