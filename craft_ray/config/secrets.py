"""Credentials in addresses: out of every setting, file and message, known to this process only.

A tracking address may hold a password (`http://user:password@host`). Settings are dumped, pickled
by Ray and Tune, compared by `--resume` and printed, so they get the masked form at the door; the
one place that connects asks for the real one with `reveal`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = "***"
# Paths of files may hold an @, and no credentials.
_USERINFO = r"(?<!sqlite)(?<!file)://{}@"
_IN_ADDRESS = re.compile(_USERINFO.format(".*"), re.DOTALL)
_IN_TEXT = re.compile(_USERINFO.format(r"\S*"))
_IN_QUERY = re.compile(
    r"([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)
# Shorter ones are words that stand in innocent text.
_MIN_SECRET_LENGTH = 4

_addresses: dict[str, str] = {}
_secrets: set[str] = set()


def conceal(address: str) -> str:
    """The address with `***` for what is secret in it; this process remembers what it was."""
    masked = _IN_QUERY.sub(rf"\1{MASK}", _IN_ADDRESS.sub(f"://{MASK}@", address))
    if masked != address and not is_masked(address):
        _addresses[masked] = address
        _secrets.update(_secrets_of(address))
    return masked


def reveal(address: str) -> str:
    """What `conceal` was given; the address itself if it was given nothing secret."""
    return _addresses.get(address, address)


def is_masked(address: str) -> bool:
    """Whether the address says `***` where a secret must stand."""
    return f"://{MASK}@" in address or f"={MASK}" in address


def mask(text: str) -> str:
    """A message without the credentials of addresses in it, known or not."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _IN_QUERY.sub(rf"\1{MASK}", _IN_TEXT.sub(f"://{MASK}@", text))


def _secrets_of(address: str) -> set[str]:
    """Passwords, as they are written and as a server may say them, and values of the query."""
    found = {match.group().partition("=")[2] for match in _IN_QUERY.finditer(address)}
    if match := _IN_ADDRESS.search(address):
        user, colon, password = match.group()[3:-1].partition(":")
        found.add(password if colon and password else user)
    return {s for f in found for s in (f, unquote(f)) if len(s) >= _MIN_SECRET_LENGTH}
