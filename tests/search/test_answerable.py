"""A search with trials that its endpoint cannot answer is refused before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.errors import OracleError
from craft_ray.search.answerable import check_answerable

ASKS = ("oracle.kind=http", "oracle.url=http://host.test", "oracle.model=clip")
SPACES_THAT_CAN: list[tuple[str, str]] = [
    ("endpoint", "hf_zero_shot"),
    ("endpoint", "infinity"),
    ("embeddings", "infinity"),
    ("embeddings", "cohere_v2"),
    ("own_images", "craft_ray"),
]


def check(space: str, dialect: str, *words: str) -> None:
    path = SPACES / Path(f"{space}.yaml")
    check_answerable(load_space_config(path, [*ASKS, f"oracle.dialect={dialect}", *words]))


@pytest.mark.parametrize(("space", "dialect"), SPACES_THAT_CAN)
def test_what_it_can_answer(space: str, dialect: str) -> None:
    check(space, dialect)


def test_the_variant_is_named_with_what_can_be_done() -> None:
    with pytest.raises(OracleError, match=r"variant craft: method: both searches soft prompts"):
        check("own_images", "hf_zero_shot")
    with pytest.raises(OracleError, match=r"variant \w+: head.kind: .*features"):
        check("embeddings", "hf_zero_shot")


def test_without_variants_none_is_named() -> None:
    with pytest.raises(OracleError, match=r"^method: .*use method: head"):
        check("collaborative", "hf_zero_shot")
