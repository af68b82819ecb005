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
