"""Prompt generation: context = p0 + A z (CraFT section 3.1, after BBT, Sun et al. 2022).

A is frozen and drawn by a seed. Whatever its structure, a value of A z has the standard deviation
`std` x |z|, so that step sizes mean the same.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from craft_ray.config.prompts import PromptConfig
from craft_ray.errors import ConfigError

FloatArray = npt.NDArray[np.float32]


class Projection(Protocol):
    """A frozen linear map."""

    def __call__(self, points_PD: FloatArray) -> FloatArray:
        """float32 [P, L E]."""
        ...


class GaussianProjection:
    """A dense Gaussian matrix."""

    def __init__(
        self, shape_LE: tuple[int, int], dim: int, std: float, rng: np.random.Generator
    ) -> None:
        matrix = rng.normal(0.0, std, size=(dim, math.prod(shape_LE)))
        self._matrix = matrix.astype(np.float32)

    def __call__(self, points_PD: FloatArray) -> FloatArray:
        result: FloatArray = points_PD @ self._matrix
        return result


class BlockProjection:
    """Each token has coordinates of its own: L times less memory and arithmetic.

    Args:
        shape_LE: of the context.
        dim: D; token i gets about D / L of them.
        std: see above.
        rng: draws the blocks.
        shared: all tokens are moved in the same D / L directions of the embedding, so that the
            shift of the context, as a matrix [L, E], has at most that rank. Else each token has
            directions of its own.
    """

    def __init__(
        self,
        shape_LE: tuple[int, int],
        dim: int,
        std: float,
        rng: np.random.Generator,
        *,
        shared: bool,
    ) -> None:
        num_tokens, width = shape_LE
        self._coordinates = np.array_split(np.arange(dim), num_tokens)
        largest = len(self._coordinates[0])
        # Of z's length, a token's coordinates have a share of 1 / sqrt(L).
        block_std = std * math.sqrt(num_tokens)
        common = rng.normal(0.0, block_std, size=(largest, width)).astype(np.float32)
        self._blocks = [
            common[: len(own)]
            if shared
            else rng.normal(0.0, block_std, size=(len(own), width)).astype(np.float32)
            for own in self._coordinates
        ]

    def __call__(self, points_PD: FloatArray) -> FloatArray:
        shifts = [
            points_PD[:, own] @ block
            for own, block in zip(self._coordinates, self._blocks, strict=True)
        ]
        return np.concatenate(shifts, axis=1)


class FastfoodProjection:
    """Stacked H G P H B in place of a Gaussian matrix (Le, Sarlos & Smola, ICML 2013): signs,
    Hadamard transform, permutation, Gaussian diagonal, Hadamard transform. O(L E log D) arithmetic
    and O(L E) memory, against O(L E D) of both."""

    def __init__(
        self, shape_LE: tuple[int, int], dim: int, std: float, rng: np.random.Generator
    ) -> None:
        self._num_values = math.prod(shape_LE)
        self._width = 1 << (dim - 1).bit_length()
        num_blocks = -(-self._num_values // self._width)
        shape = (num_blocks, self._width)
        self._signs_BW = rng.choice(np.array([-1, 1], np.float32), size=shape)
        self._orders_BW = np.stack([rng.permutation(self._width) for _ in range(num_blocks)])
        # Two unnormalised transforms: the variance of an entry is that of G times the width.
        scale = std / math.sqrt(self._width)
        self._gains_BW = rng.normal(0.0, scale, size=shape).astype(np.float32)

    def __call__(self, points_PD: FloatArray) -> FloatArray:
        num_points, dim = points_PD.shape
        padded_PW = np.zeros((num_points, self._width), np.float32)
        padded_PW[:, :dim] = points_PD
        values_PBW = hadamard(padded_PW[:, None] * self._signs_BW)
        values_PBW = np.take_along_axis(values_PBW, self._orders_BW[None], axis=2)
        values_PBW = hadamard(values_PBW * self._gains_BW)
        return values_PBW.reshape(num_points, -1)[:, : self._num_values]


def hadamard(values: FloatArray) -> FloatArray:
    """The unnormalised Walsh-Hadamard transform of the last axis, a power of two long."""
    width = values.shape[-1]
    half = 1
    while half < width:
        pairs = values.reshape(*values.shape[:-1], width // (2 * half), 2, half)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        values = np.stack([first + second, first - second], axis=-2).reshape(values.shape)
        half *= 2
    return values


class PromptProjection:
    """Maps points of the search space to contexts.

    Args:
        initial_context_LE: p0, the embeddings of the template's first words; or one for each class,
            [C, L, E], which A then moves like one context of C L tokens.
        config: dimension, structure and scale of A.
        seed: draws A.
    """

    def __init__(self, initial_context_LE: FloatArray, config: PromptConfig, seed: int) -> None:
        self._initial_LE = initial_context_LE
        *_, width = initial_context_LE.shape
        num_tokens = initial_context_LE.size // width
        std = config.projection_std
        if config.projection_unit == "embedding":
            std *= float(initial_context_LE.std()) / math.sqrt(config.intrinsic_dim)
        self._project = _make_projection(
            config, (num_tokens, width), std, np.random.default_rng(seed)
        )

    def contexts(self, points_PD: npt.NDArray[np.float64]) -> FloatArray:
        """float32 [P, L, E], or [P, C, L, E]."""
        shifts = self._project(points_PD.astype(np.float32))
        result: FloatArray = self._initial_LE + shifts.reshape(-1, *self._initial_LE.shape)
        return result


def check_dimensions(config: PromptConfig, num_tokens: int) -> None:
    """Refuse what would leave tokens as they are, without a word.

    Args:
        config: of the prompt.
        num_tokens: of all contexts that one z moves.

    Raises:
        ConfigError: each token has coordinates of its own, and there are fewer than tokens.
    """
    if config.projection in ("per_token", "low_rank") and config.intrinsic_dim < num_tokens:
        raise ConfigError(
            "settings",
            [
                f"prompt.intrinsic_dim: must be at least the number of tokens, {num_tokens}, when "
                f"prompt.projection is {config.projection}, but got {config.intrinsic_dim}: each "
                "token has coordinates of its own, and the others would never be tuned; gaussian "
                "and fastfood move all tokens with any dimension"
            ],
        )


def _make_projection(
    config: PromptConfig, shape_LE: tuple[int, int], std: float, rng: np.random.Generator
) -> Projection:
    check_dimensions(config, shape_LE[0])
    dim = config.intrinsic_dim
    if config.projection == "gaussian":
        return GaussianProjection(shape_LE, dim, std, rng)
    if config.projection == "fastfood":
        return FastfoodProjection(shape_LE, dim, std, rng)
    return BlockProjection(shape_LE, dim, std, rng, shared=config.projection == "low_rank")
