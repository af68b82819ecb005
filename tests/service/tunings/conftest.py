"""What tests of tunings share."""

from __future__ import annotations

import pytest

from craft_ray.service.tunings import file_routes
from craft_ray.service.tunings.upload import take_upload


@pytest.fixture(autouse=True)
def _uploads_are_checked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each of many small uploads takes a second each; `test_upload` has one."""
    monkeypatch.setattr(file_routes, "take_upload_apart", take_upload)
