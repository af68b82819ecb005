"""Attention of a row whose suffixes are sorted by length: one dense call a length.

A CPU computes nothing that does not matter here: no padding, and no product of tokens that do not
see each other. Each length costs about 20 kernels, which a CPU does not notice and a GPU does.

Shape suffixes: K candidates, S tokens of a row, P tokens of its prefix, B classes of a bucket, T
tokens of each of their suffixes, H heads, D width of a head, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.oracle.text.layout import Bucket


class BucketRows:
    """Rows of `prefix | suffixes of one length | suffixes of the next`; an `Arrangement`.

    Args:
        prefix_length: P.
        buckets: in the order of the row.
        like: any tensor of the device and of the type of the products.
    """

    def __init__(self, prefix_length: int, buckets: Sequence[Bucket], like: torch.Tensor) -> None:
        self.num_tokens = prefix_length + buckets[-1].stop
        self._prefix_length = prefix_length
        self._buckets = tuple(buckets)
        self._later = [
            like.new_full((bucket.length, bucket.length), float("-inf")).triu(1)
            for bucket in buckets
        ]
        self.nbytes = sum(later.nbytes for later in self._later)

    def mask_for(self, num_rows: int) -> None:
        """Each length has its own, whatever the number of rows."""

    def attend(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        q, k, v = qkv_KSXHD.unbind(2)
        prefix = self._prefix_length
        q_KHPD, k_KHPD, v_KHPD = (t[:, :prefix].transpose(1, 2) for t in (q, k, v))
        prefix_KHPD = F.scaled_dot_product_attention(q_KHPD, k_KHPD, v_KHPD, is_causal=True)
        attended = [prefix_KHPD.transpose(1, 2)]
        attended += [
            _attend(q, k, v, prefix, bucket, later)
            for bucket, later in zip(self._buckets, self._later, strict=True)
        ]
        return torch.cat(attended, dim=1)

    def attend_ends(self, qkv_KSXHD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        q, k, v = qkv_KSXHD.unbind(2)
        prefix = self._prefix_length
        return torch.cat([_attend(q, k, v, prefix, b, None) for b in self._buckets], dim=1)

    def ends(self, x_KSE: torch.Tensor) -> torch.Tensor:
        prefix = self._prefix_length
        parts = [
            x_KSE[:, prefix + b.start + b.length - 1 : prefix + b.stop : b.length]
            for b in self._buckets
        ]
        return torch.cat(parts, dim=1)


def _attend(
    q_KSHD: torch.Tensor,
    k_KSHD: torch.Tensor,
    v_KSHD: torch.Tensor,
    prefix_length: int,
    bucket: Bucket,
    later_TT: torch.Tensor | None,
) -> torch.Tensor:
    """Attention of a bucket's tokens to the prefix and, causally, to their own suffix.

    One softmax over two products: keys of the prefix are those of the candidate and stay where they
    are, they are not repeated for each class.

    Args:
        later_TT: -inf where a token must not see another; None for the end tokens only, which see
            all of their suffix.

    Returns:
        [K, B * T, H, D], or [K, B, H, D] for the end tokens only.
    """
    own = slice(prefix_length + bucket.start, prefix_length + bucket.stop)
    shape = (bucket.num_classes, bucket.length)
    q_KHBTD, k_KHBTD, v_KHBTD = (
        torch.unflatten(t[:, own], 1, shape).permute(0, 3, 1, 2, 4)
        for t in (q_KSHD, k_KSHD, v_KSHD)
    )
    k_KHPD, v_KHPD = (t[:, :prefix_length].transpose(1, 2) for t in (k_KSHD, v_KSHD))
    if later_TT is None:
        q_KHBTD = q_KHBTD[:, :, :, -1:]
    # Before the products: half precision ends at 65,504. Its softmax sums in float32.
    q_KHBTD = q_KHBTD * q_KSHD.shape[-1] ** -0.5
    queries = q_KHBTD.shape[2:4]
    to_prefix = torch.unflatten(q_KHBTD.flatten(2, 3) @ k_KHPD.transpose(2, 3), 2, queries)
    to_suffix = q_KHBTD @ k_KHBTD.transpose(3, 4)
    if later_TT is not None:
        to_suffix = to_suffix + later_TT
    scores = torch.cat([to_prefix, to_suffix], dim=-1)
    weights = scores.softmax(dim=-1)
    from_prefix = weights[..., :prefix_length].flatten(2, 3) @ v_KHPD
    from_suffix = weights[..., prefix_length:] @ v_KHBTD
    attended: torch.Tensor = torch.unflatten(from_prefix, 2, queries) + from_suffix
    return attended.permute(0, 2, 3, 1, 4).flatten(1, 2)
