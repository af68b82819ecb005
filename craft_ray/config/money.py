"""An amount of money in words, the same wherever it is shown. Standard library only."""

from __future__ import annotations

import math

DECIMALS = 2
MOST_DECIMALS = 8
"""Of an amount so small that less would show nothing of it."""


def money(amount: float) -> str:
    """Two decimals; of less than 0.1 two digits that are not zero, as one image costs 0.0015."""
    decimals = DECIMALS
    if 0 < amount < 0.1:
        decimals = min(1 - math.floor(math.log10(amount)), MOST_DECIMALS)
    return f"{amount:,.{decimals}f}"


def billed_money(amount: float, currency: str) -> str:
    """As an invoice has it: at least two decimals, as many as show the first four digits of a small
    amount, and the currency."""
    text = f"{amount:,.2f}" if amount >= 100 or amount == 0 else f"{amount:.4f}"
    if 0 < amount < 0.01:
        text = f"{amount:.4g}" if amount < 1e-6 else f"{amount:.8f}".rstrip("0")
    return f"{text} {currency}"


def run_cost(amount: float, currency: str) -> str:
    """Of a run: in the currency of its endpoint, or without one, by the price of a prediction."""
    return billed_money(amount, currency) if currency else money(amount)
