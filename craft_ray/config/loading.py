"""From files and `key=value` words to settings, with every problem named at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from craft_ray.config.documents import (
    describe_problems,
    flatten,
    read_yaml,
    set_by_path,
    shorten,
    split_override,
)
from craft_ray.config.effects import missing_for, needs_in_words
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.secrets import mask
from craft_ray.config.shipped import CRAFT_RUN, DEFAULT_RUN, find_settings_file
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

OF_A_METHOD = {
    *("fidelity", "head", "loss", "max_queries", "method", "optimizer", "prompt", "white_box"),
}
"""Settings that choose or tune a method."""


def load_run_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read one run's settings.

    Args:
        path: a YAML file, or None for the defaults. `tune_spaces/...` that is not in the working
            directory is the file that comes with craft-ray; so are all names below.
        overrides: words `section.key=value`, applied in order; values are YAML.

    Raises:
        ConfigError: the file or a setting breaks a law.
    """
    changes = [split_override(override) for override in overrides]
    return change_run_config(path, changes, str(path) if path else "command line")


def load_default_run(overrides: Sequence[str]) -> RunConfig:
    """The run of somebody who names no file: probes.

    Raises:
        ConfigError: a setting breaks a law, or has no effect on probes; where it may have been
            meant for the paper's method, with the command that runs that.
    """
    words = [mask(override) for override in overrides]
    hint = "without a file probes are run; the paper's method: " + shlex.join(
        ["python", "-m", "craft_ray.train", str(CRAFT_RUN), *words]
    )
    try:
        config = load_run_config(DEFAULT_RUN, overrides)
    except ConfigError as error:
        sections = {override.partition("=")[0].partition(".")[0] for override in overrides}
        more = [hint] if sections & OF_A_METHOD else []
        raise ConfigError("command line", [*error.problems, *more]) from error
    settings = flatten(config.model_dump(mode="json"))
    problems = []
    for path, value in (split_override(override) for override in overrides):
        for name in flatten({path: value}):
            if missing := missing_for(name, settings):
                needs = needs_in_words(missing)
                problems.append(f"{name}: has no effect on probes, as it needs {needs}")
    if problems:
        raise ConfigError("command line", [*problems, hint])
    return config


def change_run_config(
    path: Path | None, changes: Iterable[tuple[str, Any]], source: str
) -> RunConfig:
    """The settings of a file (None: the defaults) after pairs of `section.key` and value.

    Raises:
        ConfigError: the file or a setting breaks a law; the message starts with `source`.
    """
    document = {} if path is None else read_yaml(find_settings_file(path))
    for key, value in changes:
        _apply(document, key, value)
    return _validate(RunConfig, document, source)


def load_space_config(path: Path, overrides: Sequence[str] = ()) -> SpaceConfig:
    """Read a search space.

    Args:
        path: a YAML file. Its `base` may name a file of run settings, relative to it.
        overrides: words as for `load_run_config`; each names a key of the space or, directly, of
            its base. `base=FILE`, relative to the working directory, comes before all others.

    Raises:
        ConfigError: a file or a setting breaks a law, or `path` holds the settings of one run.
    """
    path = find_settings_file(path)
    document = read_yaml(path)
    _check_is_space(document, path)
    document.setdefault("name", path.stem)
    words = [split_override(override) for override in overrides]
    files = [value for key, value in words if key == "base" and isinstance(value, str)]
    base = document.get("base", {})
    if files:
        base = read_yaml(find_settings_file(Path(files[-1])))
    elif isinstance(base, str):
        base = read_yaml(find_settings_file(Path(base), path.parent))
    document["base"] = base
    for key, value in words:
        if key == "base" and isinstance(value, str):
            continue
        section = key.split(".")[0]
        in_base = section in RunConfig.model_fields and section not in SpaceConfig.model_fields
        # `name=x` names this run; the space keeps its own name.
        _apply(document, f"base.{key}" if in_base or key == "name" else key, value)
    return _validate(SpaceConfig, document, str(path))


def load_reproduction_config(path: Path, overrides: Sequence[str] = ()) -> ReproductionConfig:
    """Read a reproduction. An override may name a key of it or, directly, of its cells' runs."""
    path = find_settings_file(path)
    document = read_yaml(path)
    run = document.setdefault("run", {})
    for override in overrides:
        key, value = split_override(override)
        section = key.split(".")[0]
        if section in RunConfig.model_fields and section not in ReproductionConfig.model_fields:
            if not isinstance(run, dict):
                raise ConfigError(str(path), [f"run: must be a section, but is {shorten(run)}"])
            run[key] = value
        else:
            _apply(document, key, value)
    return _validate(ReproductionConfig, document, str(path))


def _check_is_space(document: dict[str, Any], path: Path) -> None:
    of_a_run = document.keys() & (RunConfig.model_fields.keys() - SpaceConfig.model_fields.keys())
    if of_a_run and "parameters" not in document:
        raise ConfigError(
            str(path),
            [
                f"must be a search space with parameters, but holds the settings of one run: "
                f"`python -m craft_ray.train {path}` runs it, and `python -m craft_ray.tune "
                f"tune_spaces/around_paper.yaml base={path}` searches around it"
            ],
        )


def _apply(document: dict[str, Any], key: str, value: Any) -> None:
    # `fidelity: reference` is short for a section; an override of one switch keeps it.
    *_, parent, _leaf = ["", *key.split(".")]
    if parent == "fidelity":
        _expand_fidelity(document, key)
    try:
        set_by_path(document, key, value)
    except ValueError as error:
        raise ConfigError("command line", [str(error)]) from error


def _expand_fidelity(document: dict[str, Any], key: str) -> None:
    node: Any = document
    for section in key.split(".")[:-2]:
        node = node.get(section) if isinstance(node, dict) else None
    if isinstance(node, dict) and isinstance(node.get("fidelity"), str):
        node["fidelity"] = {"preset": node["fidelity"]}


def _validate(model: type[Model], document: dict[str, Any], source: str) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError(source, describe_problems(error)) from error
