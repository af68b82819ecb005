"""From files and `key=value` words to settings, with every problem named at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from craft_ray.config.documents import (
    flatten,
    read_yaml,
    shorten,
    split_override,
)
from craft_ray.config.effects import missing_for, needs_in_words
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.overrides import apply_words
from craft_ray.config.problems import describe_problems
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.search_tree import KIND_PATHS
from craft_ray.config.secrets import mask
from craft_ray.config.service import ServiceConfig
from craft_ray.config.shipped import CRAFT_RUN, DEFAULT_RUN, find_settings_file
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

COMMAND_LINE = "command line"
"""Source of what is wrong with a word that was typed."""

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
    source = str(path) if path else COMMAND_LINE
    try:
        return change_run_config(path, changes, source)
    except ConfigError as error:
        raise ConfigError(_to_blame(error.problems, changes, source), error.problems) from error


def load_default_run(overrides: Sequence[str]) -> RunConfig:
    """The run of somebody who names no file: probes.

    Raises:
        ConfigError: a setting breaks a law, or has no effect on probes; where it may have been
            meant for the paper's method, with the command that runs that.
    """
    words = [mask(override) for override in overrides]
    hint = "without a file probes are run; the paper's method: " + shlex.join(
        ["craft-ray", "train", str(CRAFT_RUN), *words]
    )
    try:
        config = load_run_config(DEFAULT_RUN, overrides)
    except ConfigError as error:
        sections = {override.partition("=")[0].partition(".")[0] for override in overrides}
        more = [hint] if sections & OF_A_METHOD else []
        if of_a_search := sorted(sections & (SpaceConfig.model_fields.keys() - {"name"})):
            more.append(f"{of_a_search[0]} belongs to a search: craft-ray tune")
        raise ConfigError(COMMAND_LINE, [*error.problems, *more]) from error
    settings = flatten(config.model_dump(mode="json"))
    problems = []
    named = {key for override in overrides for key in flatten(dict([split_override(override)]))}
    if config.method == "both" and config.probing_head and "head.kind" not in named:
        # Thousands of queries, where somebody may have asked for the paper's method.
        problems.append(
            "method: must be head for probes that are not searched, but got both: say head.kind as "
            f"well to search contexts for a head of kind {config.head.kind}"
        )
    for path, value in (split_override(override) for override in overrides):
        for name in flatten({path: value}):
            if missing := missing_for(name, settings):
                needs = needs_in_words(missing)
                problems.append(f"{name}: has no effect on probes, as it needs {needs}")
    if problems:
        raise ConfigError(COMMAND_LINE, [*problems, hint])
    return config


def change_run_config(
    path: Path | None, changes: Iterable[tuple[str, Any]], source: str
) -> RunConfig:
    """The settings of a file (None: the defaults) after pairs of `section.key` and value.

    Raises:
        ConfigError: the file or a setting breaks a law; the message starts with `source`.
    """
    document = {} if path is None else read_yaml(find_settings_file(path))
    _check_is_run(document, path)
    apply_words(document, changes, RunConfig)
    return _validate(RunConfig, document, source)


def load_oracle_config(known: AnyOracleConfig | None, overrides: Sequence[str]) -> AnyOracleConfig:
    """How a model is loaded: as a run has done it, but for words `oracle.KEY=VALUE`.

    Args:
        known: of the run; None if that is not known.
        overrides: the words.

    Raises:
        ConfigError: a word breaks a law or is about something else, or nothing names the model.
    """
    changes = [split_override(override) for override in overrides]
    others = [key for key, _ in changes if key.split(".")[0] != "oracle"]
    if others:
        raise ConfigError("--set", [f"must be settings of oracle, but got {', '.join(others)}"])
    if known is None and "oracle.model" not in dict(changes):
        raise ConfigError(
            "--set",
            [
                "oracle.model=... must name the model: the classifier was stored by an earlier "
                "version, which did not say it"
            ],
        )
    start = {} if known is None else known.model_dump(mode="json")
    return change_run_config(None, [("oracle", start), *changes], "--set").oracle


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
    changes = [
        (key_in_space(key), value)
        for key, value in words
        if not (key == "base" and isinstance(value, str))
    ]
    apply_words(document, changes, SpaceConfig)
    try:
        space = _validate(SpaceConfig, document, str(path), changes)
        check_that_values_count(space, changes)
        return space
    except ConfigError as error:
        typed = [key.removeprefix("base.") for key, _ in changes]
        problems = [_without_kinds(problem, typed) for problem in error.problems]
        if error.source == COMMAND_LINE:  # as it was typed
            problems = [problem.removeprefix("base.") for problem in problems]
        raise ConfigError(
            error.source, [*problems, *_hints(document, changes, error.problems)]
        ) from error


def check_that_values_count(
    space: SpaceConfig, changes: Sequence[tuple[str, Any]], source: str = COMMAND_LINE
) -> None:
    """Refuse a value for what is searched.

    Args:
        space: with the changes.
        changes: key in the space and value.
        source: of them.

    Raises:
        ConfigError: no trial would have a value.
    """
    given = [path for key, value in changes for path in flatten({key: value})]
    problems = [
        f"{path}: is searched over here, and no trial would have this value: say "
        f"parameters.{path}=null as well, which takes it out of the search"
        for key in given
        if (path := key.removeprefix("base.")) != key and path in space.parameters
    ]
    if problems:
        raise ConfigError(source, problems)


def key_in_space(key: str) -> str:
    """What a word names in a space: a key of it, or else of its base."""
    section = key.split(".")[0]
    in_base = section in RunConfig.model_fields and section not in SpaceConfig.model_fields
    # `name=x` names this run; the space keeps its own name.
    return f"base.{key}" if in_base or key == "name" else key


def _without_kinds(problem: str, typed: Sequence[str]) -> str:
    """The problem without the advice to say a kind, where another one was typed."""
    for path in KIND_PATHS:
        if path in typed and "first_trials." in problem:
            problem = re.sub(rf": say {re.escape(path)}=\w+ as well", "", problem)
    return problem


def _hints(
    document: dict[str, Any], changes: Sequence[tuple[str, Any]], problems: Sequence[str]
) -> Iterator[str]:
    """For somebody who chooses a method by a word, where variants choose it or settings of another
    one are searched, or who changes ranges under the first trials of a file."""
    keys = [key for key, _ in changes]
    variants = document.get("variants")
    deciding = {f"base.{path}" for path in ("method", *KIND_PATHS)}
    chosen = [key.removeprefix("base.") for key in keys if key in deciding]
    if chosen and isinstance(variants, dict) and variants:
        yield (
            f"{chosen[0]} on the command line changes the base, and what a trial is, its variant "
            f"decides: variants.NAME=null takes one of {', '.join(map(str, variants))} out, "
            f"variants.NAME.{chosen[0]}=... changes one"
        )
    parameters = document.get("parameters")
    idle = [
        str(path)
        for path in (parameters if isinstance(parameters, dict) else ())
        if any(f"parameters.{path}: must have an effect" in problem for problem in problems)
    ]
    if chosen and idle and len(idle) == len(parameters or ()) and not variants:
        yield (
            f"nothing that is searched has an effect with this {chosen[0]}: "
            "`craft-ray train` runs it without a search"
        )
    elif chosen and idle:
        nulls = " ".join(f"parameters.{path}=null" for path in idle)
        yield f"{nulls} as well does not search what has no effect with this {chosen[0]}"
    elif (
        keys
        and "first_trials" not in keys
        and any("first_trials." in problem for problem in problems)
    ):
        yield "first_trials=[] on the command line does without those of the file"


def load_reproduction_config(path: Path, overrides: Sequence[str] = ()) -> ReproductionConfig:
    """Read a reproduction. An override may name a key of it or, directly, of its cells' runs."""
    path = find_settings_file(path)
    document = read_yaml(path)
    run = document.setdefault("run", {})
    words = []
    for override in overrides:
        key, value = split_override(override)
        section = key.split(".")[0]
        if section in RunConfig.model_fields and section not in ReproductionConfig.model_fields:
            if not isinstance(run, dict):
                raise ConfigError(str(path), [f"run: must be a section, but is {shorten(run)}"])
            run[key] = value
            words.append((f"run.{key}", value))
        else:
            apply_words(document, [(key, value)], ReproductionConfig)
            words.append((key, value))
    return _validate(ReproductionConfig, document, str(path), words)


