"""Each setting that names a file or folder takes `~` for the home folder, also one added later."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import craft_ray.config
from craft_ray.config.base import Settings

NAMES_A_PLACE = re.compile(r"(^|_)(root|file|folder|dir|path|storage|uri|start|pretrained)$")
OTHERS: dict[str, dict[str, Any]] = {
    "CoopSource": {"dataset": "dtd"},
    "EndpointConfig": {
        "kind": "http",
        "url": "https://host/v1",
        "dialect": "infinity",
        "model": "x",
    },
    "OracleConfig": {"model": "ViT-B-32"},
    "CsvSource": {"file": "t.csv"},
    "EarlierSearch": {"kind": "search"},
    "EarlierStudy": {"kind": "study", "study": "x"},
    "ReproductionConfig": {"datasets": ["dtd"], "root": "x"},
}
"""What else a model needs."""


def all_models() -> Iterator[type[Settings]]:
    for module in pkgutil.iter_modules(craft_ray.config.__path__):
        importlib.import_module(f"craft_ray.config.{module.name}")
    left = [Settings]
    while left:
        model = left.pop()
        left += model.__subclasses__()
        yield model


def is_text(annotation: Any) -> bool:
    """Whether it is text, perhaps with laws, or None."""
    return annotation is str or any(map(is_text, get_args(annotation)[:2]))


def paths() -> list[tuple[type[Settings], str]]:
    found = {
        (model, name)
        for model in all_models()
        if model.__module__.startswith("craft_ray.config")
        for name, field in model.model_fields.items()
        if NAMES_A_PLACE.search(name) and is_text(field.annotation)
    }
    return sorted(found, key=str)


@pytest.mark.parametrize(
    ("model", "name"), paths(), ids=lambda each: getattr(each, "__name__", each)
)
def test_a_place_may_be_in_the_home_folder(
    model: type[Settings], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").touch()
    settings = model.model_validate({**OTHERS.get(model.__name__, {}), name: "~/here"})
    assert getattr(settings, name) == str(tmp_path / "here")


def test_the_settings_that_name_places_are_found() -> None:
    found = {f"{model.__name__}.{name}" for model, name in paths()}
    assert {"EndpointConfig.api_key_file", "AnswerCacheConfig.folder", "CsvSource.root"} <= found
    assert {"FolderSource.root", "AutoSource.root", "RunConfig.output_dir"} <= found
