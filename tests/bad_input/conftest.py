"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import open_clip.factory
import pytest

from craft_ray.oracle.catalogue import architectures
from tests.bad_input.models import NAME
from tests.support.checkpoints import TINY_CLIP, vocabulary_read_once


@pytest.fixture(scope="session", autouse=True)
def quick_tokenizers() -> Iterator[None]:
    with vocabulary_read_once():
        yield


@pytest.fixture(autouse=True)
def named_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for configs in (open_clip.factory._MODEL_CONFIGS, architectures()):
        monkeypatch.setitem(configs, NAME, TINY_CLIP)
