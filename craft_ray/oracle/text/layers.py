"""The layers of CLIP's text tower on rows of tokens, whatever those rows hold.

Linear layers and norms see each token by itself. Only attention asks where a token stands, and that
is the business of an `Arrangement`.

Shape suffixes: K rows (candidates), S tokens of a row, E width, H heads, D width of a head, C
classes of a row.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.oracle.open_clip_light import open_clip

Parts = tuple[torch.Tensor, torch.Tensor | None]
"""Weight and bias of a linear layer."""
QUICK_GELU_SLOPE = 1.702


class UnsupportedTowerError(ValueError):
    """The tower is not made of the parts that this encoder knows."""


class Arrangement(Protocol):
    """Where the tokens of a row stand, and so which of them see each other.

    Attributes:
        num_tokens: S.
        nbytes: what it keeps on the device.
    """

    num_tokens: int
    nbytes: int

    def mask_for(self, num_rows: int) -> torch.Tensor | None:
        """What `attend` needs in every layer of a forward of so many rows; None for nothing."""
        ...

    def attend(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attended values [K, S, H, D] of queries, keys and values [K, S, 3, H, D]."""
        ...

    def attend_ends(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The same for the end tokens of the classes only, [K, C, H, D]."""
        ...

    def ends(self, x_KSE: torch.Tensor) -> torch.Tensor:
        """The end tokens of a row, [K, C, E]."""
        ...


class Layer:
    """A residual attention block of open_clip, with its products in `dtype`.

    Args:
        block: of the tower.
        dtype: of the matrix products; the sum over layers and the norms stay in float32.
        folded: take factors (layer scale, the slope of QuickGELU) into the weights beside them.
            That saves up to four kernels a layer, and changes the last bits.

    Raises:
        UnsupportedTowerError: the block is none of CLIP's.
    """

    def __init__(self, block: Any, dtype: torch.dtype, *, folded: bool) -> None:
        is_known = isinstance(block, open_clip.transformer.ResidualAttentionBlock)
        if not is_known or not isinstance(block.attn, torch.nn.MultiheadAttention):
            raise UnsupportedTowerError(f"its blocks are {type(block).__name__}")
        self._ln_1, self._ln_2 = block.ln_1, block.ln_2
        self._scale_1, self._scale_2 = block.ls_1, block.ls_2
        self._activation = block.mlp.gelu
        self._num_heads: int = block.attn.num_heads
        self._dtype = dtype
        after_attention: Parts = block.attn.out_proj.weight, block.attn.out_proj.bias
        enter: Parts = block.mlp.c_fc.weight, block.mlp.c_fc.bias
        leave: Parts = block.mlp.c_proj.weight, block.mlp.c_proj.bias
        if folded:
            after_attention = _scaled(after_attention, self._scale_1)
            leave = _scaled(leave, self._scale_2)
            self._scale_1 = self._scale_2 = torch.nn.Identity()
            if isinstance(self._activation, open_clip.transformer.QuickGELU):
                # x * sigmoid(1.702 x) = silu(1.702 x) / 1.702
                enter = _times(enter, QUICK_GELU_SLOPE)
                leave = leave[0] / QUICK_GELU_SLOPE, leave[1]
                self._activation = F.silu
        self._out, self._enter, self._leave = (
            _cast(parts, dtype) for parts in (after_attention, enter, leave)
        )
        self._in = _cast((block.attn.in_proj_weight, block.attn.in_proj_bias), dtype)

    def all_tokens(
        self, x_KSE: torch.Tensor, rows: Arrangement, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """[K, S, E]."""
        attended_KSHD = rows.attend(self._queries_keys_values(x_KSE), mask)
        return self._finish(x_KSE, attended_KSHD)

    def end_tokens(
        self, x_KSE: torch.Tensor, rows: Arrangement, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """[K, C, E], classes in the order of the row."""
        attended_KCHD = rows.attend_ends(self._queries_keys_values(x_KSE), mask)
        return self._finish(rows.ends(x_KSE), attended_KCHD)

    def _queries_keys_values(self, x_KSE: torch.Tensor) -> torch.Tensor:
        """[K, S, 3, H, D]."""
        together = F.linear(self._ln_1(x_KSE).to(self._dtype), *self._in)
        return torch.unflatten(together, -1, (3, self._num_heads, -1))

    def _finish(self, x_KSE: torch.Tensor, attended_KSHD: torch.Tensor) -> torch.Tensor:
        x_KSE = x_KSE + self._scale_1(F.linear(attended_KSHD.flatten(2), *self._out))
        hidden = self._activation(F.linear(self._ln_2(x_KSE).to(self._dtype), *self._enter))
        x_KSE += self._scale_2(F.linear(hidden, *self._leave))
        return x_KSE


def _times(parts: Parts, factor: float | torch.Tensor) -> Parts:
    """Of all that the layer gives, or of each of its outputs."""
    weight, bias = parts
    of_rows = factor[:, None] if isinstance(factor, torch.Tensor) else factor
    return weight * of_rows, None if bias is None else bias * factor


def _scaled(parts: Parts, scale: Any) -> Parts:
    """With the layer scale behind it."""
    return parts if isinstance(scale, torch.nn.Identity) else _times(parts, scale.gamma)


def _cast(parts: Parts, dtype: torch.dtype) -> Parts:
    weight, bias = parts
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
