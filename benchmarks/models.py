"""Oracles to measure: the embedded one, and open_clip's architectures with random weights.

Speed and memory do not depend on what the weights are.
"""

from __future__ import annotations

import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.loading import LoadedModel, load_model

EMBEDDED = "embedded"


def load_or_draw(name: str, device: str) -> LoadedModel:
    """The embedded model, or a random one of an open_clip architecture."""
    if name == EMBEDDED:
        return load_model(OracleConfig(), torch.device(device))
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None, device=device)
    model.eval().requires_grad_(False)
    size = open_clip.get_model_preprocess_cfg(model)["size"]
    return LoadedModel(
        model=model,
        tokenizer=open_clip.get_tokenizer(name),
        image_size=int(size[0] if isinstance(size, tuple) else size),
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        architecture=open_clip.get_model_config(name),
    )


class DrawnOracle:
    """Makes a `ClipOracle` of `load_or_draw` in the process of a replica."""

    def __init__(self, name: str, config: OracleConfig, device: str, num_threads: int) -> None:
        self._name = name
        self._config = config
        self._device = device
        self._num_threads = num_threads

    def __call__(self) -> ClipOracle:
        torch.set_num_threads(self._num_threads)
        return ClipOracle(load_or_draw(self._name, self._device), self._config)
