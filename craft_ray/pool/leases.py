"""What holders want of the autoscaler, each for as long as it keeps saying so. Pure: time is an
argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Bundle = Mapping[str, float]
"""Resources that one replica takes, as Ray names them."""


@dataclass(frozen=True)
class _Lease:
    bundle: Bundle
    count: int
    until_s: float


class Leases:
    """The sum of all that is wanted. Who dies says nothing any more, and is forgotten.

    Args:
        lease_s: how long a word is good.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._leases: dict[str, _Lease] = {}

    def renew(self, holder: str, bundle: Bundle, count: int, now_s: float) -> None:
        """`holder` wants this, in place of what it wanted before."""
        self._leases[holder] = _Lease(bundle, count, now_s + self._lease_s)

    def release(self, holder: str) -> None:
        """`holder` wants nothing more."""
        self._leases.pop(holder, None)

    def bundles(self, now_s: float) -> list[dict[str, float]]:
        """Everything that is wanted now, in a fixed order."""
        self._expire(now_s)
        return [
            dict(lease.bundle)
            for _, lease in sorted(self._leases.items())
            for _ in range(lease.count)
        ]

    def has_holders(self, now_s: float) -> bool:
        """Whether anybody still speaks."""
        self._expire(now_s)
        return bool(self._leases)

    def _expire(self, now_s: float) -> None:
        self._leases = {
            holder: lease for holder, lease in self._leases.items() if lease.until_s > now_s
        }
