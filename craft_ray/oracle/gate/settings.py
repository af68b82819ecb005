"""What a gate needs to know, and the key that it sends."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import NO_LIMITS, Limits, Price

_MASK = "***"
_FIRST_QUOTED = 4
"""Keys shorter than this are masked in whole messages only as they are: their encoded forms would
be found in ordinary words."""
_SHOWN = 7
"""So many of its first characters may stand somewhere, such as `sk-proj`."""


class Secret:
    """A key. It is shown as `***` and pickled with its value.

    Args:
        value: the key; blanks around it are dropped.
        header: that carries it. `Authorization` gets `Bearer KEY`, any other the key alone
            (`Ocp-Apim-Subscription-Key`, `x-api-key`).

    Raises:
        OracleError: the key is empty or no HTTP header can carry it.
    """

    def __init__(self, value: str, header: str = "Authorization") -> None:
        self._value = value.strip()
        self._header = header
        if not self._value or not self._value.isascii() or not self._value.isprintable():
            raise OracleError(
                "the endpoint's key must be printable ASCII on one line, but it is empty or has "
                "another character: look at the variable (oracle.api_key_env) or the file "
                "(oracle.api_key_file) that it comes from"
            )

    def headers(self) -> dict[str, str]:
        """What identifies the sender."""
        is_bearer = self._header.lower() == "authorization"
        return {self._header: f"Bearer {self._value}" if is_bearer else self._value}

    def mask(self, text: str) -> str:
        """A text without the key, be it plain, quoted for a URL or in base64, and without its
        beginning, where a message was cut in the middle of it."""
        for form in self._forms():
            text = text.replace(form, _MASK)
        for form in self._forms():
            for length in range(len(form) - 1, _SHOWN, -1):
                text = text.replace(form[:length], _MASK)
        return text

    def _forms(self) -> list[str]:
        """The longest first, so that none leaves a rest of another."""
        value = self._value
        if len(value) < _FIRST_QUOTED:
            return [value]
        raw = value.encode()
        encoded = [
            form
            for code in (base64.b64encode, base64.urlsafe_b64encode)
            for form in (code(raw).decode(), code(raw).decode().rstrip("="))
        ]
        forms = {value, quote(value), quote(value, safe=""), quote_plus(value), *encoded}
        return sorted(forms, key=len, reverse=True)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Secret) and self._value == other._value
        return same and self._header == getattr(other, "_header", None)

    def __hash__(self) -> int:
        return hash((self._value, self._header))

    def __repr__(self) -> str:
        return f"Secret({_MASK!r}, header={self._header!r})"

    def __str__(self) -> str:
        return _MASK


@dataclass(frozen=True)
class GateSettings:
    """How an endpoint is asked. It can be pickled, with its key.

    Attributes:
        url: of the endpoint; requests have paths below it.
        secret: the key. None: the endpoint wants none.
        limits: of the endpoint; requests and units a minute and concurrency count here.
        prices: of the endpoint; each unit once, all in one currency.
        max_cost: what may be billed at most, in that currency. None: not bounded.
        timeout_s: for one attempt, from the request to the last byte of the reply.
        longest_wait_s: the endpoint may ask to wait so long, and may be without any answer so
            long; after that the run ends, to be continued.
        max_attempts: of one request, in one process. Probes of an endpoint that is down are not
            counted: `longest_wait_s` bounds them.
        tokens_per_image: at most. Needed where tokens have a price and images are asked about.
        connect_timeout_s: for a connection.
        max_reply_bytes: of one reply.
        first_backoff_s: before the second attempt where the endpoint does not say how long to
            wait; doubled each time.
        longest_backoff_s: and not beyond this.

    Raises:
        OracleError: one of them cannot be.
    """

    url: str
    secret: Secret | None = None
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()
    max_cost: float | None = None
    timeout_s: float = 60.0
    longest_wait_s: float = 120.0
    max_attempts: int = 8
    tokens_per_image: int | None = None
    connect_timeout_s: float = 5.0
    max_reply_bytes: int = 64 * 2**20
    first_backoff_s: float = 0.5
    longest_backoff_s: float = 8.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise OracleError(
                f"oracle.url: must begin with http:// or https://, but got {self.url}"
            )
        for name in ("timeout_s", "longest_wait_s", "connect_timeout_s", "first_backoff_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise OracleError(f"oracle.{name}: must be above 0, but got {getattr(self, name)}")
        for name in ("max_attempts", "max_reply_bytes", "tokens_per_image"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OracleError(f"oracle.{name}: must be at least 1, but got {value}")

    def mask(self, text: str) -> str:
        """A text without the key."""
        return self.secret.mask(text) if self.secret else text
