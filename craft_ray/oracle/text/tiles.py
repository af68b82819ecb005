"""Attention of a row that is cut into tiles of equal width: one call for all of them.

A GPU pays for every kernel, and not for a few products too many. A tile holds some suffixes; a
mask says that each sees itself, causally, and the prefix, whose keys and values stand once more in
front of those of every tile. At a width of 512 attention computes 2 % of what the linear layers do.

Shape suffixes: K candidates, S tokens of a row, P tokens of its prefix, G tiles of a row, W tokens
of a tile, N tiles of all rows, H heads, D width of a head, C classes, E width; X is 3 for queries,
keys and values, 2 for the last two of them, and the number of tokens that a tile sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.oracle.text.layout import PREFIX, Tiling

TILE_TOKENS = 58
"""About how wide a tile is: with a context of a few tokens in front it is not more than the 64 keys
that attention kernels of GPUs take at a time."""
MASK_ALIGNMENT = 8
"""Rows of a mask begin at multiples of so many elements: torch copies others in every layer."""


class TileRows:
    """Rows of `prefix | suffixes | padding`, cut into tiles; an `Arrangement`.

    Args:
        tiling: of a row, with at least one suffix.
        like: any tensor of the device and of the type of the products.
    """

    def __init__(self, tiling: Tiling, like: torch.Tensor) -> None:
        self._width, self._num_tiles = tiling.width, tiling.num_tiles
        self.num_tokens = tiling.num_tiles * tiling.width
        owners, counts = (torch.tensor(part) for part in zip(*tiling.runs, strict=True))
        ends = (counts.cumsum(0) - 1)[owners >= 0]
        self._ends_C = ends.to(like.device)
        owners_GW = owners.repeat_interleave(counts).view(tiling.num_tiles, tiling.width)
        self._prefix_length = int((owners_GW == PREFIX).sum())
        # A single suffix behind its prefix is a text like any other, and needs no mask.
        self._mask_G1WX = None if len(ends) == 1 else self._mask(owners_GW, like)
        self.nbytes = 0 if self._mask_G1WX is None else self._mask_G1WX.nbytes

    def _mask(self, owners_GW: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """0 where a token (row) sees another (column), -inf elsewhere. Padding sees padding, so
        that no softmax is over nothing."""
        sees_GWW = owners_GW[:, :, None] == owners_GW[:, None, :]
        if self._num_tiles == 1:
            sees_GWW |= owners_GW[:, None, :] == PREFIX
        sees_GWX = sees_GWW.tril()
        if self._num_tiles > 1:
            sees_prefix_GW1 = (owners_GW != PREFIX)[:, :, None]
            copies_GWP = sees_prefix_GW1.expand(-1, -1, self._prefix_length)
            sees_GWX = torch.cat([copies_GWP, sees_GWX], dim=2)
        missing = -sees_GWX.shape[2] % MASK_ALIGNMENT
        sees_GWX = F.pad(sees_GWX, (0, missing)).to(like.device)
        return like.new_zeros(sees_GWX.shape).masked_fill(~sees_GWX, float("-inf"))[:, None]

    def mask_for(self, num_rows: int) -> torch.Tensor | None:
        """[K * G, 1, W, P + W], or one for all; None where attention is plainly causal."""
        if self._mask_G1WX is None:
            return None
        num_keys = self._width + (self._prefix_length if self._num_tiles > 1 else 0)
        copies = 1 if self._num_tiles == 1 else num_rows
        return self._mask_G1WX.repeat(copies, 1, 1, 1)[..., :num_keys]

    def attend(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        tiles_NWXHD = qkv_KSXHD.reshape(-1, self._width, *qkv_KSXHD.shape[2:])
        keys_values = tiles_NWXHD[:, :, 1:]
        if self._num_tiles > 1:
            prefix_KPXHD = qkv_KSXHD[:, : self._prefix_length, 1:]
            copies = prefix_KPXHD[:, None].expand(-1, self._num_tiles, -1, -1, -1, -1)
            own = torch.unflatten(qkv_KSXHD[:, :, 1:], 1, (self._num_tiles, self._width))
            keys_values = torch.cat([copies, own], dim=2).flatten(0, 1)
        q_NHWD = tiles_NWXHD[:, :, 0].transpose(1, 2)
        k_NHXD, v_NHXD = (t.transpose(1, 2) for t in keys_values.unbind(2))
        attended_NHWD = F.scaled_dot_product_attention(
            q_NHWD, k_NHXD, v_NHXD, attn_mask=mask, is_causal=mask is None
        )
        return attended_NHWD.transpose(1, 2).reshape(*qkv_KSXHD.shape[:2], *qkv_KSXHD.shape[3:])

    def attend_ends(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """All tokens are attended, which costs less than to pick the queries of each tile."""
        return self.attend(qkv_KSXHD, mask).index_select(1, self._ends_C)

    def ends(self, x_KSE: torch.Tensor) -> torch.Tensor:
        return x_KSE.index_select(1, self._ends_C)
