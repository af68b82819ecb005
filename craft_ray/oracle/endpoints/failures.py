"""What to do after a refusal, and whether what was asked may have been billed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from craft_ray.oracle.endpoints.parts import halves
from craft_ray.oracle.endpoints.waiting import seconds_to_wait
from craft_ray.oracle.endpoints.wire import Part, Reply, Request

Action = Literal["retry", "split", "never"]
"""`retry`: send it once more, after `Verdict.wait_s` if that is known. `split`: send its halves
instead. `never`: it will be refused each time."""
Billed = Literal["no", "possibly"]

_QUOTED = 300
_READ = 4_000_000
"""Bytes of a refusal that are looked through for its words; some repeat what was sent."""
_SECRETS = re.compile(
    r"(?i)(bearer\s+|api[-_ ]?key[\"'=:\s]+|\b(?:sk|hf|nvapi|jina|pa|xai)[-_])[^\s\"',}]{4,}"
)
"""What looks like a key: some servers repeat it when they refuse it."""

_REMEDIES = {
    400: "the request is not understood: is oracle.dialect the right one?",
    401: "the key is missing or wrong: --key-env (oracle.api_key_env) names the variable with it",
    402: "the account has nothing left to spend",
    403: "the key may not do this, or its quota is used up",
    404: "nothing answers there: look at oracle.url, oracle.dialect and oracle.model",
    405: "nothing takes this there: look at oracle.url and oracle.dialect",
    413: "the request is too large: lower oracle.limits.bytes or oracle.limits.images",
    422: "the request is not taken: look at oracle.dialect, oracle.model and oracle.limits",
}
_AGAIN = frozenset({408, 409, 425, 429})
_NO_MONEY = ("insufficient_quota", "budget_exceeded", "quota_exhausted", "insufficient_balance")


@dataclass(frozen=True)
class Verdict:
    """What a refusal means.

    Attributes:
        action: what to do.
        billed: `no` if it was refused before any work; else it may have been billed.
        message: status, the server's own words (keys masked), and what to do.
        wait_s: how long the endpoint asks to wait before a retry. None: it does not say.
    """

    action: Action
    billed: Billed
    message: str
    wait_s: float | None = None


def classify_status(request: Request, reply: Reply, now: float) -> Verdict | None:
    """What a reply's status means, where nothing is known of the dialect.

    Refusals (4xx) are not billed. Failures (5xx) may have been. A server that says
    `x-should-retry` decides that itself.

    Args:
        request: that was sent.
        reply: to it.
        now: Unix time, in seconds.

    Returns:
        None: it is an answer, to be decoded.
    """
    status = reply.status
    if 200 <= status < 300:
        return None
    said = quoted(reply.body)
    # A timeout (408) may come after the work was done.
    billed: Billed = "no" if status < 500 and status != 408 else "possibly"
    wait_s = seconds_to_wait(reply.headers, now)
    asked = (reply.header("x-should-retry") or "").strip().lower()
    again = (status in _AGAIN or status >= 500) and status not in (501, 505)
    if any(word in said.lower() for word in _NO_MONEY) and status < 500:
        return Verdict("never", billed, f"status {status}: {said}; {_REMEDIES[402]}")
    if asked == "true" or (again and asked != "false"):
        return Verdict("retry", billed, f"status {status}: {said}", wait_s)
    remedy = "look at oracle.url" if status < 400 else _REMEDIES.get(status, "it is not retried")
    if status == 413 and can_split(request.part):
        return Verdict("split", billed, f"status {status}: {said}; {remedy}")
    return Verdict("never", billed, f"status {status}: {said}; {remedy}")


def classify_broken(problem: str, *, was_sent: bool) -> Verdict:
    """What it means that no reply came, or not the whole of it.

    Args:
        problem: in words; no secrets.
        was_sent: whether the request may have reached the endpoint. False only where the
            connection was never made.
    """
    return Verdict("retry", "possibly" if was_sent else "no", problem)


def can_split(part: Part) -> bool:
    """Whether a request can be sent as two."""
    return bool(halves(part))


def quoted(body: bytes) -> str:
    """A server's own words, short, on one line, with what looks like a key masked."""
    whole = body[:_READ].decode("utf-8", errors="replace")
    text = whole[:8192]
    if looks_like_html(text):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page{f' ({title.group(1).strip()})' if title else ''}"
    else:
        text = _message_in(whole) or text
    text = " ".join(_SECRETS.sub(r"\1***", text).split())
    return (text[:_QUOTED] + "..." if len(text) > _QUOTED else text) or "(nothing)"


def looks_like_html(text: str) -> bool:
    """Whether a page for people came in place of an answer."""
    return text.lstrip("\ufeff \t\r\n")[:15].lower().startswith(("<!doctype", "<html", "<head"))


def _message_in(text: str) -> str | None:
    """Of the usual JSON errors: `error.message`, `error`, `message`, `detail`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    error = document.get("error") if isinstance(document, Mapping) else None
    details = document.get("detail") if isinstance(document, Mapping) else None
    if isinstance(details, list):  # FastAPI's 422, which repeats the images that were sent
        said = [item["msg"] for item in details if isinstance(item, Mapping) and "msg" in item]
        if said:
            return "; ".join(str(message) for message in said)
    for place in (error, document):
        if isinstance(place, str):
            return place
        if isinstance(place, Mapping):
            words = [
                place[key]
                for key in ("code", "type", "title", "message", "detail")
                if isinstance(place.get(key), str)
            ]
            if words:
                return ": ".join(dict.fromkeys(words))
    return None
