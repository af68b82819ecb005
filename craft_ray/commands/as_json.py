"""Results as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any


def print_json(document: Any, *, indent: int | None = None) -> None:
    """Print a document. A number that is not finite, such as the loss of a head that has diverged,
    is null: JSON has no word for it."""
    print(json.dumps(_finite(document), indent=indent, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
