"""How many examples Hypothesis draws: a share of what the profile says (tests/conftest.py)."""

from __future__ import annotations

from hypothesis import settings

_all = settings.default
assert _all is not None
few = settings(max_examples=_all.max_examples // 8)
"""For what takes a training each."""
half = settings(max_examples=_all.max_examples // 2)
"""For what asks a model each time."""
