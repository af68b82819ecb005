"""Errors with an exit code, printed without a traceback; anything else that escapes is a defect.

`UserError`s (exit code 2) name the field or file, the law and the value.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

EXIT_CODE_FAILED = 1
EXIT_CODE_USER_ERROR = 2
EXIT_CODE_INTERRUPTED = 130
EXIT_CODE_NOT_READ = 141
"""As a shell shows it of a program whose output nobody reads any more (SIGPIPE)."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""`OSError.errno` of a disk, or a share of it, that takes no more."""


class UserError(ValueError):
    """Base of all errors that the user can mend."""


class ConfigError(UserError):
    """One or more settings break a law; all of them are reported at once."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(
            f"{source}: " + "\n  ".join(["", *problems] if len(problems) > 1 else problems)
        )


class DataError(UserError):
    """A data set, split or image cannot be used as it is."""


class OracleError(UserError):
    """The oracle refused a request: unknown handle, wrong shape, unsupported model."""


class BudgetError(UserError):
    """A request would exceed a budget of candidate queries or of money; nothing was spent."""


class MoneySpentError(BudgetError):
    """The next request to an endpoint could exceed the money that may be spent; it was not sent."""


class TrackingError(UserError):
    """The experiment tracker cannot be reached at set-up."""


class ArtifactError(UserError):
    """A stored prompt and head cannot be read or does not fit the oracle."""


class StorageError(OSError):
    """An object store has refused a request, or did not answer."""


class RunInterruptedError(Exception):
    """The user stopped a run; what was done so far can be continued."""


class RunFailedError(RuntimeError):
    """A run came to its end without a result, through no mistake in its settings."""


class EndpointUnavailableError(RunFailedError):
    """An endpoint does not answer now, or asks to wait longer than is allowed; what was paid for is
    on record, and `--resume` continues."""


class PoolError(RunFailedError):
    """The replicas could not answer after all permitted attempts."""


def last_words(error: BaseException) -> str:
    """The last line of an error that has come through Ray: its cause, after all tracebacks."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return re.sub(rf"^{re.escape(__name__)}\.\w+: ", "", line)
