"""Units, prices and words. Nothing is sent."""

from __future__ import annotations

import json

import pytest

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import Price
from craft_ray.oracle.endpoints.wire import Part, Request, Units
from craft_ray.oracle.gate.bill import (
    PARTS_OF_COST,
    Bill,
    BilledUnits,
    PriceList,
    settled,
    units_asked,
)


def request(images: int = 0, texts: int = 0, body: bytes = b"{}") -> Request:
    pairs = images * texts or None
    part = Part(tuple(range(images)), tuple(range(texts)))
    units = Units(pairs=pairs) if pairs else Units(images=images or None, texts=texts or None)
    return Request("POST", "/", {}, body, part, units)


def test_pairs_count_their_images_and_texts_too() -> None:
    assert units_asked(request(3, 5), PriceList(), None) == BilledUnits(1, 3, 5, 15)
    assert units_asked(request(3), PriceList(), None) == BilledUnits(1, 3, 0, 0)


@pytest.mark.parametrize(
    ("unit", "cost"), [("request", 1), ("image", 3), ("text", 5), ("pair", 15), ("second", 0)]
)
def test_the_price_says_which_of_them_costs(unit: str, cost: int) -> None:
    prices = PriceList((Price(unit, 1.0),))  # type: ignore[arg-type]
    assert prices.cost_of(units_asked(request(3, 5), prices, None)) == cost * PARTS_OF_COST


def test_sums_of_small_prices_are_not_rounded() -> None:
    prices = PriceList((Price("image", 0.0001), Price("token", 3e-8)))
    cost = prices.cost_of(BilledUnits(images=1, tokens=1))
    assert 1_000_000 * cost == 100.03 * PARTS_OF_COST


def test_tokens_have_an_upper_bound_before_and_are_told_after() -> None:
    prices = PriceList((Price("token", 1.0),))
    assert units_asked(request(0, 2, b"x" * 40), prices, None).tokens == 44
    assert units_asked(request(2), prices, 1610).tokens == 3220
    assert units_asked(request(2, 3, b"x" * 40), prices, 100).tokens == 246
    assert units_asked(request(0, 2), PriceList(), None).tokens == 0
    asked = units_asked(request(0, 2, b"x" * 40), prices, None)
    assert settled(asked, Units(tokens=7), prices).tokens == 7
    assert settled(asked, Units(), prices).tokens == 44  # nobody knows better


def test_tokens_of_images_must_be_known_where_they_cost() -> None:
    prices = PriceList((Price("token", 1.0),))
    with pytest.raises(OracleError, match=r"oracle\.tokens_per_image: must be there"):
        units_asked(request(1), prices, None)


@pytest.mark.parametrize(
    ("prices", "max_cost", "said"),
    [
        ((Price("second", 1.0),), 1.0, "where a second has a price"),
        ((), 1.0, r"oracle\.prices: must be there"),
        ((Price("image", 1.0),), -1.0, "at least 0, but got -1"),
    ],
)
def test_a_cost_that_cannot_be_bounded_is_refused(
    prices: tuple[Price, ...], max_cost: float, said: str
) -> None:
    with pytest.raises(OracleError, match=said):
        PriceList(prices).check_bounded(max_cost)
    PriceList(prices).check_bounded(None)


def test_prices_are_in_one_currency_and_each_unit_is_there_once() -> None:
    with pytest.raises(OracleError, match="one currency, but got EUR, USD"):
        PriceList((Price("image", 1.0), Price("text", 1.0, "EUR")))
    with pytest.raises(OracleError, match="each unit once"):
        PriceList((Price("image", 1.0), Price("image", 2.0)))


WHOLE = Bill(
    BilledUnits(52, images=640, texts=120, told=Units(tokens=9000)),
    BilledUnits(1, texts=2),
    3,
    0.0213,
    0.0004,
    "USD",
)


def test_words() -> None:
    assert WHOLE.words() == (
        "640 images, 120 texts, 9,000 tokens in 52 requests: 0.0213 USD; "
        "possibly billed 2 texts in 1 request more: 0.0004 USD; 3 attempts refused, not billed"
    )
    assert Bill(BilledUnits(1, images=1)).words() == "1 image in 1 request"
    assert Bill().words() == "nothing: all answers were there"
    nothing = "The endpoint was asked for nothing: no answer was needed."
    assert Bill().sentence(is_needed=False) == nothing


def test_a_bill_goes_through_json_and_is_added() -> None:
    assert Bill.from_dict(json.loads(json.dumps(WHOLE.as_dict()))) == WHOLE
    both = WHOLE + Bill(BilledUnits(1, pairs=4, told=Units(tokens=1, pairs=4)))
    assert both.answered == BilledUnits(53, 640, 120, 4, told=Units(tokens=9001, pairs=4))
    assert (both.currency, both.refused) == ("USD", 3)
    assert sum([WHOLE, WHOLE], Bill()).cost == pytest.approx(2 * WHOLE.cost)
    with pytest.raises(OracleError, match="one currency"):
        WHOLE + Bill(currency="EUR")
