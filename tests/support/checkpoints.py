"""Tiny open_clip models with random weights, stored as users store theirs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file

IMAGE_SIZE = 32
CONTEXT_LENGTH = 24

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

TINY_CLIP: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": IMAGE_SIZE,
        "layers": 1,
        "width": 32,
        "head_width": 16,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": 49408,
        "width": 24,
        "heads": 2,
        "layers": 2,
    },
}


def tiny_clip_dir(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a random `CLIP` that open_clip reads as `local-dir:<folder>`.

    Args:
        folder: is made.
        seed: draws the weights.
        changes: top-level keys of the model's configuration; those of `text_cfg` are merged.
    """
    text_changes = changes.pop("text_cfg", {})
    model_cfg = {**TINY_CLIP, **changes, "text_cfg": {**TINY_CLIP["text_cfg"], **text_changes}}
    folder.mkdir(parents=True)
    save_file(_random_weights(model_cfg, seed), folder / WEIGHTS_FILE)
    write_config(folder, model_cfg)
    return folder


def tiny_custom_text_dir(folder: Path, *, seed: int = 0) -> Path:
    """The same as a `CustomTextCLIP`, whose text tower stands on its own and ends in a Linear."""
    return tiny_clip_dir(folder, seed=seed, custom_text=True, text_cfg={"proj_bias": True})


def write_config(folder: Path, model_cfg: dict[str, Any]) -> None:
    """(Re)write the description beside the weights."""
    statistics = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    document = {"model_cfg": model_cfg, "preprocess_cfg": statistics}
    (folder / CONFIG_FILE).write_text(json.dumps(document), encoding="utf-8")


def save_random_weights(model_name: str, path: Path, *, seed: int = 0) -> None:
    """A random state_dict of one of open_clip's own architectures, as `torch.save` writes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.create_model(model_name, pretrained=None)
    torch.save(model.state_dict(), path)


def tiny_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A random state_dict of `TINY_CLIP`, in half precision as far as OpenAI's files are."""
    weights = _random_weights(TINY_CLIP, seed)
    return {name: value.half() if value.ndim > 1 else value for name, value in weights.items()}


def openai_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With the three numbers that stand among the weights in OpenAI's files."""
    numbers = {"input_resolution": IMAGE_SIZE, "context_length": CONTEXT_LENGTH}
    numbers["vocab_size"] = TINY_CLIP["text_cfg"]["vocab_size"]
    return {**weights, **{name: torch.tensor(number) for name, number in numbers.items()}}


def save_torchscript(weights: dict[str, torch.Tensor], path: Path) -> None:
    """A TorchScript archive, which is how OpenAI published CLIP."""
    root = torch.nn.Module()
    for name, value in weights.items():
        *sections, leaf = name.split(".")
        module = root
        for section in sections:
            if section not in dict(module.named_children()):
                module.add_module(section, torch.nn.Module())
            module = module.get_submodule(section)
        module.register_buffer(leaf, value)
    root.forward = lambda x: x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; OpenAI's files are as they are
        torch.jit.save(torch.jit.trace(root, torch.zeros(1)), path)  # type: ignore[no-untyped-call]


@contextmanager
def vocabulary_read_once() -> Iterator[None]:
    """open_clip reads CLIP's 49,408 tokens anew for each model, which takes longer than all else
    that a tiny model does."""
    read = SimpleTokenizer.__init__
    known: dict[str, dict[str, Any]] = {}

    def remember(tokenizer: SimpleTokenizer, *args: Any, **options: Any) -> None:
        key = repr((args, options))
        if key not in known:
            read(tokenizer, *args, **options)
            known[key] = vars(tokenizer)
        vars(tokenizer).update(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimpleTokenizer, "__init__", remember)
        yield


def _random_weights(model_cfg: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Of one's own to change."""
    drawn = _drawn_weights(json.dumps(model_cfg), seed)
    return {name: value.clone() for name, value in drawn.items()}


@cache
def _drawn_weights(model_cfg: str, seed: int) -> dict[str, torch.Tensor]:
    arguments = json.loads(model_cfg)
    kind = open_clip.CustomTextCLIP if arguments.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        state: dict[str, torch.Tensor] = kind(**arguments).state_dict()
        # open_clip starts embeddings near zero, where all prompts look the same; a trained model
        # tells them apart.
        for name, value in state.items():
            if name.endswith(("token_embedding.weight", "positional_embedding")):
                state[name] = torch.randn_like(value) * 0.3
    return {name: value.contiguous() for name, value in state.items()}
