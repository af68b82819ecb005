"""Amounts of money in words."""

from __future__ import annotations

import pytest

from craft_ray.config.money import billed_money, money, run_cost


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "0.00"),
        (0.003, "0.0030"),
        (0.00012, "0.00012"),
        (1e-20, "0.00000000"),
        (0.0999, "0.100"),
        (0.207, "0.21"),
        (1234.5, "1,234.50"),
    ],
)
def test_a_small_amount_is_not_shown_as_nothing(amount: float, words: str) -> None:
    assert money(amount) == words


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0.00"), (1234.5, "1,234.50"), (2.5, "2.5000"), (0.00012, "0.00012"), (3e-8, "3e-08")],
)
def test_an_invoice_has_small_amounts_and_its_currency(amount: float, said: str) -> None:
    assert billed_money(amount, "EUR") == run_cost(amount, "EUR") == f"{said} EUR"
    assert run_cost(amount, "") == money(amount)
