"""CLIP's causal text tower without the arithmetic that cannot matter.

Under a causal mask no position sees a later one, and the feature is read at the end token. So

- padding behind the end token is never computed;
- `[SOS] context` is the same for every class of a candidate, and so are its keys and values in
  every layer: they are computed once, and each class's suffix attends to them and to itself;
- the last layer is computed for the end tokens only.

None of this is an approximation. Linear layers, which are nearly all of the arithmetic, see each
token of a candidate exactly once, in one matrix product a layer.

With a context for each class nothing is the same for all: every class of a candidate is a row of
its own, and rows of equal length go through the tower together.

Shape suffixes: K candidates, S tokens of a row (`layout`), P tokens of its prefix (start token and
context), E width, B classes of a bucket, T tokens of each of their suffixes, H heads, D width of a
head, C classes, R rows of one class each, in the place of K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.oracle.forwards import Forwards
from craft_ray.oracle.open_clip_light import open_clip
from craft_ray.oracle.text.layout import Bucket, ClassGroup, group_classes
from craft_ray.oracle.text.prompts import PromptTokens


class UnsupportedTowerError(ValueError):
    """The tower is not made of the parts that this encoder knows."""


class SharedPrefixEncoder:
    """Text features of candidates that share their classes.

    Args:
        tower: open_clip's `CLIP`, or the `TextTransformer` of a `CustomTextCLIP`.
        dtype: of the matrix products; sums, norms and softmax over layers stay in float32.
        max_tokens: bounds the memory of one forward.

    Raises:
        UnsupportedTowerError: other parts than CLIP's.
    """

    def __init__(self, tower: Any, dtype: torch.dtype, max_tokens: int) -> None:
        try:
            if tower.attn_mask is None:
                raise UnsupportedTowerError("its attention is not causal")
            if getattr(tower, "cls_emb", None) is not None:
                raise UnsupportedTowerError("it reads a class token behind the padding")
            blocks = list(tower.transformer.resblocks)
            self._layers = [_Layer(block, dtype) for block in blocks]
            self._token_embedding: torch.nn.Embedding = tower.token_embedding
            self._positions_TE: torch.Tensor = tower.positional_embedding
            self._ln_final: torch.nn.Module = tower.ln_final
            self._projection: torch.nn.Linear | torch.Tensor | None = tower.text_projection
        except AttributeError as error:
            raise UnsupportedTowerError(
                f"its text tower is {type(tower).__name__}, without {error.name}"
            ) from error
        self._max_tokens = max_tokens
        self._forwards = Forwards(max_tokens, "tokens")

    @torch.inference_mode()
    def encode(self, tokens: PromptTokens, contexts: torch.Tensor) -> torch.Tensor:
        tokens.check_length(contexts.shape[-2], len(self._positions_TE))
        return (self._encode_shared if contexts.ndim == 3 else self._encode_own)(tokens, contexts)

    def _encode_shared(self, tokens: PromptTokens, contexts_KLE: torch.Tensor) -> torch.Tensor:
        """Classes of a candidate stand in one row behind their context."""
        prefix_length = len(tokens.frame.start) + contexts_KLE.shape[1]
        lengths = [len(suffix) for suffix in tokens.suffixes]
        groups = group_classes(lengths, prefix_length, self._max_tokens)
        prefix_KPE = self._embed_prefix(tokens, contexts_KLE)
        features = [self._encode_group(group, tokens, prefix_KPE) for group in groups]
        order = torch.tensor([index for group in groups for index in group.classes])
        return torch.cat(features, dim=1)[:, order.argsort()]

    def _encode_group(
        self, group: ClassGroup, tokens: PromptTokens, prefix_KPE: torch.Tensor
    ) -> torch.Tensor:
        """Features of the group's classes, [K, c, F], in the order of the row."""
        num_contexts, prefix_length, _ = prefix_KPE.shape
        suffix_SE = self._embed_suffixes(tokens, group.classes, prefix_length)

        def encode(part: slice) -> torch.Tensor:
            return self._forward(prefix_KPE[part], suffix_SE[None], group.buckets)

        each = prefix_length + group.num_tokens
        return torch.cat(list(self._forwards.run(num_contexts, encode, each=each)))

    def _encode_own(self, tokens: PromptTokens, contexts_KCLE: torch.Tensor) -> torch.Tensor:
        """Every class of every candidate is a row, behind its own context."""
        lengths = [len(suffix) for suffix in tokens.suffixes]
        order: list[int] = []
        features = []
        for length in sorted(set(lengths)):
            classes = [index for index, own in enumerate(lengths) if own == length]
            features.append(self._encode_rows(classes, length, tokens, contexts_KCLE))
            order += classes
        return torch.cat(features)[torch.tensor(order).argsort()].transpose(0, 1)

    def _encode_rows(
        self,
        classes: Sequence[int],
        length: int,
        tokens: PromptTokens,
        contexts_KCLE: torch.Tensor,
    ) -> torch.Tensor:
        """Features of classes whose suffixes have this length, [c, K, F]."""
        num_contexts = len(contexts_KCLE)
        prefix_length = len(tokens.frame.start) + contexts_KCLE.shape[2]
        suffix_SE = self._embed_suffixes(tokens, classes, prefix_length)
        suffix_BTE = torch.unflatten(suffix_SE, 0, (-1, length))
        contexts_RLE = contexts_KCLE[:, classes].transpose(0, 1).flatten(0, 1)
        bucket = Bucket(start=0, num_classes=1, length=length)

        def encode(part: slice) -> torch.Tensor:
            places_R = torch.arange(part.start, part.stop, device=suffix_BTE.device)
            suffix_RTE = suffix_BTE[places_R // num_contexts]
            prefix_RPE = self._embed_prefix(tokens, contexts_RLE[part])
            return self._forward(prefix_RPE, suffix_RTE, [bucket])

        each = prefix_length + length
        rows = torch.cat(list(self._forwards.run(len(contexts_RLE), encode, each=each)))
        return rows.reshape(len(classes), num_contexts, -1)

    def _embed_prefix(self, tokens: PromptTokens, contexts_KLE: torch.Tensor) -> torch.Tensor:
        start_SE = self._token_embedding(tokens.frame.start.to(contexts_KLE.device))
        rows = torch.cat([start_SE.expand(len(contexts_KLE), -1, -1), contexts_KLE], dim=1)
        return rows + self._positions_TE[: rows.shape[1]]

    def _embed_suffixes(
        self, tokens: PromptTokens, classes: Sequence[int], prefix_length: int
    ) -> torch.Tensor:
        device = self._positions_TE.device
        suffixes = [tokens.suffixes[index] for index in classes]
        ids_S = torch.cat(suffixes).to(device)
        places_S = torch.cat([torch.arange(len(suffix)) for suffix in suffixes]).to(device)
        embedded: torch.Tensor = self._token_embedding(ids_S)
        return embedded + self._positions_TE[prefix_length + places_S]

    def _forward(
        self, prefix_KPE: torch.Tensor, suffix_KSE: torch.Tensor, buckets: Sequence[Bucket]
    ) -> torch.Tensor:
        """Features [K, C, F], classes in the order of the row. One row of suffixes is for all."""
        num_contexts, prefix_length, _ = prefix_KPE.shape
        x_KSE = torch.cat([prefix_KPE, suffix_KSE.expand(num_contexts, -1, -1)], dim=1)
        for layer in self._layers[:-1]:
            x_KSE = layer.all_tokens(x_KSE, prefix_length, buckets)
        x_KCE = self._layers[-1].end_tokens(x_KSE, prefix_length, buckets)
        features: torch.Tensor = self._ln_final(x_KCE)
        if isinstance(self._projection, torch.nn.Linear):
            features = self._projection(features)
        elif self._projection is not None:
            features = features @ self._projection
        return features


class _Layer:
    """A residual attention block of open_clip, with its products in `dtype`."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        is_known = isinstance(block, open_clip.transformer.ResidualAttentionBlock)
        if not is_known or not isinstance(block.attn, torch.nn.MultiheadAttention):
            raise UnsupportedTowerError(f"its blocks are {type(block).__name__}")
        self._ln_1, self._ln_2 = block.ln_1, block.ln_2
        self._scale_1, self._scale_2 = block.ls_1, block.ls_2
        self._activation = block.mlp.gelu
        self._num_heads: int = block.attn.num_heads
        self._dtype = dtype
        parts = (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj)
        self._out, self._enter, self._leave = (_cast(p.weight, p.bias, dtype) for p in parts)
        self._in = _cast(block.attn.in_proj_weight, block.attn.in_proj_bias, dtype)

    def all_tokens(
        self, x_KSE: torch.Tensor, prefix_length: int, buckets: Sequence[Bucket]
    ) -> torch.Tensor:
        """[K, S, E]."""
        q, k, v = self._queries_keys_values(x_KSE)
        q_KHPD, k_KHPD, v_KHPD = (t[:, :prefix_length].transpose(1, 2) for t in (q, k, v))
        prefix_KHPD = F.scaled_dot_product_attention(q_KHPD, k_KHPD, v_KHPD, is_causal=True)
        attended = [prefix_KHPD.transpose(1, 2)]
        attended += [_attend(q, k, v, prefix_length, b, only_last=False) for b in buckets]
        return self._finish(x_KSE, torch.cat(attended, dim=1))

    def end_tokens(
        self, x_KSE: torch.Tensor, prefix_length: int, buckets: Sequence[Bucket]
    ) -> torch.Tensor:
        """[K, C, E], classes in the order of the row."""
        q, k, v = self._queries_keys_values(x_KSE)
        attended = [_attend(q, k, v, prefix_length, b, only_last=True) for b in buckets]
        ends = [
            x_KSE[:, prefix_length + b.start + b.length - 1 : prefix_length + b.stop : b.length]
            for b in buckets
        ]
        return self._finish(torch.cat(ends, dim=1), torch.cat(attended, dim=1))

    def _queries_keys_values(self, x_KSE: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three times [K, S, H, D]."""
        together = F.linear(self._ln_1(x_KSE).to(self._dtype), *self._in)
        return torch.unflatten(together, -1, (3, self._num_heads, -1)).unbind(2)

    def _finish(self, x_KSE: torch.Tensor, attended_KSHD: torch.Tensor) -> torch.Tensor:
        x_KSE = x_KSE + self._scale_1(F.linear(attended_KSHD.flatten(2), *self._out))
        hidden = self._activation(F.linear(self._ln_2(x_KSE).to(self._dtype), *self._enter))
        x_KSE += self._scale_2(F.linear(hidden, *self._leave))
        return x_KSE


def _attend(
    q_KSHD: torch.Tensor,
    k_KSHD: torch.Tensor,
    v_KSHD: torch.Tensor,
    prefix_length: int,
    bucket: Bucket,
    *,
    only_last: bool,
) -> torch.Tensor:
    """Attention of a bucket's tokens to the prefix and, causally, to their own suffix.

    One softmax over two products: keys of the prefix are those of the candidate and stay where they
    are, they are not repeated for each class. Returns [K, B * T, H, D], or [K, B, H, D] for the end
    tokens only.
    """
    own = slice(prefix_length + bucket.start, prefix_length + bucket.stop)
    shape = (bucket.num_classes, bucket.length)
    q_KHBTD, k_KHBTD, v_KHBTD = (
        torch.unflatten(t[:, own], 1, shape).permute(0, 3, 1, 2, 4)
        for t in (q_KSHD, k_KSHD, v_KSHD)
    )
    k_KHPD, v_KHPD = (t[:, :prefix_length].transpose(1, 2) for t in (k_KSHD, v_KSHD))
    if only_last:
        q_KHBTD = q_KHBTD[:, :, :, -1:]
    # Before the products: half precision ends at 65,504. Its softmax sums in float32.
    q_KHBTD = q_KHBTD * q_KSHD.shape[-1] ** -0.5
    queries = q_KHBTD.shape[2:4]
    to_prefix = torch.unflatten(q_KHBTD.flatten(2, 3) @ k_KHPD.transpose(2, 3), 2, queries)
    to_suffix = q_KHBTD @ k_KHBTD.transpose(3, 4)
    if not only_last:
        later = torch.full(
            (bucket.length, bucket.length), float("-inf"), dtype=q_KSHD.dtype, device=q_KSHD.device
        ).triu(1)
        to_suffix = to_suffix + later
    scores = torch.cat([to_prefix, to_suffix], dim=-1)
    weights = scores.softmax(dim=-1)
    from_prefix = weights[..., :prefix_length].flatten(2, 3) @ v_KHPD
    from_suffix = weights[..., prefix_length:] @ v_KHBTD
    attended: torch.Tensor = torch.unflatten(from_prefix, 2, queries) + from_suffix
    return attended.permute(0, 2, 3, 1, 4).flatten(1, 2)


def _cast(
    weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
