"""From an architecture and the tensors of a file to an open_clip model, with nothing resized.

open_clip's own loader interpolates position embeddings of another size without a word, for which
answers get worse. Here the model is built in the size of its weights, or they are refused.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch

from craft_ray.oracle.checkpoint_names import OPENAI_KEYS, CheckpointError
from craft_ray.oracle.open_clip_light import open_clip

RESNET_STRIDE = 32
NAMES_SHOWN = 4

Weights = dict[str, torch.Tensor]


def build_model(architecture: dict[str, Any], weights: Weights) -> Any:
    """An open_clip model with these weights.

    Args:
        architecture: open_clip's `model_cfg`.
        weights: of a file; OpenAI's and open_clip's names.

    Raises:
        CheckpointError: they don't fit; says which are missing, too many or of another shape.
        Exception: whatever a broken description makes open_clip raise.
    """
    settings = deepcopy(architecture)
    text = settings["text_cfg"]
    custom = settings.pop("custom_text", False) or "hf_model_name" in text
    if "logit_bias" in weights and settings.get("init_logit_bias") is None:
        settings["init_logit_bias"] = 0.0  # any architecture may be trained with a sigmoid
    if "timm_model_name" in settings["vision_cfg"]:
        settings["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    kind: Any = open_clip.CLIP
    if custom:
        kind = open_clip.CoCa if "multimodal_cfg" in settings else open_clip.CustomTextCLIP
    model = kind(**settings)
    fitting = _in_the_words_of(model, weights)
    _check_fit(model.state_dict(), fitting)
    model.load_state_dict(fitting, strict=True)
    return model


def sizes_of(architecture: dict[str, Any], weights: Weights) -> dict[str, tuple[int, int]]:
    """Where weights are of another size than an architecture: `image_size` and `context_length`,
    each with the size of the architecture and that of the weights.

    Raises:
        CheckpointError: OpenAI's own number is another than that of the weights.
    """
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    found = {}
    side = _side(weights)
    told = weights.get(OPENAI_KEYS[0])
    if told is not None and side is not None and int(told) != side:
        raise CheckpointError(
            f"its input_resolution is {int(told)}, but its position embeddings are of {side} pixels"
        )
    image_size = vision.get("image_size", 224)
    if side and isinstance(image_size, int) and "timm_model_name" not in vision:
        patch = side // _grid(weights)
        if image_size // patch != side // patch:
            found["image_size"] = image_size, side
    for name in ("positional_embedding", "text.positional_embedding"):
        if name in weights:
            length = len(weights[name]) - bool(text.get("embed_cls"))
            if length != text.get("context_length", 77):
                found["context_length"] = text.get("context_length", 77), length
    return found


def in_sizes(architecture: dict[str, Any], sizes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The architecture in the sizes of the weights."""
    resized = deepcopy(architecture)
    towers = {"image_size": "vision_cfg", "context_length": "text_cfg"}
    for name, (_, own) in sizes.items():
        resized[towers[name]][name] = own
    return resized


def _positions(weights: Weights) -> torch.Tensor | None:
    found = weights.get("visual.positional_embedding")
    return weights.get("visual.attnpool.positional_embedding") if found is None else found


def _grid(weights: Weights) -> int:
    """Patches of a side; 0 if the position embeddings are of no square."""
    positions = _positions(weights)
    if positions is None or positions.ndim != 2:
        return 0
    grid = math.isqrt(max(len(positions) - 1, 0))
    return grid if grid * grid == len(positions) - 1 else 0


def _side(weights: Weights) -> int | None:
    """Of the images that the position embeddings are of; None where they don't tell."""
    grid = _grid(weights)
    if not grid:
        return None
    if "visual.positional_embedding" not in weights:
        return grid * RESNET_STRIDE
    patches = weights.get("visual.conv1.weight")
    return None if patches is None or patches.ndim != 4 else grid * patches.shape[-1]


def _in_the_words_of(model: Any, weights: Weights) -> Weights:
    """As open_clip's loader translates names, and nothing resized."""
    own: Weights = {name: value for name, value in weights.items() if name not in OPENAI_KEYS}
    own = open_clip.convert.convert_state_dict(model, own)
    if "positional_embedding" in own and not hasattr(model, "positional_embedding"):
        own = open_clip.model.convert_to_custom_text_state_dict(own)
    for name in ("logit_scale", "logit_bias"):
        mine = getattr(model, name, None)
        if mine is not None and name in own and own[name].numel() == 1:
            own[name] = own[name].reshape(mine.shape)
    if getattr(model, "logit_bias", None) is not None and "logit_bias" not in own:
        own["logit_bias"] = torch.zeros_like(model.logit_bias)
    return own


def _check_fit(wanted: Weights, given: Weights) -> None:
    problems = []
    if missing := [name for name in wanted if name not in given]:
        problems.append(f"missing {_some(missing)}")
    if unexpected := [name for name in given if name not in wanted]:
        problems.append(f"unexpected {_some(unexpected)}")
    shared = [name for name in wanted if name in given]
    others = [
        f"{name} ({_shape(given[name])} in place of {_shape(wanted[name])})"
        for name in shared
        if given[name].shape != wanted[name].shape
    ]
    if others:
        problems.append(f"of another shape {_some(others)}")
    whole = [
        f"{name} ({str(given[name].dtype).removeprefix('torch.')})"
        for name in shared
        if wanted[name].is_floating_point() and not given[name].is_floating_point()
    ]
    if whole:
        problems.append(f"quantised {_some(whole)}")
    if problems:
        raise CheckpointError(f"its weights are not those of this model: {'; '.join(problems)}")


def _some(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
