"""What a meter is asked and what it says, as plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["predict", "score", "features", "tune", "metrics"]
"""What a key may be good for. `predict`: logits or probabilities, and the Hugging Face route;
`score`: losses; `features`: embeddings; `tune`: files, fine-tunings and their classifiers;
`metrics`: what all keys have asked, for the owner's Prometheus."""

LOCAL_KEY = "local"
"""Id of the one caller of a service without keys, who has all scopes and no quota."""


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    key_id: str
    """Public: it names the key in lists, metrics and folders, and opens nothing."""
    name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True)
class Rate:
    """Requests of a key in the minute that runs."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True)
class Refusal:
    """Why a request is not taken, as an HTTP answer will say it.

    Attributes:
        status: of HTTP: 401, 403, 409, 422 or 429.
        code: for programs: `unknown_key`, `no_scope`, `quota_exhausted`, `too_many_requests`,
            `still_running`, `another_body`.
        detail: for people.
        retry_after_s: when the same request may be taken; None where waiting does not help.
        caller: who was refused; None: nobody knows.
        rate: of the caller; None: there is no limit of requests, or no caller.
    """

    status: int
    code: str
    detail: str
    retry_after_s: float | None = None
    caller: Caller | None = None
    rate: Rate | None = None


@dataclass(frozen=True)
class Admitted:
    """A request that costs nothing may be answered."""

    caller: Caller
    rate: Rate | None = None
    """None: the key has no limit of requests."""


@dataclass(frozen=True)
class Asked:
    """A request that costs something.

    Attributes:
        route: which, as `predict`; the same Idempotency-Key on another route is another request.
        pairs: that it asks about, each one image compared with one prompt; an embedding of one
            image or text is one as well. These are reserved.
        idempotency_key: of the client.
        body_digest: SHA-256 of the body: the same key with another body is a mistake.
        holder: which process answers it; if it is not heard of any more (`Meter.alive`), somebody
            else may. Empty: the reservation stays until it is settled or refunded, as of a tuning.
        attempt: names this one attempt of the holder's, so that `begin` may be repeated if its
            reply was lost: the same attempt gets the same answer. Empty, with a holder: each call
            is an attempt of its own (`MeterClient` names them); without a holder: all calls are
            the same attempt, so that a tuning that is resumed finds its reservation.
    """

    route: str
    pairs: int
    idempotency_key: str
    body_digest: str
    holder: str = ""
    attempt: str = ""


@dataclass(frozen=True)
class Balance:
    """Of a key in the period that runs."""

    spent: int
    """Pairs, with those that are reserved."""
    quota: int | None
    """None: no limit."""

    @property
    def remaining(self) -> int | None:
        """Pairs that may still be asked."""
        return None if self.quota is None else max(0, self.quota - self.spent)


@dataclass(frozen=True)
class Stored:
    """An answer that is kept for its repetition."""

    file: str
    """Below the folder of answers. Empty: it was settled without an answer, as a tuning is."""
    media_type: str
    pairs: int
    """That were charged for it."""


@dataclass(frozen=True)
class Begun:
    """The pairs are reserved: answer, then settle or refund."""

    request_id: str
    caller: Caller
    balance: Balance
    rate: Rate | None = None


@dataclass(frozen=True)
class Replayed:
    """It was answered before; nothing is charged."""

    caller: Caller
    answer: Stored
    balance: Balance
    rate: Rate | None = None


@dataclass(frozen=True)
class Usage:
    """What a key has used in the period that runs."""

    key_id: str
    name: str
    balance: Balance
    period_ends: float | None
    """Seconds of the epoch; None: there is no period."""
    requests: int
    by_route: dict[str, int]
    """Pairs that were charged."""
