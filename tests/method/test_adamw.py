"""AdamW against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.method.adamw import AdamW
from craft_ray.tuners.state import pack_adam, unpack_adam

SHAPES = ((5, 3), (5,), (3, 5), (1,))


def parameters(seed: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def give_gradients(*groups: list[torch.nn.Parameter], seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for same in zip(*groups, strict=True):
        gradient = scale * torch.randn(same[0].shape, generator=generator)
        for parameter in same:
            parameter.grad = gradient.clone()


def assert_equal(ours: list[torch.nn.Parameter], theirs: list[torch.nn.Parameter]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert torch.equal(own, other)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rate=st.floats(1e-6, 1.0),
    decay=st.sampled_from([0.0, 0.01, 0.3]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    steps=st.integers(1, 12),
)
def test_it_moves_to_the_bit_as_torchs(
    seed: int, rate: float, decay: float, scale: float, steps: int
) -> None:
    ours, theirs = parameters(seed), parameters(seed)
    own = AdamW(ours, rate, decay)
    of_torch = torch.optim.AdamW(theirs, lr=rate, weight_decay=decay)
    for number in range(steps):
        give_gradients(ours, theirs, seed=number, scale=scale)
        own.step()
        of_torch.step()
    assert_equal(ours, theirs)


def test_without_decay_it_is_torchs_adam_at_a_rate_that_changes() -> None:
    ours, theirs = parameters(1), parameters(1)
    own, of_torch = AdamW(ours, 0.1), torch.optim.Adam(theirs, lr=0.1)
    for number in range(5):
        give_gradients(ours, theirs, seed=number)
        own.learning_rate = of_torch.param_groups[0]["lr"] = 0.1 / (number + 1)
        own.step()
        of_torch.step()
    assert_equal(ours, theirs)


def test_a_checkpoint_of_torchs_optimizer_is_taken_up() -> None:
    # Runs of earlier versions hold its state, under the same names.
    ours, theirs = parameters(1), parameters(1)
    of_torch = torch.optim.AdamW(theirs, lr=0.1)
    give_gradients(ours, theirs, seed=1)
    of_torch.step()
    stored = {
        f"{index}.{name}": value.numpy().copy()
        for index, moments in of_torch.state_dict()["state"].items()
        for name, value in moments.items()
    }
    ours = [torch.nn.Parameter(parameter.detach().clone()) for parameter in theirs]
    own = AdamW(ours, 0.1, 0.01)
    unpack_adam(own, stored)
    packed = pack_adam(own)
    assert packed.keys() == stored.keys()
    for name, array in packed.items():
        np.testing.assert_array_equal(array, stored[name])
        assert array.dtype == stored[name].dtype
    give_gradients(ours, theirs, seed=2)
    own.step()
    of_torch.step()
    assert_equal(ours, theirs)


def test_what_has_no_gradient_stays() -> None:
    ours = parameters(1)
    optimizer = AdamW(ours, 0.1)
    give_gradients(ours, seed=1)
    optimizer.zero_grad()
    optimizer.step()
    assert_equal(ours, parameters(1))
    assert not optimizer.state()


@pytest.mark.parametrize("index", [0, 7])
def test_moments_of_other_parameters_are_refused(index: int) -> None:
    wrong = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    with pytest.raises(ValueError, match=f"moments of parameter {index}"):
        AdamW(parameters(1), 0.1).load_state({index: wrong})
