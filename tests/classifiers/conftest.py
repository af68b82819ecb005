"""Linear heads of these tests are fitted quickly."""

from __future__ import annotations

import pytest

from tests.support.probing import fit_quickly


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fit_quickly(monkeypatch)
