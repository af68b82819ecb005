"""One HTTP attempt: a request goes, and its whole reply comes back, or why it did not."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import httpx2

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.wire import Reply, Request, address
from craft_ray.oracle.gate.pacing import MOST_AT_ONCE
from craft_ray.oracle.gate.settings import GateSettings

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_WRONG = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True)
class Broken:
    """No reply, or not the whole of it.

    Attributes:
        problem: in words, without secrets.
        was_sent: whether the endpoint may have got the request.
        was_slow: whether the time was over.
        again: whether the next attempt may end otherwise.
    """

    problem: str
    was_sent: bool = True
    was_slow: bool = False
    again: bool = True


# At INFO it writes each address, and some endpoints take the key in their address.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class Sender:
    """A client of one endpoint; threads may share it. Redirects are not followed, certificates are
    verified, and proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).

    Raises:
        OracleError: the environment's proxies cannot be.
    """

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        problem = None
        try:
            self._client = httpx2.Client(
                headers=settings.secret.headers() if settings.secret else {},
                timeout=httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s),
                limits=httpx2.Limits(
                    max_connections=MOST_AT_ONCE, max_keepalive_connections=MOST_AT_ONCE
                ),
                follow_redirects=False,
            )
        except (ValueError, ImportError, *_WRONG) as error:
            problem = settings.mask(f"{type(error).__name__}: {error}")
        if problem:
            raise OracleError(f"oracle.url: the client cannot be made: {problem}")

    def close(self) -> None:
        """Connections are closed."""
        self._client.close()

    def send(self, request: Request, key: str) -> Reply | Broken:
        """Blocks until the whole reply is here, or it is clear that it does not come.

        Args:
            request: to send.
            key: of the request, for the header `Idempotency-Key`.
        """
        # Errors of the client know the request with its headers, so with the key of the account:
        # they are turned into words here, and are nobody's cause.
        try:
            return self._reply(request, key)
        except _NOT_SENT as error:
            is_wrong = _CERTIFICATE in str(error)
            return Broken(self._words(error), was_sent=False, again=not is_wrong)
        except _WRONG as error:
            return Broken(self._words(error), was_sent=False, again=False)
        except httpx2.TimeoutException as error:
            return Broken(self._words(error), was_slow=True)
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            return Broken(self._words(error))

    def _reply(self, request: Request, key: str) -> Reply | Broken:
        settings = self._settings
        deadline = time.monotonic() + settings.timeout_s
        body = bytearray()
        with self._client.stream(
            request.method,
            address(settings.url, request.path),
            headers={**request.headers, "Idempotency-Key": key},
            content=request.body,
        ) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > settings.max_reply_bytes:
                    return Broken(
                        f"the reply is larger than {settings.max_reply_bytes} bytes; lower "
                        "oracle.limits.images",
                        again=False,
                    )
                if time.monotonic() > deadline:
                    return Broken(
                        f"the reply was not whole after {settings.timeout_s:g} s", was_slow=True
                    )
            return Reply(response.status_code, dict(response.headers), bytes(body))

    def _words(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        return self._settings.mask(f"{type(error).__name__}: {said}" if said else repr(error))
