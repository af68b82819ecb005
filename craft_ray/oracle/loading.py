"""From an `OracleConfig` to an open_clip model, tokenizer and image statistics."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.weights import is_file, readable_by_open_clip, trained_with_quick_gelu
from craft_ray.zoo import EMBEDDED_ORACLE

LOCAL_DIR_PREFIX = "local-dir:"
LONGEST_REASON = 400
ACTIVATIONS = {True: "QuickGELU", False: "GELU"}


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
        OracleError: unknown model name, unknown tag, missing file or folder, or an activation that
            is not that of the weights.
    """
    if config.model.startswith(LOCAL_DIR_PREFIX):
        folder = Path(config.model.removeprefix(LOCAL_DIR_PREFIX))
        if not is_file(folder / "open_clip_config.json"):
            raise OracleError(
                f"oracle.model: {str(folder)[:200]} must be a folder with open_clip_config.json, "
                "but is not"
            )
        try:
            architecture = open_clip.get_model_config(config.model)
        except Exception:  # whatever a broken description causes: `load_model` says it
            return
        _check_activation(config, architecture)
    elif config.model != "embedded":
        _check_name_and_weights(config.model, config.pretrained or "")
        _check_activation(config, open_clip.get_model_config(config.model))


def _check_name_and_weights(name: str, pretrained: str) -> None:
    if name not in open_clip.list_models():
        raise OracleError(
            f"oracle.model: must be 'embedded', 'local-dir:<folder>' or one of "
            f"open_clip.list_models(), but got {name!r}"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained.lower() not in {tag.lower() for tag in tags} and not is_file(Path(pretrained)):
        raise OracleError(
            f"oracle.pretrained: must be a file or one of {', '.join(tags) or '(no tags)'} for "
            f"{name}, but got {pretrained[:200]!r}"
        )


def load_model(config: OracleConfig, device: torch.device) -> LoadedModel:
    """Load weights and tokenizer through open_clip's own paths.

    Weights that a tag names get the activation that the tag declares: `RN50` with `openai` is
    `RN50-quickgelu`. Files of OpenAI's are read as they were published.

    Raises:
        OracleError: the checkpoint does not fit the model or cannot be read, or its weights were
            trained with another activation.
    """
    name = f"{LOCAL_DIR_PREFIX}{EMBEDDED_ORACLE}" if config.model == "embedded" else config.model
    try:
        architecture = open_clip.get_model_config(name)
        _check_activation(config, architecture)
        if _tag_declares_quick_gelu(config):
            architecture["quick_gelu"] = True
        with _weights(config) as pretrained, warnings.catch_warnings():
            # open_clip warns of details of its presets that a user cannot change here.
            warnings.simplefilter("ignore")
            model = open_clip.create_model(
                name,
                pretrained=pretrained,
                device=device,
                require_pretrained=True,
                force_quick_gelu=_tag_declares_quick_gelu(config),
            )
            tokenizer = open_clip.get_tokenizer(name)
    except OracleError:
        raise
    except Exception as error:  # open_clip lets out whatever a broken file or description causes
        source = f"{config.model} with {config.pretrained}" if config.pretrained else config.model
        raise OracleError(f"oracle: {source} cannot be loaded: {_reason(error)}") from error
    if not isinstance(tokenizer, open_clip.SimpleTokenizer):
        raise OracleError(
            f"oracle.model: {config.model} must use CLIP's tokenizer, but uses "
            f"{type(tokenizer).__name__}"
        )
    model.eval().requires_grad_(False)
    _check_finite(model, config)
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


def _reason(error: Exception) -> str:
    """One line. torch writes paragraphs, and of a pickle with code how to run it nevertheless."""
    if isinstance(error, pickle.UnpicklingError):
        return (
            "it is no checkpoint of weights, and only weights are read: nothing in it is executed"
        )
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


def _tag_of(config: OracleConfig) -> dict[str, Any] | None:
    """What open_clip says of the weights that a tag names; None for a file or a folder."""
    return open_clip.get_pretrained_cfg(config.model, config.pretrained or "") or None


def _tag_declares_quick_gelu(config: OracleConfig) -> bool:
    return bool((_tag_of(config) or {}).get("quick_gelu"))


@contextmanager
def _weights(config: OracleConfig) -> Iterator[str | None]:
    """`pretrained` for open_clip."""
    if config.pretrained is None or _tag_of(config) is not None:
        yield config.pretrained
        return
    with readable_by_open_clip(Path(config.pretrained)) as path:
        yield str(path)


def _check_activation(config: OracleConfig, architecture: dict[str, Any]) -> None:
    """Refuse weights that were trained with another activation than the architecture computes.

    Such a model loads, and silently loses points (open_clip only warns, and of tags only). A file
    that carries no mark is taken at the user's word.
    """
    has_quick_gelu = bool(architecture.get("quick_gelu"))
    if config.model.startswith(LOCAL_DIR_PREFIX):
        _check_activation_of_folder(
            Path(config.model.removeprefix(LOCAL_DIR_PREFIX)), has_quick_gelu
        )
    elif (tag := _tag_of(config)) is not None:
        # A tag that declares QuickGELU gets it; the other way round there is nothing to force.
        if has_quick_gelu and not tag.get("quick_gelu"):
            raise OracleError(
                f"oracle.pretrained: must have been trained with the activation of {config.model}, "
                f"QuickGELU, but {config.pretrained!r} was trained with GELU"
            )
    elif config.pretrained is not None:
        trained = trained_with_quick_gelu(Path(config.pretrained))
        if trained is not None and trained != has_quick_gelu:
            base = config.model.removesuffix("-quickgelu")
            remedy = f"{base}-quickgelu" if trained else base
            known = remedy in open_clip.list_models()
            raise OracleError(
                f"oracle.model: must compute the activation that the weights in "
                f"{config.pretrained} were trained with, {ACTIVATIONS[trained]}, but "
                f"{config.model!r} computes {ACTIVATIONS[has_quick_gelu]}: use "
                + (f"oracle.model={remedy}" if known else "a local-dir: whose model_cfg says so")
            )


def _check_activation_of_folder(folder: Path, has_quick_gelu: bool) -> None:
    for path in sorted(folder.iterdir()):
        is_weights = path.suffix in (".safetensors", ".bin", ".pth")
        trained = trained_with_quick_gelu(path) if is_weights else None
        if trained is not None and trained != has_quick_gelu:
            raise OracleError(
                f"oracle.model: quick_gelu in {folder / 'open_clip_config.json'} must be "
                f"{str(trained).lower()}, because the weights in {path.name} were trained with "
                f"{ACTIVATIONS[trained]}, but it is {str(has_quick_gelu).lower()}"
            )
