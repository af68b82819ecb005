"""The model's own `encode_text`, with soft embeddings in place of a few words.

Exact for every tower that has a token embedding, whatever it does with masks, class tokens or
pooling: only the output of that embedding is replaced. It pays for all the padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from craft_ray.oracle.forwards import Forwards
from craft_ray.oracle.text.prompts import PromptTokens


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Matrix products in `dtype`; float32 leaves everything alone."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


class PlainEncoder:
    """Full-length prompts of every candidate and class.

    Args:
        model: open_clip's model.
        token_embedding: of its text tower.
        context_length: tokens of a prompt, padding included.
        dtype: of the matrix products (autocast).
        max_tokens: bounds the memory of one forward.
    """

    def __init__(
        self,
        model: Any,
        token_embedding: torch.nn.Embedding,
        context_length: int,
        dtype: torch.dtype,
        max_tokens: int,
    ) -> None:
        self._model = model
        self._dtype = dtype
        self._token_embedding = token_embedding
        self._context_length = context_length
        self._forwards = Forwards(max_tokens, "tokens")

    def encode(self, tokens: PromptTokens, contexts: torch.Tensor) -> torch.Tensor:
        """Differentiable in the contexts."""
        num_contexts, length = len(contexts), contexts.shape[-2]
        tokens.check_length(length, self._context_length)
        ids_CT = tokens.full_rows(length, self._context_length).to(contexts.device)
        start = len(tokens.frame.start)
        num_prompts = num_contexts * len(ids_CT)
        if contexts.ndim == 3:  # the same for all classes
            contexts = contexts[:, None].expand(-1, len(ids_CT), -1, -1)

        def encode(part: slice) -> torch.Tensor:
            prompts_B = torch.arange(part.start, part.stop, device=contexts.device)
            candidates_B, classes_B = prompts_B // len(ids_CT), prompts_B % len(ids_CT)
            contexts_BLE = contexts[candidates_B, classes_B]
            with (
                self._in_place_of_words(start, contexts_BLE),
                autocast(contexts.device, self._dtype),
            ):
                features: torch.Tensor = self._model.encode_text(ids_CT[classes_B]).float()
            return features

        features = torch.cat(
            list(self._forwards.run(num_prompts, encode, each=self._context_length))
        )
        return torch.unflatten(features, 0, (num_contexts, len(ids_CT)))

    @contextmanager
    def _in_place_of_words(self, start: int, contexts_BLE: torch.Tensor) -> Iterator[None]:
        """The contexts stand behind the first `start` tokens of a row."""
        length = contexts_BLE.shape[1]

        def replace(module: Any, inputs: Any, embedded_BTE: torch.Tensor) -> torch.Tensor:
            after_BTE = embedded_BTE[:, start + length :]
            contexts = contexts_BLE.to(embedded_BTE.dtype)
            return torch.cat([embedded_BTE[:, :start], contexts, after_BTE], dim=1)

        handle = self._token_embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()
