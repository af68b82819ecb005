"""CLIP's causal text tower without the arithmetic that cannot matter.

Under a causal mask no position sees a later one, and the feature is read at the end token. So

- padding behind the end token is never computed;
- `[SOS] context` is the same for every class of a candidate, and so are its keys and values in
  every layer: they are computed once, and each class's suffix attends to them and to itself;
- the last layer is computed for the end tokens only.

None of this is an approximation. Linear layers, which are nearly all of the arithmetic, see each
token of a candidate exactly once, in one matrix product a layer. Attention is computed in the way
that suits the device: `buckets` on a CPU, `tiles` on a GPU.

With a context for each class nothing is the same for all: every class of a candidate is a row of
its own, and rows of equal length go through the tower together.

Shape suffixes: K candidates, S tokens of a row (`layout`), P tokens of its prefix (start token and
context), L tokens of a context, E width, C classes, T tokens of a suffix, F features, R rows of one
class each, in the place of K.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from craft_ray.oracle.forwards import Forwards
from craft_ray.oracle.text.layers import Arrangement, Layer, UnsupportedTowerError
from craft_ray.oracle.text.prepared import Attention, Preparation, PreparedRows
from craft_ray.oracle.text.prompts import PromptTokens
from craft_ray.oracle.text.replays import CudaGraphs, Replays

logger = logging.getLogger(__name__)


class SharedPrefixEncoder:
    """Text features of candidates that share their classes.

    Args:
        tower: open_clip's `CLIP`, or the `TextTransformer` of a `CustomTextCLIP`.
        dtype: of the matrix products; sums, norms and softmax over layers stay in float32.
        max_tokens: bounds the memory of one forward.
        attention: how it is computed; None for what suits the device of the weights.
        graphs: on a GPU, replay small forwards as CUDA graphs.

    Raises:
        UnsupportedTowerError: other parts than CLIP's.
    """

    def __init__(
        self,
        tower: Any,
        dtype: torch.dtype,
        max_tokens: int,
        attention: Attention | None = None,
        *,
        graphs: bool = True,
    ) -> None:
        try:
            if tower.attn_mask is None:
                raise UnsupportedTowerError("its attention is not causal")
            if getattr(tower, "cls_emb", None) is not None:
                raise UnsupportedTowerError("it reads a class token behind the padding")
            is_cuda = tower.positional_embedding.is_cuda
            self._attention: Attention = attention or ("tiles" if is_cuda else "buckets")
            folded = self._attention == "tiles"
            self._layers = [
                Layer(block, dtype, folded=folded) for block in tower.transformer.resblocks
            ]
            self._token_embedding: torch.nn.Embedding = tower.token_embedding
            self._positions_TE: torch.Tensor = tower.positional_embedding
            self._ln_final: torch.nn.Module = tower.ln_final
            self._projection: torch.nn.Linear | torch.Tensor | None = tower.text_projection
        except AttributeError as error:
            raise UnsupportedTowerError(
                f"its text tower is {type(tower).__name__}, without {error.name}"
            ) from error
        self._like = self._positions_TE.detach().new_empty((), dtype=dtype)
        self._replays = Replays(self._forward, CudaGraphs() if is_cuda and graphs else None)
        self._limit(max_tokens)

    def _limit(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._replays.forget()  # they are of rows of another length
        self._forwards = Forwards(max_tokens, "tokens", self._replays.forget)
        self._preparation = Preparation(self._embed, self._attention, self._like, max_tokens)

    @torch.inference_mode()
    def encode(self, tokens: PromptTokens, contexts: torch.Tensor) -> torch.Tensor:
        tokens.check_length(contexts.shape[-2], len(self._positions_TE))
        prefix_length = len(tokens.frame.start) + contexts.shape[-2]
        row_length = prefix_length + sum(len(suffix) for suffix in tokens.suffixes)
        while True:
            try:
                return self._encode(tokens, contexts, prefix_length)
            except torch.OutOfMemoryError:
                # Not even one row went through: it must have fewer classes.
                is_single = self._max_tokens < prefix_length + 2 * tokens.longest_suffix
                if contexts.ndim == 4 or is_single or len(tokens.suffixes) == 1:
                    raise
                halved = min(self._max_tokens, row_length) // 2
                logger.warning("out of memory with one candidate: rows of %d tokens", halved)
            self._limit(halved)

    def _encode(
        self, tokens: PromptTokens, contexts: torch.Tensor, prefix_length: int
    ) -> torch.Tensor:
        own = contexts.ndim == 4
        task = self._preparation.task(tokens, prefix_length, own=own)
        if own:
            parts = [self._encode_own(rows, task.start_TE, contexts) for rows in task.rows]
        else:
            prefix_KPE = self._prefix(task.start_TE, contexts)
            parts = [self._encode_shared(rows, prefix_KPE) for rows in task.rows]
        return torch.cat(parts, dim=1)[:, task.places_C]

    def _encode_shared(self, rows: PreparedRows, prefix_KPE: torch.Tensor) -> torch.Tensor:
        """Features [K, c, F] of the classes of a row."""

        def encode(part: slice) -> torch.Tensor:
            suffix_KSE = rows.suffix_BTE.expand(len(prefix_KPE[part]), -1, -1)
            x_KSE = torch.cat([prefix_KPE[part], suffix_KSE], dim=1)
            return self._replays.run(x_KSE, rows.arrangement)

        each = rows.arrangement.num_tokens
        return torch.cat(list(self._forwards.run(len(prefix_KPE), encode, each=each)))

    def _encode_own(
        self, rows: PreparedRows, start_TE: torch.Tensor, contexts_KCLE: torch.Tensor
    ) -> torch.Tensor:
        """Features [K, c, F] of classes that have a row each, behind contexts of their own."""
        num_contexts = len(contexts_KCLE)
        contexts_RLE = contexts_KCLE[:, rows.classes_C].transpose(0, 1).flatten(0, 1)

        def encode(part: slice) -> torch.Tensor:
            places_R = torch.arange(part.start, part.stop, device=contexts_RLE.device)
            suffix_RTE = rows.suffix_BTE[places_R // num_contexts]
            prefix_RPE = self._prefix(start_TE, contexts_RLE[part])
            x_RSE = torch.cat([prefix_RPE, suffix_RTE], dim=1)
            return self._replays.run(x_RSE, rows.arrangement)

        each = rows.arrangement.num_tokens
        features = torch.cat(list(self._forwards.run(len(contexts_RLE), encode, each=each)))
        return features.reshape(len(rows.classes_C), num_contexts, -1).transpose(0, 1)

    def _prefix(self, start_TE: torch.Tensor, contexts_KLE: torch.Tensor) -> torch.Tensor:
        """Start tokens and contexts with their positions, [K, P, E]."""
        num_contexts, length, _ = contexts_KLE.shape
        placed_KLE = contexts_KLE + self._positions_TE[len(start_TE) : len(start_TE) + length]
        return torch.cat([start_TE.expand(num_contexts, -1, -1), placed_KLE], dim=1)

    def _embed(self, ids_T: torch.Tensor, places_T: torch.Tensor) -> torch.Tensor:
        """Token embeddings with positions, [T, E]."""
        device = self._positions_TE.device
        embedded: torch.Tensor = self._token_embedding(ids_T.to(device))
        return embedded + self._positions_TE[places_T.to(device)]

    def _forward(self, x_KSE: torch.Tensor, rows: Arrangement) -> torch.Tensor:
        """Features [K, C, F], classes in the order of the row; of [R, 1, F] where each has one."""
        mask = rows.mask_for(len(x_KSE))
        for layer in self._layers[:-1]:
            x_KSE = layer.all_tokens(x_KSE, rows, mask)
        x_KCE = self._layers[-1].end_tokens(x_KSE, rows, mask)
        features: torch.Tensor = self._ln_final(x_KCE)
        if isinstance(self._projection, torch.nn.Linear):
            features = self._projection(features)
        elif self._projection is not None:
            features = features @ self._projection
        return features
