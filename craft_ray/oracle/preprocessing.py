"""What a model does to an image before it looks at it: from settings, files and open_clip's list.

Weights from a file say nothing of it, and open_clip then takes OpenAI's numbers whatever the model
is: a model that was trained with others answers worse, without a word. Knows no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from craft_ray.config.oracle import Interpolation, OracleConfig, ResizeMode
from craft_ray.data.transform import ImageTransform
from craft_ray.errors import OracleError
from craft_ray.oracle.catalogue import LOCAL_DIR_PREFIX, published_weights, tags_of
from craft_ray.oracle.hub_folder import image_processor_in, is_clip_model
from craft_ray.oracle.weights import description_beside, is_openai, release_of
from craft_ray.zoo import EMBEDDED_ORACLE

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_ITSELF: dict[str, Any] = {
    "mean": OPENAI_MEAN,
    "std": OPENAI_STD,
    "resize_mode": "shortest",
    "interpolation": "bicubic",
}
"""What OpenAI's weights want, and what open_clip trains with if nobody says otherwise."""

SETTINGS = {
    "mean": "image_mean",
    "std": "image_std",
    "resize_mode": "resize_mode",
    "interpolation": "interpolation",
}
"""Names in open_clip's `preprocess_cfg`, and ours."""
KEYS = (*SETTINGS, "fill_color")

Source = tuple[str, dict[str, Any]]
"""Who says it, in words; and what."""


