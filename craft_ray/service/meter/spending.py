"""Pairs of each key, period and route: reserved, then charged. What a transaction does to them."""

from __future__ import annotations

from dataclasses import dataclass

from craft_ray.files.database import Database
from craft_ray.service.meter.keys import Key
from craft_ray.service.meter.quota import period_at
from craft_ray.service.meter.terms import Balance, Usage


@dataclass(frozen=True)
class Account:
    """Where pairs are written down: a key's period, and the route that was asked."""

    key_id: str
    period: int
    route: str


@dataclass(frozen=True)
class RouteTotal:
    """What a key has used of a route since it was made."""

    route: str
    requests: int
    pairs: int


class Spending:
    """The table of spent pairs.

    Args:
        database: of `open_keys`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, account: Account, pairs: int) -> None:
        """They count as spent from now on."""
        self._database.write(
            "INSERT INTO spent VALUES (?, ?, ?, 0, ?, 0) ON CONFLICT DO UPDATE "
            "SET reserved = reserved + excluded.reserved",
            (account.key_id, account.period, account.route, pairs),
        )

    def release(self, account: Account, pairs: int) -> None:
        """Give back what was reserved."""
        self._change(account, "reserved = reserved - ?", pairs)

    def charge(self, account: Account, pairs: int) -> None:
        """Of one request that was answered."""
        self._change(account, "requests = requests + 1, charged = charged + ?", pairs)

    def _change(self, account: Account, how: str, pairs: int) -> None:
        self._database.write(
            f"UPDATE spent SET {how} WHERE key_id = ? AND period = ? AND route = ?",
            (pairs, account.key_id, account.period, account.route),
        )

    def spent(self, key_id: str, period: int) -> int:
        """Reserved and charged pairs."""
        [(spent,)] = self._database.read(
            "SELECT coalesce(sum(reserved + charged), 0) FROM spent "
            "WHERE key_id = ? AND period = ?",
            (key_id, period),
        )
        return int(spent)

    def balance(self, key: Key, now: float) -> Balance:
        """Of the period that runs."""
        period = period_at(now, key.created, key.period_s)
        return Balance(self.spent(key.key_id, period.number), key.pairs)

    def usage(self, key: Key, now: float) -> Usage:
        """Of the period that runs."""
        period = period_at(now, key.created, key.period_s)
        rows = self._database.read(
            "SELECT route, requests, reserved, charged FROM spent WHERE key_id = ? AND period = ?",
            (key.key_id, period.number),
        )
        return Usage(
            key.key_id,
            key.name,
            Balance(sum(row[2] + row[3] for row in rows), key.pairs),
            period.ends,
            sum(row[1] for row in rows),
            {route: charged for route, requests, _, charged in rows if requests},
        )

    def totals(self, key_id: str) -> list[RouteTotal]:
        """Of all periods."""
        rows = self._database.read(
            "SELECT route, sum(requests), sum(charged) FROM spent WHERE key_id = ? "
            "GROUP BY route ORDER BY route",
            (key_id,),
        )
        return [RouteTotal(*row) for row in rows if row[1]]
