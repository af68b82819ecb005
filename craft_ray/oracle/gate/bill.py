"""What an endpoint bills: units by kind, what they cost, and both as one bill. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from craft_ray.config.money import billed_money
from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import Price
from craft_ray.oracle.endpoints.wire import Request, Units

logger = logging.getLogger(__name__)

PARTS_OF_COST = 10**10
"""Costs are added as whole numbers of these parts of the currency, so that no sum is rounded. The
file has room for 900 million of the currency, of which some are worth little."""
_NAMES = {"request": "requests", "image": "images", "text": "texts"}
_NAMES |= {"pair": "pairs", "token": "tokens"}
_TOKENS_AROUND = 2
"""Beginning and end of a text."""


@dataclass(frozen=True)
class BilledUnits:
    """Counts by kind. A request that compares images with texts counts its images, its texts and
    its pairs: the price says which of them costs.

    Attributes:
        tokens: what the endpoint has told, or else at most so many. 0 where tokens cost nothing.
        told: what the endpoint says it has counted, beside our own counts. None: not told.
    """

    requests: int = 0
    images: int = 0
    texts: int = 0
    pairs: int = 0
    tokens: int = 0
    told: Units = field(default_factory=Units)

    def __add__(self, other: BilledUnits) -> BilledUnits:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _NAMES.values()}
        return BilledUnits(**sums, told=_told_together(self.told, other.told))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: value for name, value in asdict(self.told).items() if value is not None}
        return {name: getattr(self, name) for name in _NAMES.values()} | {"told": told}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> BilledUnits:
        """What `as_dict` has given."""
        counts = {name: int(document.get(name, 0)) for name in _NAMES.values()}
        return cls(**counts, told=Units(**document.get("told", {})))


@dataclass(frozen=True)
class Bill:
    """What was asked of an endpoint, and what that costs.

    Attributes:
        answered: what has answers.
        possibly: what was sent and has no answer: it may have been billed, or not.
        refused: attempts that the endpoint refused without work; they cost nothing.
        cost_answered, cost_possibly: at the prices given.
        currency: of both. Empty: no prices are known.
    """

    answered: BilledUnits = field(default_factory=BilledUnits)
    possibly: BilledUnits = field(default_factory=BilledUnits)
    refused: int = 0
    cost_answered: float = 0.0
    cost_possibly: float = 0.0
    currency: str = ""

    @property
    def cost(self) -> float:
        """At most."""
        return self.cost_answered + self.cost_possibly

    def __add__(self, other: Bill) -> Bill:
        """Both together.

        Raises:
            OracleError: they are in different currencies.
        """
        return Bill(
            self.answered + other.answered,
            self.possibly + other.possibly,
            self.refused + other.refused,
            self.cost_answered + other.cost_answered,
            self.cost_possibly + other.cost_possibly,
            _one_currency({self.currency, other.currency}),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        units = {"answered": self.answered.as_dict(), "possibly": self.possibly.as_dict()}
        others = {item.name: getattr(self, item.name) for item in fields(self)[2:]}
        return units | others

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Bill:
        """What `as_dict` has given."""
        return cls(
            BilledUnits.from_dict(document["answered"]),
            BilledUnits.from_dict(document["possibly"]),
            int(document["refused"]),
            float(document["cost_answered"]),
            float(document["cost_possibly"]),
            str(document["currency"]),
        )

    def words(self, *, is_needed: bool = True) -> str:
        """For people: `640 images, 120 texts in 52 requests: 0.0213 USD; possibly billed 2
        texts in 1 request more: 0.0004 USD`.

        Args:
            is_needed: whether any answer was, so that what was not asked was there.
        """
        if not (self.answered.requests or self.possibly.requests or self.refused):
            return f"nothing: {'all answers were there' if is_needed else 'no answer was needed'}"
        said = [_line(self.answered)]
        if self.possibly.requests:
            said.append(f"possibly billed {_line(self.possibly)} more")
        if self.currency:
            said[0] += f": {billed_money(self.cost_answered, self.currency)}"
            said[1:] = [
                f"{line}: {billed_money(self.cost_possibly, self.currency)}" for line in said[1:]
            ]
        if self.refused:
            said.append(f"{_counted(self.refused, 'attempts')} refused, not billed")
        return "; ".join(said)

    def sentence(self, *, is_needed: bool = True) -> str:
        """The same, as it stands alone."""
        return f"The endpoint was asked for {self.words(is_needed=is_needed)}."


def _line(units: BilledUnits) -> str:
    counted = [(name, getattr(units, name)) for name in ("images", "texts", "pairs", "tokens")]
    told = [] if units.tokens else [("tokens", units.told.tokens or 0)]
    asked = [_counted(number, name) for name, number in counted + told if number]
    return (f"{', '.join(asked)} in " if asked else "") + _counted(units.requests, "requests")


@dataclass(frozen=True)
class PriceList:
    """What one request costs, by unit.

    Raises:
        OracleError: more than one currency, or a unit twice.
    """

    prices: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        _one_currency({price.currency for price in self.prices})
        units = [price.unit for price in self.prices]
        if len(set(units)) < len(units):
            raise OracleError("prices: must have each unit once, but one is there twice")

    @property
    def currency(self) -> str:
        return self.prices[0].currency if self.prices else ""

    def has(self, unit: str) -> bool:
        """Whether a unit costs anything."""
        return any(price.unit == unit and price.amount > 0 for price in self.prices)

    def cost_of(self, units: BilledUnits) -> int:
        """In `PARTS_OF_COST`, rounded up. Seconds are not counted."""
        cost = Decimal(0)
        for price in self.prices:
            if price.unit in _NAMES:
                cost += Decimal(str(price.amount)) * getattr(units, _NAMES[price.unit])
        return int((cost * PARTS_OF_COST).to_integral_value(ROUND_CEILING))

    def check_bounded(self, max_cost: float | None) -> None:
        """Raise OracleError where a bound in money could not be kept."""
        if max_cost is None:
            return
        if not 0 <= max_cost < float("inf"):
            raise OracleError(f"max_cost: must be at least 0, but got {max_cost}")
        if self.has("second"):
            raise OracleError(
                "max_cost: must not be there where a second has a price, because nobody "
                "knows before how many seconds the endpoint will take; leave it out, or give the "
                "price of a request"
            )
        if not self.prices:
            raise OracleError(
                f"oracle.prices: must be there with max_cost ({max_cost}), because nothing "
                "is bounded without them"
            )


def units_asked(request: Request, prices: PriceList, tokens_per_image: int | None) -> BilledUnits:
    """What a request may be billed for at most.

    Tokens are not known before: a text has at most one for each of its bytes and two around it,
    and no more bytes than the whole body of its request.

    Raises:
        OracleError: tokens have a price, and nobody has said how many an image has.
    """
    images, texts = len(request.part.images), len(request.part.texts)
    pairs = request.units.pairs or images * texts
    tokens = 0
    if prices.has("token"):
        if images and tokens_per_image is None:
            raise OracleError(
                "oracle.tokens_per_image: must be there, because tokens have a price and images "
                "are asked about; the endpoint's documentation says how many an image has at most"
            )
        tokens = images * (tokens_per_image or 0)
        tokens += len(request.body) + texts * _TOKENS_AROUND if texts else 0
    return BilledUnits(1, images, texts, pairs, tokens)


def settled(asked: BilledUnits, told: Units, prices: PriceList) -> BilledUnits:
    """What an answered request is billed for: tokens as the endpoint tells them, if it does."""
    tokens = asked.tokens
    if told.tokens is not None and prices.has("token"):
        tokens = told.tokens
    return BilledUnits(asked.requests, asked.images, asked.texts, asked.pairs, tokens, told)


class TokensTold:
    """What an endpoint tells of tokens beyond what was expected, apart for requests with images and
    without: the next ones are expected to have more, too, so that the money still covers them.
    """

    def __init__(self) -> None:
        self._factors = {True: Fraction(1), False: Fraction(1)}

    def expected(self, units: BilledUnits) -> BilledUnits:
        """What a request may be billed for, after all that was told."""
        return replace(units, tokens=ceil(units.tokens * self._factors[units.images > 0]))

    def learn(self, asked: BilledUnits, billed: BilledUnits) -> None:
        """An answer has told its tokens."""
        has_images = asked.images > 0
        if asked.tokens * self._factors[has_images] >= billed.tokens or not asked.tokens:
            return
        logger.warning(
            "the endpoint counts %d tokens for %s, of which %d were expected at most%s; from now "
            "on so many more are expected",
            *(billed.tokens, _line(replace(asked, tokens=0)), asked.tokens),
            " (oracle.tokens_per_image)" if has_images else "",
        )
        self._factors[has_images] = Fraction(billed.tokens, asked.tokens)


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name if number != 1 else name[:-1]}"


def _told_together(one: Units, other: Units) -> Units:
    return Units(**{item.name: _sum(one, other, item.name) for item in fields(Units)})


def _sum(one: Units, other: Units, name: str) -> int | None:
    told = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
    return sum(told) if told else None


def _one_currency(currencies: set[str] | Sequence[str]) -> str:
    known = sorted(set(currencies) - {""})
    if len(known) > 1:
        raise OracleError(f"prices: must be in one currency, but got {', '.join(known)}")
    return known[0] if known else ""
