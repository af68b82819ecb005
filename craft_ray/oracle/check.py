"""Whether a model can be loaded, from names and files alone."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from craft_ray.config.oracle import OracleConfig
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import OracleError
from craft_ray.oracle.catalogue import (
    LOCAL_DIR_PREFIX,
    architecture_in,
    architectures,
    published_weights,
    tags_of,
)
from craft_ray.oracle.checkpoint_names import CheckpointError
from craft_ray.oracle.hub_folder import hub_architecture, is_clip_model
from craft_ray.oracle.preprocessing import preprocessing_of
from craft_ray.oracle.text.foreign import check_installed
from craft_ray.oracle.weights import (
    description_beside,
    is_file,
    trained_with_quick_gelu,
    weights_in,
)

ACTIVATIONS = {True: "QuickGELU", False: "GELU"}


def check_model_exists(config: OracleConfig) -> None:
    """Refuse a model that cannot be loaded, before anything is started.

    Raises:
        OracleError: unknown model name, unknown tag, missing file or folder, an activation that is
            not that of the weights, a tokenizer whose package is not installed, or nobody says what
            the weights want of an image.
    """
    if config.model.startswith(LOCAL_DIR_PREFIX):
        folder = Path(config.model.removeprefix(LOCAL_DIR_PREFIX))
        is_described = is_file(folder / "open_clip_config.json")
        if not is_described and not is_clip_model(folder):
            raise OracleError(
                f"oracle.model: {str(folder)[:200]} must be a folder with open_clip_config.json, "
                "or that of a CLIPModel of transformers with config.json, but is not"
            )
        if not is_described:
            hub_architecture(folder)
            _weights_in(folder)
            preprocessing_of(config)
            return
        try:
            architecture = architecture_in(folder)
        except Exception:  # whatever a broken description causes: `load_model` says it
            return
        check_installed(folder.name, architecture)
        check_activation(config, architecture)
        preprocessing_of(config)
    elif config.model != "embedded":
        _check_name_and_weights(config.model, config.pretrained or "")
        check_installed(config.model, architectures()[config.model])
        check_activation(config, architectures()[config.model])
        preprocessing_of(config)


def _check_name_and_weights(name: str, pretrained: str) -> None:
    if name not in architectures():
        near = model_like(name)
        raise OracleError(
            f"oracle.model: must be 'embedded', 'local-dir:<folder>' or one of "
            f"open_clip.list_models(), but got {name[:200]!r}"
            + (f": did you mean oracle.model={near}?" if near else "")
        )
    tags = tags_of(name)
    if pretrained.lower() not in {tag.lower() for tag in tags} and not is_file(Path(pretrained)):
        if os.path.isdir(pretrained):
            raise OracleError(
                f"oracle.pretrained: must be a file or a tag, but {pretrained} is a folder: for a "
                f"whole model in it say oracle.model=local-dir:{pretrained} and no "
                "oracle.pretrained, or name the file of weights in it"
            )
        raise OracleError(
            f"oracle.pretrained: must be a file or one of {', '.join(tags) or '(no tags)'} for "
            f"{name}, but got {pretrained[:200]!r}{did_you_mean(pretrained, tags)}"
        )


def model_like(name: str) -> str | None:
    """The model of open_clip that may have been meant: by `ViT-B/32`, by `vit_b_32`, or by a name
    of Hugging Face such as `openai/clip-vit-base-patch32`."""
    known = {_letters(architecture): architecture for architecture in architectures()}
    letters = _letters(name[:100].split("/")[-1] if name.count("/") == 1 else name[:100])
    spelled = _letters(name[:100])
    for size in ("base", "large", "huge", "giant"):
        letters = letters.replace(f"vit{size}patch", f"vit{size[0]}")
    letters = letters.removeprefix("clip")
    for candidate in (spelled, letters):
        if candidate in known:
            return known[candidate]
    begins = [word for word in known if len(word) > 4 and letters.startswith(word)]
    if begins:
        return known[max(begins, key=len)]
    near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tag_of(config: OracleConfig) -> dict[str, Any] | None:
    """What open_clip says of the weights that a tag names; None for a file or a folder."""
    return published_weights(config.model, config.pretrained or "")


def check_activation(config: OracleConfig, architecture: dict[str, Any]) -> None:
    """Refuse weights that were trained with another activation than the architecture computes.

    Such a model loads, and silently loses points (open_clip only warns, and of tags only). A file
    that carries no mark, and has no description of this model beside it, is taken at the user's
    word.
    """
    has_quick_gelu = bool(architecture.get("quick_gelu"))
    if config.model.startswith(LOCAL_DIR_PREFIX):
        _check_activation_of_folder(
            Path(config.model.removeprefix(LOCAL_DIR_PREFIX)), has_quick_gelu
        )
    elif (tag := tag_of(config)) is not None:
        # A tag that declares QuickGELU gets it; the other way round there is nothing to force. An
        # architecture without a sibling (roberta-ViT-B-32) has what its only weights were trained
        # with, though their tag does not say so.
        has_sibling = config.model.endswith("-quickgelu")
        if has_quick_gelu and has_sibling and not tag.get("quick_gelu"):
            raise OracleError(
                f"oracle.pretrained: must have been trained with the activation of {config.model}, "
                f"QuickGELU, but {config.pretrained!r} was trained with GELU"
            )
    elif config.pretrained is not None:
        path = Path(config.pretrained)
        trained = trained_with_quick_gelu(path)
        if trained is None and (beside := description_beside(config.model, path)) is not None:
            trained = bool(beside["model_cfg"].get("quick_gelu"))
        if trained is not None and trained != has_quick_gelu:
            base = config.model.removesuffix("-quickgelu")
            remedy = f"{base}-quickgelu" if trained else base
            known = remedy in architectures()
            raise OracleError(
                f"oracle.model: must compute the activation that the weights in "
                f"{config.pretrained} were trained with, {ACTIVATIONS[trained]}, but "
                f"{config.model!r} computes {ACTIVATIONS[has_quick_gelu]}: use "
                + (f"oracle.model={remedy}" if known else "a local-dir: whose model_cfg says so")
            )


def activation_note(config: OracleConfig, architecture: dict[str, Any]) -> str | None:
    """What a user should know of weights in a file that does not say its activation, where both
    activations have a name: a wrong one loads, and answers worse. None if there is no doubt."""
    base = config.model.removesuffix("-quickgelu")
    path = Path(config.pretrained or "")
    both = {base, f"{base}-quickgelu"} <= architectures().keys()
    if not both or trained_with_quick_gelu(path) is not None:
        return None
    has_quick_gelu = bool(architecture.get("quick_gelu"))
    other = base if has_quick_gelu else f"{base}-quickgelu"
    whose = "" if has_quick_gelu else " (OpenAI's, and what was tuned from them)"
    return (
        f"Activation: {ACTIVATIONS[has_quick_gelu]}, by the name {config.model}; {path.name} does "
        f"not say it. Weights that were trained with {ACTIVATIONS[not has_quick_gelu]}{whose} "
        f"want oracle.model={other}."
    )


def check_hub_activation(config: OracleConfig, architecture: dict[str, Any], folder: Path) -> None:
    """Refuse weights of a `CLIPModel` whose `config.json` beside them names another activation."""
    trained = bool(hub_architecture(folder)["quick_gelu"])
    has_quick_gelu = bool(architecture.get("quick_gelu"))
    if trained != has_quick_gelu:
        raise OracleError(
            f"oracle.model: must compute the activation that {folder / 'config.json'} names, "
            f"{ACTIVATIONS[trained]}, but {config.model!r} computes "
            f"{ACTIVATIONS[has_quick_gelu]}: use oracle.model=local-dir:{folder} and no "
            "oracle.pretrained"
        )


def _check_activation_of_folder(folder: Path, has_quick_gelu: bool) -> None:
    path = _weights_in(folder)
    trained = trained_with_quick_gelu(path)
    if trained is not None and trained != has_quick_gelu:
        raise OracleError(
            f"oracle.model: quick_gelu in {folder / 'open_clip_config.json'} must be "
            f"{str(trained).lower()}, because the weights in {path.name} were trained with "
            f"{ACTIVATIONS[trained]}, but it is {str(has_quick_gelu).lower()}"
        )


def _weights_in(folder: Path) -> Path:
    try:
        return weights_in(folder)
    except CheckpointError as error:
        raise OracleError(f"oracle.model: {error}") from None
