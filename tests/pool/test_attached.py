"""Which models a pool that is up already can stand for."""

from __future__ import annotations

from typing import Any

import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.pool.attached import differences_that_matter

NAMED = {"model": "ViT-B-32", "pretrained": "openai"}


def differences(hosted: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    each = [OracleConfig.model_validate(NAMED | settings) for settings in (hosted, wanted)]
    return differences_that_matter(*each)


@pytest.mark.parametrize(
    ("hosted", "wanted"),
    [
        ({}, {}),
        ({"precision": "fp16"}, {"precision": "auto"}),
        ({"max_tokens_per_forward": 4096}, {}),
        ({}, {"max_tokens_per_forward": 4096, "images_per_forward": 8, "feature_cache_mb": 64}),
    ],
)
def test_how_replicas_share_their_memory_is_their_owners_business(
    hosted: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert differences(hosted, wanted) == []


@pytest.mark.parametrize(
    ("hosted", "wanted", "said"),
    [
        (
            {"precision": "auto"},
            {"precision": "fp32"},
            "oracle.precision=auto, but got fp32 (auto takes it as it is there)",
        ),
        (
            {"precision": "bf16"},
            {"precision": "fp32"},
            "oracle.precision=bf16, but got fp32 (auto takes it as it is there)",
        ),
        ({"features": True}, {}, "oracle.features=True, but got False"),
        ({}, {"text_path": "plain"}, "oracle.text_path=auto, but got plain"),
        ({}, {"pretrained": "laion2b_e16"}, "oracle.pretrained=openai, but got laion2b_e16"),
        ({}, {"resize_mode": "squash"}, "oracle.resize_mode=None, but got squash"),
    ],
)
def test_what_decides_its_answers_must_be_equal(
    hosted: dict[str, Any], wanted: dict[str, Any], said: str
) -> None:
    assert differences(hosted, wanted) == [said]
