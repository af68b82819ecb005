"""Which part of a checkpoint is the model, and what its tensors are called without what training
put around them. Pure decisions about names; the tensors themselves are not looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's state dicts hold beside the weights."""
WEIGHTS = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
"""What programs call the weights of the model in a checkpoint."""
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema")
"""And their moving average over training."""
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a name that stand for what a model was wrapped in: DataParallel, torch.compile, FSDP."""
BESIDE = ("n_averaged", "text.transformer.embeddings.position_ids")
"""Buffers that are no weights: of averaged models, and of old `transformers`."""
SCALE = "logit_scale"
"""What every CLIP has exactly once, beside that of an attention, `attn.logit_scale` (Swin V2)."""
DEEPEST = 3


class CheckpointError(ValueError):
    """A file that holds no weights of the model, or does not say which; the message is whole."""


def weights_within(
    document: object, is_tensor: Callable[[object], bool]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The weights of a checkpoint by their names, and under which keys they were.

    Raises:
        CheckpointError: it holds none, or several that may be meant.
    """
    return _weights_within(document, is_tensor, ())


def _weights_within(
    document: object, is_tensor: Callable[[object], bool], path: tuple[str, ...]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    if not isinstance(document, Mapping):
        raise CheckpointError(
            f"it holds {_where(path)}an object of {type(document).__name__} and no named tensors"
        )
    own = {str(name): value for name, value in document.items() if is_tensor(value)}
    if any(name.endswith(SCALE) for name in own):
        return own, path
    inner = [
        name
        for name in (*WEIGHTS, *AVERAGED)
        if isinstance(document.get(name), Mapping) and _has_tensors(document[name], is_tensor)
    ]
    if len(inner) > 1:
        keys = "".join(f"[{name!r}]" for name in path)
        raise CheckpointError(
            f"it holds {_where(path)}several models, under {' and '.join(inner)}: save the one "
            f"that is meant alone, for example torch.save(torch.load(FILE){keys}[{inner[-1]!r}], "
            "'weights.pt')"
        )
    if inner and len(path) < DEEPEST:
        return _weights_within(document[inner[0]], is_tensor, (*path, inner[0]))
    if not own:
        keys = ", ".join(map(str, list(document)[:8]))
        raise CheckpointError(
            f"it holds {_where(path)}no named tensors, but {keys or 'nothing'}: save the state "
            "dict alone: torch.save(model.state_dict(), 'weights.pt')"
        )
    return own, path


def bare_names(weights: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Weights without prefixes (`module.`, `_orig_mod.`, Lightning's `model.`), and sentences of
    what a user should know of it.

    Raises:
        CheckpointError: two tensors get one name, or there are several models.
    """
    bare: dict[str, Any] = {}
    for name, value in weights.items():
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if short in bare:
            raise CheckpointError(f"it holds {short} twice, wrapped and not")
        bare[short] = value
    for name in BESIDE:
        bare.pop(name, None)
    named = [name for name in bare if name == SCALE or name.endswith(f".{SCALE}")]
    scales = [name for name in named if not name.endswith(f"attn.{SCALE}")]
    if len(scales) > 1:
        raise CheckpointError(
            f"it holds several models: {', '.join(scales)}; save the state dict of the one that is "
            "meant alone: torch.save(model.state_dict(), 'weights.pt')"
        )
    root = scales[0].removesuffix(SCALE) if scales else ""
    if not root:
        return bare, ()
    model = {
        name.removeprefix(root): value for name, value in bare.items() if name.startswith(root)
    }
    others = [name for name in bare if not name.startswith(root)]
    if not others:
        return model, ()
    some = ", ".join(others[:3])
    return model, (
        f"Of the weights, {len(others)} outside of {root.rstrip('.')} were left out: {some}.",
    )


def _has_tensors(
    document: Mapping[Any, Any], is_tensor: Callable[[object], bool], depth: int = 0
) -> bool:
    return any(
        is_tensor(value)
        or (
            isinstance(value, Mapping)
            and depth < DEEPEST
            and _has_tensors(value, is_tensor, depth + 1)
        )
        for value in document.values()
    )


def _where(path: tuple[str, ...]) -> str:
    return f"under {'.'.join(path)} " if path else ""
