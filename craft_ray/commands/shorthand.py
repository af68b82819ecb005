"""What may be typed in place of settings: where images are, a model, money, time, a preset."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from craft_ray.commands.mistyped import meant_by
from craft_ray.config.endpoint import DIALECTS, NAMES_A_MODEL
from craft_ray.config.places import is_address
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError

DATA_SUFFIXES = (
    *(".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".tar"),
    # Not read, and refused with what to do:
    *(".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".jpg", ".jpeg", ".png"),
    *(".xlsx", ".xls", ".xlsm", ".ods", ".numbers"),
)
"""Of files that are no settings."""
SETTINGS_SUFFIXES = (".yaml", ".yml")
EMBEDDED = "embedded"
FLAGS = ("model", "endpoint", "dialect", "key_env", "preset", "budget", "time_limit")
"""Of the options below, as argparse names them."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        file: of settings; None: none was named.
        data: where images are; None: where the settings say.
        words: `key=value`, those that stand for an option first.
    """

    file: Path | None
    data: str | None
    words: list[str]


def add_shorthand(parser: argparse.ArgumentParser, presets: Mapping[str, Path]) -> None:
    """The options of `tune` and `train`.

    Args:
        parser: of the command.
        presets: name -> file of settings.
    """
    add_model_options(parser)
    parser.add_argument(
        "--preset", metavar="NAME", help=f"settings that are shipped: {', '.join(presets)}"
    )
    parser.add_argument(
        "--time-limit",
        metavar="TIME",
        help="tune no longer than this, such as 90s, 30m or 1h30m (setting: time_limit_s)",
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which model is asked, and what that may cost."""
    parser.add_argument(
        "--model",
        metavar="NAME/TAG",
        help="the model and its weights: ViT-B-32/openai, ViT-B-32/path/to/weights.pt, the folder "
        "of a checkpoint, or embedded; with --endpoint as the endpoint names it",
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask a model that somebody serves, such as https://host/v1 (docs/endpoints.md)",
    )
    parser.add_argument(
        "--dialect",
        metavar="NAME",
        help=f"what the endpoint speaks: {', '.join(DIALECTS)}, or my.module:Adapter",
    )
    parser.add_argument(
        "--key-env",
        metavar="VARIABLE",
        help="the environment variable that has the endpoint's key",
    )
    parser.add_argument(
        "--budget",
        metavar="MONEY",
        help="may not cost more, in the currency of price_per_thousand_predictions or of "
        "oracle.prices, which must be given (setting: max_cost)",
    )


def what_is_asked(options: argparse.Namespace, presets: Mapping[str, Path]) -> Asked:
    """Read the words and options of a command line.

    Raises:
        ConfigError: a word is no `key=value`, there are two files, an option breaks a law, or a
            setting is given twice.
    """
    file, data, words = split_words(options.words)
    if options.preset is not None:
        if file is not None:
            raise ConfigError("--preset", [f"must not be given with a file, but got {file}"])
        file = _preset(options.preset, presets)
    meant = list(_meant_by_options(options, data))
    check_given_once(meant, words)
    return Asked(file, data, [*meant, *words])


def check_given_once(meant: Sequence[str], words: Sequence[str]) -> None:
    """Refuse a setting that is typed, and meant by an option as well.

    Args:
        meant: `key=value` of the options.
        words: that were typed.

    Raises:
        ConfigError: names the setting.
    """
    keys = {word.partition("=")[0] for word in meant}
    for word in words:
        key = word.partition("=")[0]
        if twice := sorted(each for each in keys if each == key or each.startswith(f"{key}.")):
            problem = f"{twice[0]}: must be given once, but is said by {word!r} and an option"
            raise ConfigError("command line", [problem])


def dialect_of(asked: Asked) -> str | None:
    """What the endpoint that was asked for speaks; None: there is none."""
    words = [word.partition("=") for word in asked.words]
    values = {key: value.strip("\"'") for key, _, value in words}
    return values.get("oracle.dialect", "") if values.get("oracle.kind") == "http" else None


def names_a_model(asked: Asked) -> bool:
    """Whether a model was asked for that is not the small one that ships."""
    if dialect_of(asked) is not None:
        return True
    models = [word.partition("=")[2] for word in asked.words if word.startswith("oracle.model=")]
    return bool(models) and models[-1].strip("\"'") != EMBEDDED


def about_model(asked: Asked) -> list[str]:
    """For somebody who brings images and names no model: what the default is."""
    if asked.data is None or asked.file is not None or names_a_model(asked):
        return []
    return ["Model: a small one for trying out; --model ViT-B-32/openai asks a real CLIP."]


def typed_words(options: argparse.Namespace) -> list[str]:
    """All that was typed and says what is run, so that it can be typed again."""
    return [*options.words, *typed_flags(options)]


def typed_flags(options: argparse.Namespace) -> list[str]:
    """The options above that were typed, so that they can be typed again."""
    flags = [(flag, getattr(options, flag, None)) for flag in FLAGS]
    said = [(f"--{flag.replace('_', '-')}", value) for flag, value in flags if value is not None]
    return [word for pair in said for word in pair]


