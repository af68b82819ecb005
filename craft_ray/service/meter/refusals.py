"""What is said to whom a meter refuses."""

from __future__ import annotations

from craft_ray.service.meter.keys import Key
from craft_ray.service.meter.terms import Balance, Rate, Refusal, Scope


def unknown_key(problem: str) -> Refusal:
    """401."""
    return Refusal(401, "unknown_key", f"the key {problem}")


def no_scope(key: Key, scope: Scope, rate: Rate | None) -> Refusal:
    """403: the key is good for other things."""
    detail = f"the key must have the scope {scope}, but has {', '.join(sorted(key.scopes))}"
    return Refusal(403, "no_scope", detail, caller=key.caller, rate=rate)


def quota_exhausted(key: Key, pairs: int, balance: Balance, rate: Rate | None) -> Refusal:
    """403: waiting for a while does not help."""
    detail = (
        f"pairs must be at most what is left of the key's quota, but the request has {pairs:,}, "
        f"and {balance.remaining:,} of {balance.quota:,} are left"
    )
    return Refusal(403, "quota_exhausted", detail, caller=key.caller, rate=rate)


def too_many(key: Key, rate: Rate) -> Refusal:
    """429: the next minute helps."""
    detail = f"requests must be at most {rate.limit} a minute: wait for {rate.reset_s:.0f} s"
    return Refusal(429, "too_many_requests", detail, rate.reset_s, key.caller, rate)


def still_running(key: Key, rate: Rate | None) -> Refusal:
    """409: somebody answers it."""
    detail = "the request with this Idempotency-Key is being answered: repeat it for the answer"
    return Refusal(409, "still_running", detail, 1.0, key.caller, rate)


def another_body(key: Key, rate: Rate | None) -> Refusal:
    """422: a mistake of the client's."""
    detail = "Idempotency-Key must be a new one for another body, but had another body before"
    return Refusal(422, "another_body", detail, caller=key.caller, rate=rate)
