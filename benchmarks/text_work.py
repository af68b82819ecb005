"""The work of a text tower: classes to encode, the arithmetic that they need, and that is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch.utils.flop_counter import FlopCounterMode

from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.text.prompts import PromptTokens

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def class_names(count: int) -> tuple[str, ...]:
    """CIFAR-10's names, or the first of ImageNet's."""
    return CIFAR10 if count == len(CIFAR10) else tuple(IMAGENET_CLASSNAMES[:count])


def tower_of(loaded: LoadedModel) -> Any:
    """Where open_clip keeps the text tower's parts."""
    return getattr(loaded.model, "text", loaded.model)


def weights_of(block: Any) -> tuple[int, int]:
    """Weights of a block's linear layers: those into queries, keys and values, and the others."""
    parts = (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj)
    return block.attn.in_proj_weight.numel(), sum(part.weight.numel() for part in parts)


def logits_of(features_KCF: torch.Tensor) -> torch.Tensor:
    """100 * cosine to images whose features point anywhere."""
    features = F.normalize(features_KCF.float().cpu(), dim=-1)
    images = torch.randn((64, features.shape[-1]), generator=torch.Generator().manual_seed(1))
    return 100 * features @ F.normalize(images, dim=-1).T


def needed_flops(loaded: LoadedModel, tokens: PromptTokens, length: int) -> float:
    """What one candidate cannot be encoded without: every token of its context and of each suffix
    once, attention only between tokens that see each other, the last layer and the projection for
    end tokens only.

    Args:
        loaded: a model whose text tower is causal.
        tokens: of the task.
        length: L of the context.
    """
    tower = tower_of(loaded)
    layers = [weights_of(block) for block in tower.transformer.resblocks]
    width = int(tower.positional_embedding.shape[1])
    lengths = [len(suffix) for suffix in tokens.suffixes]
    prefix = len(tokens.frame.start) + length
    count = prefix + sum(lengths)
    pairs = prefix * (prefix + 1) / 2 + sum(t * prefix + t * (t + 1) / 2 for t in lengths)
    flops = 0.0
    for into, rest in layers[:-1]:
        flops += 2 * count * (into + rest) + 4 * width * pairs
    into, rest = layers[-1]
    flops += 2 * (count * into + len(lengths) * rest) + 4 * width * sum(prefix + t for t in lengths)
    projection = tower.text_projection
    if projection is not None:
        weight: torch.Tensor = getattr(projection, "weight", projection)
        flops += 2 * len(lengths) * weight.numel()
    return flops


def used_flops(work: Callable[[], object]) -> int:
    """Of all matrix products that are computed."""
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={on_cpu: _attention_flops}) as counter:
        work()
    return int(counter.get_total_flops())


def _attention_flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
    """Of torch's attention on a CPU, which its counter passes over."""
    rows, heads, queries, width = q
    return int(4 * rows * heads * queries * k[2] * width)
