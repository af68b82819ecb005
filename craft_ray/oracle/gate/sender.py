"""One HTTP attempt: a request goes, and its whole reply comes back, or why it did not."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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


_ONE_REPLY = {"Connection": "close"}
"""A connection carries one request. On one that is used again, a reply that came twice would be
taken for the answer to the next request, and a server that closes what is idle would leave us not
knowing whether the next request was billed."""

# At INFO it writes each address, and some endpoints take the key in their address.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class _Limit:
    """A context that ends the connections of an attempt that takes too long: the client's own
    timeouts are of each read, so one byte a second would keep it for ever.

    Args:
        seconds: from its beginning.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._streams: list[Any] = []
        self.is_over = False

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What the client tells of its steps."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._streams.append(info["return_value"])
            if self.is_over:
                self._end()

    def _end(self) -> None:
        self.is_over = True
        for stream in list(self._streams):
            with suppress(OSError):  # it has ended by itself, or TLS has taken it over
                # Of TLS too: its own method is not for another thread than the one that reads.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


class Sender:
    """A client of one endpoint; threads may share it. Redirects are not followed, certificates are
    verified, and proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).

    Raises:
        OracleError: the environment's proxies cannot be.
    """

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._was_reached = False
        problem = None
        try:
            self._client = httpx2.Client(
                headers={**_ONE_REPLY, **(settings.secret.headers() if settings.secret else {})},
                timeout=httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s),
                limits=httpx2.Limits(max_connections=MOST_AT_ONCE),
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
        limit = _Limit(self._settings.timeout_s)
        try:
            with limit:
                return self._reply(request, key, limit)
        except _NOT_SENT as error:
            remedy = self._remedy(error)
            return Broken(self._words(error) + remedy, was_sent=False, again=not remedy)
        except _WRONG as error:
            return Broken(self._words(error), was_sent=False, again=False)
        except httpx2.TimeoutException as error:
            return Broken(self._words(error), was_slow=True)
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            return self._too_slow() if limit.is_over else Broken(self._words(error))

    def _too_slow(self) -> Broken:
        whole = f"the reply was not whole after {self._settings.timeout_s:g} s"
        return Broken(whole, was_slow=True)

    def _reply(self, request: Request, key: str, limit: _Limit) -> Reply | Broken:
        settings = self._settings
        body = bytearray()
        with self._client.stream(
            request.method,
            address(settings.url, request.path),
            headers={**request.headers, "Idempotency-Key": key},
            content=request.body,
            extensions={"trace": limit.trace},
        ) as response:
            self._was_reached = True
            for piece in response.iter_bytes():
                body += piece
                if len(body) > settings.max_reply_bytes:
                    return Broken(
                        f"the reply is larger than {settings.max_reply_bytes} bytes; lower "
                        "oracle.limits.images",
                        again=False,
                    )
                if limit.is_over:
                    break
            if limit.is_over:  # a reply without a length ends with its connection
                return self._too_slow()
            return Reply(response.status_code, dict(response.headers), bytes(body))

    def _remedy(self, error: BaseException) -> str:
        """Of what will not pass by itself; empty for what may."""
        if _CERTIFICATE in str(error):
            return "; the certificate of the endpoint is not trusted: look at oracle.url"
        cause: BaseException | None = error
        while cause is not None:
            # A name that was known before is unknown for a while only.
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                return "" if self._was_reached else "; no such host: look at oracle.url"
            cause = cause.__cause__ or cause.__context__
        return ""

    def _words(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        return self._settings.mask(f"{type(error).__name__}: {said}" if said else repr(error))
