"""Artefacts of versions that knew one way only to make an image a square."""

from __future__ import annotations

from typing import Any

import pytest

from craft_ray.classifiers.earlier import with_earlier_preprocessing

USUAL = {"resize_mode": "shortest", "interpolation": "bicubic"}


def of(oracle: Any, **rest: Any) -> Any:
    return with_earlier_preprocessing({"oracle": oracle, **rest})["oracle"]


def test_a_model_that_was_asked_as_clip_itself_still_is() -> None:
    oracle = {"kind": "open_clip", "model": "PE-Core-L-14-336", "pretrained": "meta"}
    assert of(oracle) == {**oracle, **USUAL}


def test_weights_from_a_file_keep_their_mean() -> None:
    oracle = {"kind": "open_clip", "model": "ViT-L-14", "pretrained": "/here/weights.pt"}
    about = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    assert of(oracle, about=about) == {**oracle, **USUAL, **about}
    assert of(oracle, about=None) == {**oracle, **USUAL}


@pytest.mark.parametrize(
    "oracle",
    [
        None,
        {"kind": "open_clip", "model": "embedded"},
        {"kind": "http", "url": "http://127.0.0.1:1"},
        {"kind": "open_clip", "model": "PE-Core-L-14-336", "resize_mode": None},
    ],
)
def test_what_says_it_or_never_differed_is_left_alone(oracle: Any) -> None:
    assert of(oracle) == oracle
