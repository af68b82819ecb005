"""From an `OracleConfig` to an open_clip model, tokenizer and image statistics."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from craft_ray.config.run import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.zoo import EMBEDDED_ORACLE

LOCAL_DIR_PREFIX = "local-dir:"


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in evaluation mode with what belongs to it."""

    model: Any
    """open_clip's CLIP or CustomTextCLIP; its parts are untyped."""
    tokenizer: open_clip.SimpleTokenizer
    image_size: int
    image_mean: Sequence[float]
    image_std: Sequence[float]
    architecture: dict[str, Any]
    """open_clip's `model_cfg`."""


def check_model_exists(config: OracleConfig) -> None:
    """Refuse a model that cannot be loaded, before anything is started.

    Raises:
        OracleError: unknown model name, unknown tag, missing file or folder.
    """
    if config.model.startswith(LOCAL_DIR_PREFIX):
        folder = Path(config.model.removeprefix(LOCAL_DIR_PREFIX))
        if not (folder / "open_clip_config.json").is_file():
            raise OracleError(
                f"oracle.model: {folder} must be a folder with open_clip_config.json, but is not"
            )
    elif config.model != "embedded":
        _check_name_and_weights(config.model, config.pretrained or "")


def _check_name_and_weights(name: str, pretrained: str) -> None:
    if name not in open_clip.list_models():
        raise OracleError(
            f"oracle.model: must be 'embedded', 'local-dir:<folder>' or one of "
            f"open_clip.list_models(), but got {name!r}"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained.lower() not in {tag.lower() for tag in tags} and not Path(pretrained).is_file():
        raise OracleError(
            f"oracle.pretrained: must be a file or one of {', '.join(tags) or '(no tags)'} for "
            f"{name}, but got {pretrained!r}"
        )


def load_model(config: OracleConfig, device: torch.device) -> LoadedModel:
    """Load weights and tokenizer through open_clip's own paths.

    Raises:
        OracleError: the checkpoint does not fit the model or cannot be read.
    """
    name = f"{LOCAL_DIR_PREFIX}{EMBEDDED_ORACLE}" if config.model == "embedded" else config.model
    try:
        with warnings.catch_warnings():
            # open_clip warns of details of its presets that a user cannot change here.
            warnings.simplefilter("ignore")
            model = open_clip.create_model(
                name, pretrained=config.pretrained, device=device, require_pretrained=True
            )
            tokenizer = open_clip.get_tokenizer(name)
            architecture = open_clip.get_model_config(name)
    except Exception as error:  # open_clip lets out whatever a broken file or description causes
        raise OracleError(f"oracle: {config.model} cannot be loaded: {error}") from error
    if not isinstance(tokenizer, open_clip.SimpleTokenizer):
        raise OracleError(
            f"oracle.model: {config.model} must use CLIP's tokenizer, but uses "
            f"{type(tokenizer).__name__}"
        )
    model.eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    size = preprocess["size"]
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        image_size=int(size[0] if isinstance(size, Sequence) else size),
        image_mean=tuple(preprocess["mean"]),
        image_std=tuple(preprocess["std"]),
        architecture=architecture,
    )
