"""Folders that `transformers` writes for its `CLIPModel`: the architecture and the preprocessing of
their configurations, in open_clip's words. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from craft_ray.errors import OracleError

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Numbers of Pillow's filters."""
ACTIVATIONS = {"quick_gelu": True, "gelu": False}
"""Whether it is QuickGELU."""
CLIP_VOCABULARY = 49408


def is_clip_model(folder: Path) -> bool:
    """Whether it is a folder of a `CLIPModel`."""
    return _document(folder / CONFIG).get("model_type") == "clip"


def is_hub_folder(folder: Path) -> bool:
    """Whether a model is read as a `CLIPModel`: it has no description of open_clip's."""
    return is_clip_model(folder) and not (folder / "open_clip_config.json").is_file()


def hub_architecture(folder: Path) -> dict[str, Any]:
    """open_clip's `model_cfg` of a folder of a `CLIPModel`. What is not said has the value that
    `CLIPConfig` gives it.

    Raises:
        OracleError: open_clip has no such model.
    """
    document = _document(folder / CONFIG)
    text, vision = (_tower(document, name) for name in ("text_config", "vision_config"))
    acts = {str(tower.get("hidden_act", "quick_gelu")) for tower in (text, vision)}
    where = folder / CONFIG
    if len(acts) != 1 or not acts <= ACTIVATIONS.keys():
        raise OracleError(
            f"oracle.model: hidden_act in {where} must be one of {', '.join(ACTIVATIONS)}, the "
            f"same for both towers, but is {', '.join(sorted(acts))}"
        )
    for tower, kind in ((text, "text_config"), (vision, "vision_config")):
        if tower.get("layer_norm_eps", 1e-5) != 1e-5:
            raise OracleError(
                f"oracle.model: {kind}.layer_norm_eps in {where} must be 1e-5, but is "
                f"{tower['layer_norm_eps']}"
            )
    vocabulary = text.get("vocab_size", CLIP_VOCABULARY)
    if vocabulary != CLIP_VOCABULARY:
        raise OracleError(
            f"oracle.model: text_config.vocab_size in {where} must be {CLIP_VOCABULARY}, that of "
            f"CLIP's tokenizer, but is {vocabulary}"
        )
    return {
        "embed_dim": _count(document, "projection_dim", 512, where),
        "quick_gelu": ACTIVATIONS[acts.pop()],
        "vision_cfg": {
            "image_size": _count(vision, "image_size", 224, where),
            "layers": _count(vision, "num_hidden_layers", 12, where),
            "patch_size": _count(vision, "patch_size", 32, where),
            **_widths(vision, 768, 12, 3072, where, is_text=False),
        },
        "text_cfg": {
            "context_length": _count(text, "max_position_embeddings", 77, where),
            "vocab_size": vocabulary,
            "layers": _count(text, "num_hidden_layers", 12, where),
            **_widths(text, 512, 8, 2048, where, is_text=True),
        },
    }


def _widths(
    tower: dict[str, Any], width: int, heads: int, inner: int, where: Path, *, is_text: bool
) -> dict[str, Any]:
    """Of a tower, in open_clip's words; the numbers are those that are not said."""
    width = _count(tower, "hidden_size", width, where)
    heads = _count(tower, "num_attention_heads", heads, where)
    inner = _count(tower, "intermediate_size", inner, where)
    if width % heads:
        raise OracleError(
            f"oracle.model: num_attention_heads in {where} must divide hidden_size, {width}, but "
            f"is {heads}"
        )
    ratio = inner / width
    if int(width * ratio) != inner:  # open_clip cuts off what is behind the point
        ratio = (inner + 0.5) / width
    own = {"heads": heads} if is_text else {"head_width": width // heads}
    return {"width": width, **own, "mlp_ratio": ratio}


def _count(section: dict[str, Any], name: str, default: int, where: Path) -> int:
    value = section.get(name, default)
    if type(value) is not int or value < 1:
        raise OracleError(
            f"oracle.model: {name} in {where} must be a whole number >= 1, but is {value!r}"
        )
    return value


def foreign_words(folder: Path, known: dict[str, int]) -> list[str]:
    """Words to which the vocabulary that stands in a folder gives another number than `known`, or
    which are not in `known`; the marks of start and end, `<|...|>`, are left aside."""
    vocabulary = _document(folder / "vocab.json")
    if not vocabulary:
        model = _document(folder / "tokenizer.json").get("model")
        found = model.get("vocab") if isinstance(model, dict) else None
        vocabulary = found if isinstance(found, dict) else {}
    return [
        word
        for word, number in vocabulary.items()
        if not word.startswith("<|") and known.get(word) != number
    ]


def image_processor_in(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """open_clip's `preprocess_cfg` of the image processor that stands in a folder, and its file;
    nothing if none stands there.

    Raises:
        OracleError: it does something that open_clip's transform can't do.
    """
    for name in PROCESSORS:
        document = _document(folder / name)
        settings = document.get("image_processor", document)
        if isinstance(settings, dict) and {"image_mean", "crop_size", "size"} & settings.keys():
            yield name, _preprocess(settings, folder / name)
            return


def _preprocess(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    # null is what is not said.
    settings = {name: value for name, value in settings.items() if value is not None}
    resample, scale = settings.get("resample", 3), settings.get("rescale_factor", 1 / 255)
    found: dict[str, Any] = {
        "mean": settings.get("image_mean"),
        "std": settings.get("image_std"),
        "interpolation": RESAMPLING.get(resample) if isinstance(resample, int) else None,
    }
    if settings.get("do_normalize") is False:
        found |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    size, crop = settings.get("size"), settings.get("crop_size")
    crops = settings.get("do_center_crop", crop is not None)
    found["resize_mode"] = None
    short = size.get("shortest_edge") if isinstance(size, dict) else size
    if short is None:
        found["resize_mode"] = None if crops or size is None else "squash"
    elif crops:
        side = crop.get("height") if isinstance(crop, dict) else crop
        found["resize_mode"] = "shortest" if side in (short, None) else None
    is_told = size is None or found["resize_mode"] is not None
    steps = {name: settings.get(name, True) for name in ("do_resize", "do_rescale")}
    is_usual = isinstance(scale, int | float) and abs(scale * 255 - 1) <= 1e-6
    if not is_told or found["interpolation"] is None or not is_usual or False in steps.values():
        raise OracleError(
            f"oracle.model: {path} must resize the short side and crop the centre to the same "
            "size, or resize both sides, bicubic or bilinear, and rescale by 1/255, but has "
            f"size {size}, crop_size {crop}, resample {resample}, rescale_factor {scale} and "
            f"{', '.join(f'{name} {value}' for name, value in steps.items())}. It is not read "
            "where oracle.image_mean, image_std, resize_mode and interpolation are all set"
        )
    return found


def _tower(document: dict[str, Any], name: str) -> dict[str, Any]:
    tower = document.get(name) or document.get(f"{name}_dict") or {}
    return tower if isinstance(tower, dict) else {}


def _document(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