def split_words(words: Sequence[str]) -> tuple[Path | None, str | None, list[str]]:
    """The words of a command line: a file of settings, a place of images, and overrides.

    Raises:
        ConfigError: more than one file or place, or a setting that is no `key=value`.
    """
    if (mistyped := meant_by(words)) is not None:
        typed, meant = mistyped
        problem = f"a setting must be one word, key=value, but got {typed!r}: say {meant}"
        raise ConfigError("command line", [problem])
    paths = [word for word in words if _is_path(word)]
    places = [word for word in paths if _is_place_of_images(word)]
    files = [word for word in paths if word not in places]
    for found, law in ((files, "file of settings"), (places, "place of images")):
        if len(found) > 1:
            raise ConfigError("command line", [f"at most one {law} is allowed, but got {found}"])
    return (
        Path(files[0]) if files else None,
        places[0] if places else None,
        [word for word in words if word not in paths],
    )


def _is_path(word: str) -> bool:
    """Whether a word is no `key=value`: a folder's name may have a `=`, as in `/data/run=1/a.yaml`,
    and no key begins like a path."""
    if "=" not in word.split("://")[0] or word.startswith(("/", "./", "../", "~")):
        return True
    return word.endswith(SETTINGS_SUFFIXES) and os.path.isfile(word)


def _is_place_of_images(word: str) -> bool:
    path = os.path.expanduser(word)
    if word.endswith(SETTINGS_SUFFIXES):
        return False
    return is_address(word) or os.path.isdir(path) or path.lower().endswith(DATA_SUFFIXES)


def _meant_by_options(options: argparse.Namespace, data: str | None) -> Iterator[str]:
    if data is not None:
        yield from _data_words(data)
    yield from model_words(options)
    if options.time_limit is not None:
        yield f"time_limit_s={_seconds(options.time_limit)!r}"


def model_words(options: argparse.Namespace) -> Iterator[str]:
    """The settings that `add_model_options` stand for, as `key=value`.

    Raises:
        ConfigError: an option breaks a law.
    """
    if options.endpoint is not None:
        yield from _endpoint_words(options)
    elif options.dialect is not None or options.key_env is not None:
        given = "--dialect" if options.dialect is not None else "--key-env"
        raise ConfigError(given, ["must be given with --endpoint, but there is none"])
    elif options.model is not None:
        yield from _words_of_name(options.model)
    if options.budget is not None:
        yield f"max_cost={_positive('--budget', options.budget)!r}"


def _data_words(place: str) -> Iterator[str]:
    """Raises:
    DataError: there are no images in a layout that is known.
    """
    from craft_ray.data.sources.detect import settings_at

    for key, value in settings_at(place).items():
        # JSON is YAML, and a folder may be called 2024.
        yield f"data.source.{key}={json.dumps(value)}"


def _endpoint_words(options: argparse.Namespace) -> Iterator[str]:
    """Raises:
    ConfigError: nothing says what the endpoint speaks, or which model it is asked for.
    """
    if options.dialect is None:
        problem = f"must say what the endpoint speaks: {', '.join(DIALECTS)}, or my.module:Adapter"
        raise ConfigError("--dialect", [f"{problem}, but there is none"])
    if options.model is None and options.dialect in NAMES_A_MODEL:
        problem = f"must name the model as the endpoint knows it, for dialect {options.dialect}"
        raise ConfigError("--model", [f"{problem}, but there is none"])
    yield "oracle.kind=http"
    yield f"oracle.url={json.dumps(options.endpoint)}"
    yield f"oracle.dialect={json.dumps(options.dialect)}"
    if options.model is not None:
        yield f"oracle.model={json.dumps(options.model)}"
    if options.key_env is not None:
        yield f"oracle.api_key_env={json.dumps(options.key_env)}"


def _words_of_name(text: str) -> Iterator[str]:
    """Raises:
    ConfigError: it names no model, or no weights; says which there are.
    """
    from craft_ray.oracle.catalogue import LOCAL_DIR_PREFIX, architectures, tags_of
    from craft_ray.oracle.check import model_like

    if os.path.isdir(os.path.expanduser(text)):
        text = f"{LOCAL_DIR_PREFIX}{text}"
    if text == EMBEDDED or text.startswith(LOCAL_DIR_PREFIX):
        yield from (f"oracle.model={json.dumps(text)}", "oracle.pretrained=null")
        return
    name, _, weights = text.partition("/")
    if name in architectures() and weights:
        # `ViT-B-32/openai`, or the path of a file: `ViT-B-32//path/to/weights.pt`.
        yield from (f"oracle.model={json.dumps(name)}", f"oracle.pretrained={json.dumps(weights)}")
        return
    near = name if name in architectures() else model_like(text)
    if near is None:
        problem = "must be embedded, a folder or NAME/TAG with a name of open_clip.list_models()"
        raise ConfigError("--model", [f"{problem}, but got {text[:200]!r}"])
    choices = [f"{near}/{tag}" for tag in tags_of(near)] or [f"{near}/path/to/weights.pt"]
    raise ConfigError(
        "--model",
        [f"must name a model and its weights, but got {text[:200]!r}: one of {', '.join(choices)}"],
    )


def _preset(name: str, presets: Mapping[str, Path]) -> Path:
    if name not in presets:
        known, near = ", ".join(presets), did_you_mean(name, presets)
        raise ConfigError("--preset", [f"must be one of {known}, but got {name!r}{near}"])
    return presets[name]


def _positive(option: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(option, [f"must be a number greater than 0, but got {text!r}"])
    return number


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if seconds > 0:
            return seconds
    elif re.fullmatch(r"\d+(\.\d+)?", text) and float(text) > 0:
        return float(text)
    raise ConfigError(
        "--time-limit", [f"must be a time such as 90s, 30m or 1h30m, but got {text!r}"]
    )
