"""From an `OracleConfig` to an open_clip model, tokenizer and image statistics."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from craft_ray.config.oracle import Interpolation, OracleConfig, ResizeMode
from craft_ray.data.transform import ImageTransform
from craft_ray.errors import OracleError
from craft_ray.oracle.building import build_model, in_sizes, sizes_of
from craft_ray.oracle.catalogue import LOCAL_DIR_PREFIX
from craft_ray.oracle.check import (
    activation_note,
    check_activation,
    check_hub_activation,
    tag_of,
)
from craft_ray.oracle.checkpoint_files import read_weights
from craft_ray.oracle.checkpoint_names import CheckpointError
from craft_ray.oracle.hub import check_weights_at_hand
from craft_ray.oracle.hub_folder import (
    foreign_words,
    hub_architecture,
    is_clip_model,
    is_hub_folder,
)
from craft_ray.oracle.hub_names import in_open_clips_names, is_hub_layout
from craft_ray.oracle.open_clip_light import open_clip
from craft_ray.oracle.preprocessing import preprocessing_of
from craft_ray.oracle.text.foreign import (
    load_tokenizer,
    make_towers_possible,
    tower_settings,
    with_tower,
)
from craft_ray.oracle.weights import weights_in
from craft_ray.zoo import EMBEDDED_ORACLE

LONGEST_REASON = 400
BIG_VISION = (".npz", ".npy")
"""Files of SigLIP's own training code."""


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in evaluation mode with what belongs to it."""

    model: Any
    """open_clip's CLIP or CustomTextCLIP; its parts are untyped."""
    tokenizer: Any
    """open_clip's: CLIP's own, or one that wraps a tokenizer of `transformers`."""
    image_size: int
    image_mean: Sequence[float]
    image_std: Sequence[float]
    architecture: dict[str, Any]
    """open_clip's `model_cfg`, with the settings of a text tower of `transformers`."""
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0
    notes: tuple[str, ...] = ()
    """What a user should know of how it was loaded."""

    @property
    def transform(self) -> ImageTransform:
        """How an image becomes a square."""
        return ImageTransform(
            self.image_size, self.resize_mode, self.interpolation, self.fill_color
        )


def load_model(config: OracleConfig, device: torch.device) -> LoadedModel:
    """Load weights and tokenizer.

    Weights that a tag names are loaded by open_clip, with the activation that the tag declares:
    `RN50` with `openai` is `RN50-quickgelu`. Files are read here: nothing in them is executed, and
    no position embedding is interpolated.

    Raises:
        OracleError: the checkpoint does not fit the model or cannot be read, its weights were
            trained with another activation, or its tokenizer is not to be had.
    """
    name = f"{LOCAL_DIR_PREFIX}{EMBEDDED_ORACLE}" if config.model == "embedded" else config.model
    try:
        with warnings.catch_warnings():
            # open_clip warns of details of its presets that a user cannot change here.
            warnings.simplefilter("ignore")
            if tag_of(config) is None:
                model, tokenizer, architecture, notes = _from_files(config, name)
                model.to(device)
            else:
                model, tokenizer, architecture = _published(config, device)
                notes = ()
    except OracleError:
        raise
    except Exception as error:  # open_clip lets out whatever a broken file or description causes
        source = f"{config.model} with {config.pretrained}" if config.pretrained else config.model
        raise OracleError(f"oracle: {source} cannot be loaded: {_reason(error)}") from error
    model.eval().requires_grad_(False)
    _check_finite(model, config)
    preprocessing, size = preprocessing_of(config), _side(model, config)
    is_published = config.model == "embedded" or tag_of(config) is not None
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        image_size=size,
        image_mean=preprocessing.mean,
        image_std=preprocessing.std,
        architecture=architecture,
        resize_mode=preprocessing.resize_mode,
        interpolation=preprocessing.interpolation,
        fill_color=preprocessing.fill_color,
        notes=notes if is_published else (preprocessing.describe(), *notes),
    )


def _side(model: Any, config: OracleConfig) -> int:
    """Of the square images that the model takes."""
    size = model.visual.image_size
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(set(sides)) != 1:
        raise OracleError(
            f"oracle.model: {config.model} must take square images, but takes "
            f"{' x '.join(map(str, sides))}"
        )
    return int(sides[0])


