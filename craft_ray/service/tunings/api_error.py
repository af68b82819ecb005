"""What goes wrong in a request, as OpenAI's clients read it."""

from __future__ import annotations

from typing import Any

from craft_ray.service.meter.terms import Refusal

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer other than 200.

    Args:
        status: of HTTP.
        message: for people: the field, the law, the value, the remedy.
        code: for programs.
        param: the parameter that was wrong; None: none in particular.
        retry_after_s: when the same request may be taken; None: waiting does not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def as_dict(self) -> dict[str, Any]:
        """As the field `error` of a job."""
        return {"code": self.code, "message": self.message, "param": self.param}

    def body(self) -> dict[str, Any]:
        """Of the answer."""
        kind = _TYPES.get(self.status)
        if kind is None:
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {**self.as_dict(), "type": kind}}


def not_found(what: str, identity: str) -> ApiError:
    """For what is not there and for what belongs to another key: nobody can tell the two apart.

    Args:
        what: as `file`.
        identity: that was asked for.
    """
    return ApiError(404, f"{what} {identity[:80]!r} must exist, but does not", "not_found", "id")


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """For a value that breaks a law."""
    return ApiError(400, message, code, param)


def refused(refusal: Refusal) -> ApiError:
    """What the meter said."""
    return ApiError(
        refusal.status, refusal.detail, refusal.code, retry_after_s=refusal.retry_after_s
    )
