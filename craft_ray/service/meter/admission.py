"""Who may ask, and how often."""

from __future__ import annotations

from craft_ray.service.meter import refusals
from craft_ray.service.meter.key_table import KeyRing
from craft_ray.service.meter.keys import NOBODYS_KEY, Key, id_in, opens
from craft_ray.service.meter.quota import Rates
from craft_ray.service.meter.terms import LOCAL_KEY, Rate, Refusal, Scope


class Admission:
    """Keys, and requests of the minute that runs; threads may share it.

    Args:
        ring: the keys; None: there is one caller, who needs none.
    """

    def __init__(self, ring: KeyRing | None) -> None:
        self._ring, self._rates = ring, Rates()

    def keys(self) -> dict[str, Key]:
        """By id, revoked ones too."""
        return {LOCAL_KEY: NOBODYS_KEY} if self._ring is None else self._ring.keys()

    def key(self, key_id: str) -> Key:
        """That of an id.

        Raises:
            ValueError: there is none.
        """
        key = self.keys().get(key_id)
        if key is None:
            raise ValueError(f"key_id must be of a key, but got {key_id!r}")
        return key

    def admit(
        self, token: str | None, scope: Scope | None, now: float
    ) -> tuple[Key, Rate | None] | Refusal:
        """Whose token it is; the request counts as one of the minute."""
        key = self._owner_of(token)
        if isinstance(key, Refusal):
            return key
        is_room, rate = self._rates.count(key.key_id, key.per_minute, now)
        if rate is not None and not is_room:
            return refusals.too_many(key, rate)
        if scope is not None and scope not in key.scopes:
            return refusals.no_scope(key, scope, rate)
        return key, rate

    def _owner_of(self, token: str | None) -> Key | Refusal:
        if self._ring is None:
            return NOBODYS_KEY
        if token is None:
            return refusals.unknown_key("must be given as `Authorization: Bearer KEY`, but is not")
        key = self._ring.keys().get(id_in(token) or "")
        if not opens(token, key) or key is None:
            return refusals.unknown_key("must be one that works, but is unknown or revoked")
        return key
