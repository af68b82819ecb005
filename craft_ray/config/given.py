"""Settings as a Python program gives them: a file's path, a mapping, or the model itself."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from craft_ray.config.loading import (
    change_run_config,
    check_that_values_count,
    key_in_space,
    load_run_config,
    load_space_config,
)
from craft_ray.config.overrides import apply_words
from craft_ray.config.problems import describe_problems
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN, DEFAULT_SPACE
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError

GivenRun = str | os.PathLike[str] | Mapping[str, Any] | RunConfig | None
GivenSpace = str | os.PathLike[str] | Mapping[str, Any] | SpaceConfig | None
Changes = Mapping[str, Any] | None
"""`section.key` -> value, as on the command line."""

Model = TypeVar("Model", bound=BaseModel)
DEFAULT_NAME = "search"
"""Of a space that has none."""


def given_run(config: GivenRun, changes: Changes = None) -> RunConfig:
    """The settings of one run.

    Args:
        config: None: those of `craft-ray train` without a file.
        changes: come after it.

    Raises:
        ConfigError: a setting breaks a law.
    """
    words = list((changes or {}).items())
    if config is None:
        return change_run_config(DEFAULT_RUN, words, "settings")
    if isinstance(config, str | os.PathLike):
        return load_run_config(Path(config), _as_words(words))
    return _validated(RunConfig, _document(config), words)


def given_space(config: GivenSpace, changes: Changes = None) -> SpaceConfig:
    """A search space.

    Args:
        config: None: that of `craft-ray tune` without a file.
        changes: come after it; each names a key of the space or, directly, of its base.

    Raises:
        ConfigError: a setting breaks a law.
    """
    words = list((changes or {}).items())
    if config is None or isinstance(config, str | os.PathLike):
        return load_space_config(Path(config or DEFAULT_SPACE), _as_words(words))
    document = {"name": DEFAULT_NAME, **_document(config)}
    named = [(key_in_space(key), value) for key, value in words]
    space = _validated(SpaceConfig, document, named)
    check_that_values_count(space, named, "settings")
    return space


def _document(config: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    """A copy that may be changed."""
    if isinstance(config, BaseModel):
        return config.model_dump(mode="json")
    return copy.deepcopy(dict(config))


def _as_words(changes: list[tuple[str, Any]]) -> list[str]:
    """As they would be typed: JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in changes]


def _validated(
    model: type[Model], document: dict[str, Any], changes: list[tuple[str, Any]]
) -> Model:
    apply_words(document, changes, model)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError("config", describe_problems(error)) from error
