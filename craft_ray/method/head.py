"""Prediction refinement: y = l + MLP(l) (CraFT section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from craft_ray.config.fidelity import FidelityConfig
from craft_ray.method.reduction import FloatArray


class RefinementHead(nn.Module):
    """Residual MLP on the oracle's logits: Linear(C, H) - ReLU - Linear(H, C).

    Args:
        num_classes: C.
        hidden: H.
        init: `identity` starts the last layer at zero, so that the first refined logits are the
            raw ones; `default` keeps torch's random start, as the authors do.
        generator: draws the start.
    """

    def __init__(
        self,
        num_classes: int,
        hidden: int,
        init: str = FidelityConfig().head_init,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(num_classes, hidden)
        self.leave = nn.Linear(hidden, num_classes)
        for layer in (self.enter, self.leave):
            # nn.Linear's own start, drawn from our generator.
            bound = layer.in_features**-0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
        if init == "identity":
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    @classmethod
    def from_weights(cls, weights: Mapping[str, FloatArray]) -> RefinementHead:
        """A head with the arrays of another one's `state_dict`."""
        hidden, num_classes = weights["enter.weight"].shape
        head = cls(num_classes, hidden)
        # torch wants writable memory; weights read from a file or the object store are not.
        head.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
        return head

    def weights(self) -> dict[str, FloatArray]:
        """A copy of the `state_dict` as arrays."""
        return {name: value.numpy().copy() for name, value in self.state_dict().items()}

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Refined logits, [..., C]."""
        refined: torch.Tensor = logits + self.leave(torch.relu(self.enter(logits)))
        return refined
