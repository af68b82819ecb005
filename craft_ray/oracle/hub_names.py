"""Names and shapes of a `CLIPModel` of `transformers`, in open_clip's: the published layouts."""

from __future__ import annotations

import re

import torch

from craft_ray.oracle.checkpoint_names import CheckpointError

Weights = dict[str, torch.Tensor]

MARKS = ("text_model.embeddings.token_embedding.weight", "visual_projection.weight")
"""Both are in every `CLIPModel`, and in no model of open_clip."""
WHOLE = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
TRANSPOSED = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
BUFFERS = (
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
)
TOWERS = {"text": "transformer.resblocks", "vision": "visual.transformer.resblocks"}
IN_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")


def is_hub_layout(weights: Weights) -> bool:
    """Whether they are those of a `CLIPModel`."""
    return all(mark in weights for mark in MARKS)


def in_open_clips_names(weights: Weights) -> Weights:
    """The weights of a `CLIPModel` as open_clip's `CLIP` has them. What has no counterpart keeps
    its name, and is refused as unexpected.

    Raises:
        CheckpointError: of a layer's query, key and value one is missing.
    """
    own: Weights = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in weights.items():
        if name in BUFFERS:
            continue
        if name in WHOLE:
            own[WHOLE[name]] = value
        elif name in TRANSPOSED:
            own[TRANSPOSED[name]] = value.T
        elif (found := LAYER.fullmatch(name)) is not None:
            tower, number, place, kind = found.groups()
            layer = f"{TOWERS[tower]}.{number}"
            part = place.removeprefix("self_attn.")
            if part in QUERY_KEY_VALUE:
                parts.setdefault(f"{layer}.attn.in_proj_{kind}", {})[part] = value
            else:
                own[f"{layer}.{IN_LAYER.get(place, place)}.{kind}"] = value
        else:
            own[name] = value
    for name, three in parts.items():
        if absent := [part for part in QUERY_KEY_VALUE if part not in three]:
            raise CheckpointError(f"{name.rpartition('.')[0]} lacks {', '.join(absent)}")
        own[name] = torch.cat([three[part] for part in QUERY_KEY_VALUE])
    return own