def load_service_config(path: Path | None, overrides: Sequence[str] = ()) -> ServiceConfig:
    """Read a service's settings.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: words `section.key=value`, applied in order; values are YAML.

    Raises:
        ConfigError: the file or a setting breaks a law.
    """
    document = {} if path is None else read_yaml(find_settings_file(path))
    words = [split_override(override) for override in overrides]
    apply_words(document, words, ServiceConfig)
    return _validate(ServiceConfig, document, str(path) if path else COMMAND_LINE, words)


def _check_is_space(document: dict[str, Any], path: Path) -> None:
    of_a_run = document.keys() & (RunConfig.model_fields.keys() - SpaceConfig.model_fields.keys())
    if of_a_run and not document.keys() & {"parameters", "variants"}:
        raise ConfigError(
            str(path),
            [
                f"must be a search space with parameters, but holds the settings of one run: "
                f"`craft-ray train {path}` runs it, and `craft-ray tune "
                f"tune_spaces/around_paper.yaml base={path}` searches around it"
            ],
        )


def _check_is_run(document: dict[str, Any], path: Path | None) -> None:
    if path is not None and document.keys() & {"parameters", "variants", "base"}:
        raise ConfigError(
            str(path),
            [
                "must hold the settings of one run, but is a search space: "
                f"`craft-ray tune {path}` searches it"
            ],
        )


def _validate(
    model: type[Model], document: dict[str, Any], source: str, typed: Sequence[tuple[str, Any]] = ()
) -> Model:
    """The settings of a document, into which what was typed has been put already."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = describe_problems(error)
        raise ConfigError(_to_blame(problems, typed, source), problems) from error


def _to_blame(problems: Sequence[str], typed: Sequence[tuple[str, Any]], source: str) -> str:
    """The command line, if nothing is wrong but what was typed there; else the source."""
    of_words = [f"{key}{end}" for key, _ in typed for end in (":", ".")]
    # Who chooses a kind has to give what it needs, which the file of another kind does not have.
    sections = [key.removesuffix("kind") for key, _ in typed if key.endswith(".kind")]

    def is_typed(problem: str) -> bool:
        needed = problem.endswith(": must be given") and problem.startswith(tuple(sections))
        return needed or problem.startswith(tuple(of_words))

    return COMMAND_LINE if all(map(is_typed, problems)) else source
