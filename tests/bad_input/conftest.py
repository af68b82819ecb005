"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkpoints import vocabulary_read_once


@pytest.fixture(scope="session", autouse=True)
def quick_tokenizers() -> Iterator[None]:
    with vocabulary_read_once():
        yield
