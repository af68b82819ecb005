"""How long an endpoint asks to wait, in all the ways that endpoints say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from craft_ray.oracle.endpoints.wire import lower

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?",
    re.ASCII,
)
_DURATION_UNITS = (86400, 3600, 60, 1, 0.001)
_RESET_OF_POLICY = re.compile(r";\s*r=(\d{1,15})\s*;\s*t=(\d{1,15})", re.ASCII)

_IN_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset")
_KINDS = ("requests", "tokens")

_FIRST_UNIX_SECOND = 10**9
"""2001: a number of seconds from here on is a time, not a duration."""
_FIRST_UNIX_MILLISECOND = 10**11


def seconds_to_wait(headers: Mapping[str, str], now: float) -> float | None:
    """What the headers of a refusal say, the most explicit first.

    `retry-after-ms`; `Retry-After` in seconds or as a date; `RateLimit: "name";r=0;t=55`; and
    `x-ratelimit-reset` (seconds, Unix time in seconds or milliseconds, an ISO date, or `6m0s`),
    also with `-requests` and `-tokens` behind: the later one of those that are used up.
    What cannot be read is passed over.

    Args:
        headers: of the reply.
        now: Unix time, in seconds; where a reply has its server's own, in `Date`, that counts: a
            clock that is wrong here would ask for too long a wait, or for none.

    Returns:
        Seconds, at least 0. None: nothing is said.
    """
    by_name = {name: value.strip() for name, value in lower(headers).items()}
    server_time = _until_date(by_name.get("date", ""), 0)
    now = now if server_time is None else server_time
    for name in _IN_MILLISECONDS:
        value = by_name.get(name, "")
        if _NUMBER.fullmatch(value):
            return float(value) / 1000
    wait = _until(by_name.get("retry-after", ""), now)
    if wait is None:
        wait = _of_policy(by_name)
    return _of_resets(by_name, now) if wait is None else wait


def _of_policy(headers: Mapping[str, str]) -> float | None:
    """The longest of the quotas that are used up (IETF draft of the RateLimit headers)."""
    quotas = _RESET_OF_POLICY.findall(headers.get("ratelimit", ""))
    return max((float(reset) for left, reset in quotas if int(left) == 0), default=None)


def _of_resets(headers: Mapping[str, str], now: float) -> float | None:
    for name in _RESETS:
        wait = _until(headers.get(name, ""), now)
        if wait is not None:
            return wait
    waits = {kind: _until(headers.get(f"{_RESETS[0]}-{kind}", ""), now) for kind in _KINDS}
    known = {kind: wait for kind, wait in waits.items() if wait is not None}
    used_up = [
        wait
        for kind, wait in known.items()
        if re.fullmatch(r"-?0+(\.0*)?", headers.get(f"x-ratelimit-remaining-{kind}", ""))
    ]
    return max(used_up or known.values(), default=None)


def _until(value: str, now: float) -> float | None:
    """Seconds until what a number, a duration or a date says."""
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number >= _FIRST_UNIX_MILLISECOND:
            return max(number / 1000 - now, 0)
        return max(number - now, 0) if number >= _FIRST_UNIX_SECOND else number
    duration = _DURATION.fullmatch(value)
    if value and duration:
        parts = zip(duration.groups(), _DURATION_UNITS, strict=True)
        return sum(float(part) * unit for part, unit in parts if part)
    return _until_date(value, now)


def _until_date(value: str, now: float) -> float | None:
    """Of an HTTP date or an ISO date; one without a zone is in UTC."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(value)
            moment = date if date.tzinfo else date.replace(tzinfo=UTC)
            return max(moment.timestamp() - now, 0)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None
