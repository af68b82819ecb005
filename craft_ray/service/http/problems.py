"""Refusals as HTTP says them: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from craft_ray.service.meter.terms import Rate, Refusal

MEDIA_TYPE = "application/problem+json"


def rate_headers(rate: Rate | None) -> dict[str, str]:
    """Of the IETF's draft (draft-ietf-httpapi-ratelimit-headers-09)."""
    if rate is None:
        return {}
    return {
        "RateLimit-Policy": f'"key";q={rate.limit};w=60',
        "RateLimit": f'"key";r={rate.remaining};t={max(1, round(rate.reset_s))}',
    }


class Problem(Exception):  # noqa: N818 (of RFC 9457)
    """A request that is not answered.

    Args:
        status: of HTTP.
        code: for programs.
        detail: for people; names the field, the law and the value.
        retry_after_s: when it may be taken.
        rate: of whoever asks, if there is a limit.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        retry_after_s: float | None = None,
        rate: Rate | None = None,
    ) -> None:
        self.status, self.code, self.detail = status, code, detail
        self.retry_after_s, self.rate = retry_after_s, rate
        super().__init__(detail)

    @classmethod
    def of(cls, refusal: Refusal) -> Problem:
        """What the meter has refused."""
        told = (refusal.status, refusal.code, refusal.detail, refusal.retry_after_s)
        return cls(*told, refusal.rate)

    def headers(self) -> dict[str, str]:
        """Beside the body's own."""
        headers = rate_headers(self.rate)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def document(self) -> dict[str, Any]:
        """The body."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }

    def response(self, more: Mapping[str, str] | None = None, **members: object) -> JSONResponse:
        """As it is sent.

        Args:
            more: headers.
            members: of the document, which whoever does not know them passes over.
        """
        headers = {**self.headers(), **(more or {})}
        document = {**self.document(), **members}
        return JSONResponse(document, self.status, headers, MEDIA_TYPE)