def _reason(error: Exception) -> str:
    """One line. torch writes paragraphs."""
    if isinstance(error, CheckpointError):
        return str(error)  # whole
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def _check_finite(model: Any, config: OracleConfig) -> None:
    """Refuse what would answer NaN to every question, and be noticed as a search that fails."""
    for name, weights in model.state_dict().items():
        if not torch.isfinite(weights).all():
            raise OracleError(
                f"oracle: weights of {config.model} must be finite, but {name} is not"
            )
    if not torch.isfinite(model.logit_scale.exp()).all():
        raise OracleError(
            f"oracle: the exponential of logit_scale of {config.model} must be finite, but "
            f"logit_scale is {float(model.logit_scale):g}"
        )


def _tag_declares_quick_gelu(config: OracleConfig) -> bool:
    return bool((tag_of(config) or {}).get("quick_gelu"))


def _published(config: OracleConfig, device: torch.device) -> tuple[Any, Any, dict[str, Any]]:
    """The model of a tag, its tokenizer, and its architecture."""
    architecture = open_clip.get_model_config(config.model)
    check_activation(config, architecture)
    check_weights_at_hand(tag_of(config))
    tokenizer = load_tokenizer(config.model, architecture, None)
    make_towers_possible(architecture)
    if _tag_declares_quick_gelu(config):
        architecture["quick_gelu"] = True
    model = open_clip.create_model(
        config.model,
        pretrained=config.pretrained,
        device=device,
        require_pretrained=True,
        force_quick_gelu=_tag_declares_quick_gelu(config),
        **tower_settings(architecture, None),
    )
    return model, tokenizer, with_tower(architecture, None)


def _from_files(
    config: OracleConfig, name: str
) -> tuple[Any, Any, dict[str, Any], tuple[str, ...]]:
    """A model whose weights are here, its tokenizer, its architecture, and what a user should know
    of them."""
    folder = None
    if name.startswith(LOCAL_DIR_PREFIX):
        folder = Path(name.removeprefix(LOCAL_DIR_PREFIX))
    if folder is not None and is_hub_folder(folder):
        architecture, is_hub = hub_architecture(folder), True
        tokenizer = _tokenizer_of_hub(folder)
    else:
        architecture, is_hub = open_clip.get_model_config(name), False
        check_activation(config, architecture)
        tokenizer = load_tokenizer(name, architecture, folder)
        make_towers_possible(architecture)
    path = Path(config.pretrained or "") if folder is None else weights_in(folder)
    if path.suffix in BIG_VISION:  # open_clip reads them itself, and resizes nothing
        model = open_clip.create_model(name, pretrained=str(path), require_pretrained=True)
        return model, tokenizer, architecture, ()
    weights, notes = read_weights(path)
    says_activation = folder is not None
    if is_hub_layout(weights):
        weights = in_open_clips_names(weights)
        if not is_hub and is_clip_model(path.parent):
            says_activation = True
            check_hub_activation(config, architecture, path.parent)
    sizes = sizes_of(architecture, weights)
    if sizes:
        architecture = in_sizes(architecture, sizes)
        sentences = (f"{key} is {own}, that of the weights" for key, (_, own) in sizes.items())
        notes = (f"{config.model} has another size here: {', '.join(sentences)}.", *notes)
    if not says_activation and (note := activation_note(config, architecture)) is not None:
        notes = (*notes, note)
    model = build_model({**architecture, **tower_settings(architecture, folder)}, weights)
    if sizes and folder is not None:  # after the names, which tell the weights of another model
        raise CheckpointError(_contradiction(sizes))
    return model, tokenizer, with_tower(architecture, folder), notes


def _contradiction(sizes: dict[str, tuple[int, int]]) -> str:
    words = ", ".join(
        f"{key} must be {own}, as the position embeddings of the weights are, but is {said}"
        for key, (said, own) in sizes.items()
    )
    return (
        f"its description and its weights contradict each other: {words}. Nothing is interpolated: "
        "write the size of the weights into the description"
    )


def _tokenizer_of_hub(folder: Path) -> Any:
    tokenizer = open_clip.SimpleTokenizer()
    if words := foreign_words(folder, tokenizer.encoder):
        raise OracleError(
            f"oracle.model: the tokenizer in {folder} must be CLIP's own, but has another number "
            f"for {len(words)} words: {', '.join(map(repr, words[:3]))}"
        )
    return tokenizer
