"""AdamW (Loshchilov & Hutter, ICLR 2019), for the few small tensors that are trained here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """To the bit `torch.optim.AdamW` on a CPU with its default betas; without decay, Adam.

    torch's own imports its compiler (`torch._dynamo`) with the first instance: 2 to 3 seconds of
    CPU, more than a small head takes.

    Args:
        parameters: what is trained, in place; those without a gradient stay as they are.
        learning_rate: may be changed between steps.
        weight_decay: decoupled from the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        learning_rate: float,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._parameters = list(parameters)
        self._moments: dict[int, dict[str, torch.Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter against its gradient."""
        for index, parameter in enumerate(self._parameters):
            if parameter.grad is not None:
                self._move(parameter, parameter.grad, self._moments_of(index))

    def _moments_of(self, index: int) -> dict[str, torch.Tensor]:
        if index not in self._moments:
            parameter = self._parameters[index]
            self._moments[index] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self._moments[index]

    def _move(
        self, parameter: torch.Tensor, gradient: torch.Tensor, moments: dict[str, torch.Tensor]
    ) -> None:
        """The paper's algorithm 2, in the order of torch's arithmetic."""
        first, second = moments["exp_avg"], moments["exp_avg_sq"]
        moments["step"] += 1
        number = moments["step"].item()
        beta1, beta2 = BETAS
        if self._weight_decay != 0:
            parameter.mul_(1 - self.learning_rate * self._weight_decay)
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step_size = self.learning_rate / (1 - beta1**number)
        scale = (second.sqrt() / (1 - beta2**number) ** 0.5).add_(EPSILON)
        parameter.addcdiv_(first, scale, value=-step_size)

    def state(self) -> dict[int, dict[str, torch.Tensor]]:
        """Moments and steps under the index of their parameter, as torch names them; a copy."""
        return {
            index: {name: value.clone() for name, value in moments.items()}
            for index, moments in self._moments.items()
        }

    def load_state(self, state: Mapping[int, Mapping[str, torch.Tensor]]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is that of other parameters.
        """
        for index, moments in state.items():
            shapes = {name: tuple(value.shape) for name, value in moments.items()}
            own = tuple(self._parameters[index].shape) if index < len(self._parameters) else None
            if shapes != {"step": (), "exp_avg": own, "exp_avg_sq": own}:
                raise ValueError(f"moments of parameter {index}, {own}, must fit, but are {shapes}")
        self._moments = {
            index: {name: value.clone() for name, value in moments.items()}
            for index, moments in state.items()
        }