@dataclass(frozen=True)
class Preprocessing:
    """Of a model. Each value is from the first who says it."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_mode: ResizeMode
    interpolation: Interpolation
    fill_color: int
    sources: tuple[str, ...]
    """Who said them, each once."""

    def describe(self) -> str:
        """One line for people."""
        return (
            f"Images: mean {numbers(self.mean)}, standard deviation {numbers(self.std)}, "
            f"{self.resize_mode}, {self.interpolation}; from {' and '.join(self.sources)}."
        )


def preprocessing_of(config: OracleConfig) -> Preprocessing:
    """What a model wants, from names and files alone.

    Raises:
        OracleError: nobody says it, or the published weights of the model differ in it; the message
            says what they have, and which setting decides.
    """
    own = {name: getattr(config, setting) for name, setting in SETTINGS.items()}
    reads_processor = None in own.values()
    sources: list[Source] = [("the settings", own), *_sources(config, reads_processor)]
    found: dict[str, Any] = {}
    said_by: dict[str, None] = {}
    for key in KEYS:
        for who, values in sources:
            if values.get(key) is not None:
                found[key] = values[key]
                if key in SETTINGS:
                    said_by[who] = None
                break
    found.setdefault("fill_color", 0)
    if missing := [key for key in SETTINGS if key not in found]:
        raise OracleError(_question(config, missing))
    # open_clip itself takes bicubic for `random`, where nothing is random.
    if found["interpolation"] == "random":
        found["interpolation"] = "bicubic"
    try:
        # Its words are checked here: the size is the model's, and not known yet.
        how = ImageTransform(1, found["resize_mode"], found["interpolation"], found["fill_color"])
        mean, std = _channels(found["mean"]), _channels(found["std"])
        if min(std) <= 0:
            raise ValueError(f"std must be above 0, but is {found['std']!r}")
        return Preprocessing(
            mean, std, how.resize_mode, how.interpolation, how.fill_color, tuple(said_by)
        )
    except (TypeError, ValueError) as error:
        raise OracleError(f"oracle: preprocessing of {config.model}: {error}") from None


def numbers(values: Sequence[float]) -> str:
    """For people: one number where all are equal."""
    words = [f"{value:.3g}" for value in values]
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _sources(config: OracleConfig, reads_processor: bool) -> Iterator[Source]:
    if config.model == "embedded":
        yield "its own description", _described_in(EMBEDDED_ORACLE)
    elif config.model.startswith(LOCAL_DIR_PREFIX):
        yield from _sources_of_folder(
            Path(config.model.removeprefix(LOCAL_DIR_PREFIX)), reads_processor
        )
    elif (tag := published_weights(config.model, config.pretrained or "")) is not None:
        yield f"the published weights {config.pretrained}", {**CLIP_ITSELF, **tag}
    else:
        yield from _sources_of_file(config.model, Path(config.pretrained or ""), reads_processor)


def _sources_of_folder(folder: Path, reads_processor: bool) -> Iterator[Source]:
    if (folder / "open_clip_config.json").is_file():
        yield "open_clip_config.json", _described_in(folder)
        # Older versions of open_clip wrote mean and std only, for models that did as CLIP itself.
        yield (
            "open_clip's defaults",
            {key: CLIP_ITSELF[key] for key in ("resize_mode", "interpolation")},
        )
    elif reads_processor:
        yield from image_processor_in(folder)


def _sources_of_file(model: str, path: Path, reads_processor: bool) -> Iterator[Source]:
    if description_beside(model, path) is not None:
        yield "open_clip_config.json beside the weights", _described_in(path.parent)
    if (release := release_of(path)) is not None:
        yield "the published weights that the file is a copy of", release
    # One beside other files may be of any model.
    if reads_processor and is_clip_model(path.parent):
        yield from image_processor_in(path.parent)
    if is_openai(path):
        yield "OpenAI's own files", CLIP_ITSELF
    tags = [_published(model, tag) for tag in tags_of(model)]
    if not tags:
        yield "open_clip's defaults, as nobody has published weights of this model", CLIP_ITSELF
        return
    agreed = {key: tags[0].get(key) for key in SETTINGS if len({_key(t, key) for t in tags}) == 1}
    yield f"all published weights of {model}", agreed


def _described_in(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        described = document.get("preprocess_cfg") or {}
    except (OSError, ValueError, AttributeError):
        return {}  # `load_model` says what is wrong with it
    return described if isinstance(described, dict) else {}


def _question(config: OracleConfig, missing: list[str]) -> str:
    names = ", ".join(f"oracle.{SETTINGS[key]}" for key in missing)
    tags = [] if config.pretrained is None else tags_of(config.model)
    if tags:
        reason = f"the published weights of {config.model} differ: " + "; ".join(
            f"{SETTINGS[key]} {_values_of(config.model, tags, key)}" for key in missing
        )
        of = config.pretrained
        example = _published(config.model, tags[0])
    else:
        reason, of, example = "no file in the folder says it", config.model, CLIP_ITSELF
    words = " ".join(f"oracle.{SETTINGS[key]}={_typed(example[key])}" for key in missing)
    whose = f"those of {tags[0]}" if tags else "OpenAI's, which most models have"
    return (
        f"{names}: must say what the weights in {of} were trained with, because {reason}. "
        f"For example {words} ({whose})"
    )


def _values_of(model: str, tags: list[str], key: str) -> str:
    groups: dict[str, list[str]] = {}
    for tag in tags:
        groups.setdefault(_key(_published(model, tag), key), []).append(tag)
    return ", ".join(
        f"{value} ({', '.join(of[:3])}{f' and {len(of) - 3} more' if len(of) > 3 else ''})"
        for value, of in groups.items()
    )


def _published(model: str, tag: str) -> dict[str, Any]:
    """What open_clip takes for a tag; where the tag is silent, what CLIP itself wants."""
    return {**CLIP_ITSELF, **(published_weights(model, tag) or {})}


def _key(settings: dict[str, Any], key: str) -> str:
    return _typed(settings.get(key))


def _typed(value: Any) -> str:
    """As it is typed on a command line."""
    return str(value) if isinstance(value, str) else json.dumps(value).replace(" ", "")


def _channels(value: Any) -> tuple[float, ...]:
    channels = tuple(value) if isinstance(value, list | tuple) else (value,) * 3
    if len(channels) != 3 or not all(
        isinstance(each, int | float) and math.isfinite(each) for each in channels
    ):
        raise ValueError(f"mean and std must be three finite numbers, but are {value!r}")
    return channels
