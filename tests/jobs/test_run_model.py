"""A run does not go on with another model than it began with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from craft_ray.errors import ConfigError
from craft_ray.jobs.run_folder import SETTINGS_FILE
from craft_ray.jobs.run_model import check_model, keep_model
from tests.support.fake_oracle import FakeOracle

MODEL = replace(FakeOracle().describe(), weights_id="w", image_mean=(0.5,) * 3)
SQUASH = replace(MODEL, oracle_id="other", resize_mode="squash")


def test_the_same_model_goes_on_and_is_written_down_once(tmp_path: Path) -> None:
    write_settings(tmp_path, {"oracle": {"resize_mode": None}})
    check_model(tmp_path, MODEL)
    keep_model(tmp_path, MODEL)
    check_model(tmp_path, MODEL)
    keep_model(tmp_path, SQUASH)
    check_model(tmp_path, MODEL)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"weights_id": "v"}, "but its weights, architecture, tokenizer or precision are others"),
        ({"image_mean": (0.4,) * 3}, r"but its image mean was \[0.5, .*, and is \[0.4,"),
        ({"interpolation": "bilinear"}, r"but its view was .*bicubic.*, and is .*bilinear"),
    ],
)
def test_another_model_is_refused_with_what_differs(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    write_settings(tmp_path, {"oracle": {"resize_mode": None}})
    keep_model(tmp_path, MODEL)
    with pytest.raises(ConfigError, match=what):
        check_model(tmp_path, replace(MODEL, oracle_id="other", **changes))


@pytest.mark.parametrize("is_search", [True, False])
def test_a_run_of_an_earlier_version_goes_on_where_its_images_are_the_same(
    is_search: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"oracle": {"model": "PE-Core-B-16"}}
    write_settings(tmp_path, {"base": settings} if is_search else settings)
    check_model(tmp_path, MODEL)
    with pytest.raises(ConfigError, match="was started by an earlier version"):
        check_model(tmp_path, SQUASH)


def test_an_endpoint_may_want_anything(tmp_path: Path) -> None:
    write_settings(tmp_path, {"oracle": {"kind": "http"}})
    check_model(tmp_path, SQUASH)


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / SETTINGS_FILE).write_text(json.dumps(settings))
