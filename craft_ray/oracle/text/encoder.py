"""Choosing how a model's text tower is computed: the fast way where it is proven exact."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.devices import DTYPES, precision_on, tokens_per_forward
from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.text.frame import frame_of
from craft_ray.oracle.text.layers import UnsupportedTowerError
from craft_ray.oracle.text.plain import PlainEncoder
from craft_ray.oracle.text.prepared import Attention
from craft_ray.oracle.text.prompts import (
    PromptTokens,
    called,
    tokenize_task,
    tokenize_texts,
)
from craft_ray.oracle.text.shared_prefix import SharedPrefixEncoder

logger = logging.getLogger(__name__)

PROBE_TASK = ClassificationTask(("cat", "ankle boot", "a very long railway station name"))
PROBE_CONTEXTS = 3
PROBE_NOISE = 0.1
PROBE_SCALE = 100.0
MOST_WORDS = 100_000
"""That a tokenizer has split before and keeps; some 30 MB."""
PROBE_TOLERANCE = 1e-4
"""Of logits on the scale of 100 * cosine, in float32."""


class TextEncoder(Protocol):
    """Text features of soft prompts."""

    def encode(self, tokens: PromptTokens, contexts: torch.Tensor) -> torch.Tensor:
        """Features [K, C, F] up to a positive factor each, of contexts [K, L, E], or [K, C, L, E]
        where every class has its own.

        Raises:
            OracleError: context and suffix together are longer than the tower's context.
        """
        ...


class TextTower:
    """A model's text side: token embeddings, and features through the encoder chosen for it.

    Args:
        loaded: model and tokenizer.
        config: precision, bounds of memory and the wished encoder.
        attention: how the fast encoder computes it; None for what suits the device.
        graphs: on a GPU, replay small forwards as CUDA graphs.

    Attributes:
        path: `shared_prefix` or `plain`.
        embed_dim: E, the width of a token embedding.
        context_length: tokens of a prompt.
        device: where the weights are.
        precision: of the matrix products.
        max_tokens: of a forward.
        differentiable: the encoder through which a white box gives gradients.

    Raises:
        OracleError: nobody knows where the tower has its token embedding, its tokenizer is another
            model's, or
            `oracle.text_path: shared_prefix` is asked of a tower for which it is not exact.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: OracleConfig,
        attention: Attention | None = None,
        *,
        graphs: bool = True,
    ) -> None:
        # CLIP keeps the tower's parts on itself, CustomTextCLIP and CoCa on `.text`.
        tower = getattr(loaded.model, "text", loaded.model)
        self._token_embedding, self.context_length = _embedding_and_length(tower, loaded.tokenizer)
        self._tokenizer = loaded.tokenizer
        self._attention: Attention | None = attention
        self._graphs = graphs
        _check_end_is_written(tower, loaded.tokenizer)
        self.embed_dim = int(self._token_embedding.weight.shape[1])
        self.device = self._token_embedding.weight.device
        self.precision = precision_on(self.device, config.precision)
        self.max_tokens = tokens_per_forward(self.device, config, self.embed_dim)
        dtype = DTYPES[self.precision]
        self.path = "plain"
        self.differentiable = self._plain(loaded, dtype)
        self._encoder: TextEncoder = self.differentiable
        if config.text_path == "plain":
            return
        reason = self._why_not_shared_prefix(loaded, tower)
        if reason is None:
            self.path = "shared_prefix"
            self._encoder = self._shared_prefix(tower, dtype)
        elif config.text_path == "shared_prefix":
            raise OracleError(
                f"oracle.text_path: shared_prefix must be exact for the model, but {reason}"
            )
        else:
            logger.warning("%s: full-length prompts, because %s", config.model, reason)

    def tokenize(self, task: ClassificationTask) -> PromptTokens:
        """Token ids of a task's prompts.

        Raises:
            OracleError: as `tokenize_task`; or the tokenizer has words that the tower has not.
        """
        tokens = tokenize_task(task, self._tokenizer, self.context_length)
        _forget_words(self._tokenizer)
        self._check_known(tokens, [f"class {name[:60]!r}" for name in task.class_names])
        return tokens

    def tokenize_texts(self, texts: Sequence[str]) -> PromptTokens:
        """Token ids of whole texts, which have no place for a context.

        Raises:
            OracleError: as `tokenize_texts`; or the tokenizer has words that the tower has not.
        """
        tokens = tokenize_texts(texts, self._tokenizer, self.context_length)
        _forget_words(self._tokenizer)
        self._check_known(tokens, [called(text) for text in texts])
        return tokens

    def _check_known(self, tokens: PromptTokens, whose: Sequence[str]) -> None:
        known = len(self._token_embedding.weight)
        for name, suffix in zip(whose, tokens.suffixes, strict=True):
            largest = int(torch.cat([tokens.prefix_L, suffix]).max())
            if largest >= known:
                raise OracleError(
                    f"{name}: token ids must be below {known}, the vocabulary of the text tower, "
                    f"but its prompt has {largest}: the tokenizer belongs to another model"
                )

    @torch.inference_mode()
    def embed(self, ids_T: torch.Tensor) -> torch.Tensor:
        """Token embeddings without positions, [T, E]."""
        embedded: torch.Tensor = self._token_embedding(ids_T.to(self.device))
        return embedded

    @torch.inference_mode()
    def encode(self, tokens: PromptTokens, contexts: torch.Tensor) -> torch.Tensor:
        return self._encoder.encode(tokens, contexts)

    @torch.inference_mode()
    def encode_texts(self, tokens: PromptTokens) -> torch.Tensor:
        """Features [M, F] of whole texts, up to a positive factor each."""
        no_words = torch.zeros((1, 0, self.embed_dim), device=self.device)
        return self._encoder.encode(tokens, no_words)[0]

    def _plain(self, loaded: LoadedModel, dtype: torch.dtype) -> PlainEncoder:
        return PlainEncoder(
            loaded.model, self._token_embedding, self.context_length, dtype, self.max_tokens
        )

    def _shared_prefix(self, tower: Any, dtype: torch.dtype) -> SharedPrefixEncoder:
        return SharedPrefixEncoder(
            tower, dtype, self.max_tokens, self._attention, graphs=self._graphs
        )

    def _why_not_shared_prefix(self, loaded: LoadedModel, tower: Any) -> str | None:
        """None if the fast path gives the plain path's logits on a probe, in float32."""
        try:
            fast = self._shared_prefix(tower, torch.float32)
        except UnsupportedTowerError as error:
            return str(error)
        plain = self._plain(loaded, torch.float32)
        try:
            tokens = self.tokenize(PROBE_TASK)
        except OracleError as error:
            return f"it cannot be probed: {error}"
        generator = torch.Generator().manual_seed(0)
        start_LE = self.embed(tokens.prefix_L)
        noise_KLE = torch.randn((PROBE_CONTEXTS, *start_LE.shape), generator=generator)
        contexts_KLE = start_LE + PROBE_NOISE * noise_KLE.to(self.device)
        expected_KCF, features_KCF = (
            F.normalize(encoder.encode(tokens, contexts_KLE), dim=-1) for encoder in (plain, fast)
        )
        # What counts are logits: of images whose features point anywhere.
        images_NF = torch.randn((64, features_KCF.shape[-1]), generator=generator)
        images_NF = F.normalize(images_NF, dim=-1).to(self.device)
        difference = PROBE_SCALE * ((features_KCF - expected_KCF) @ images_NF.T).abs().max()
        if difference <= PROBE_TOLERANCE:
            return None
        return f"its logits differ from encode_text's by {difference:.1e} of {PROBE_SCALE:g}"


def _embedding_and_length(tower: Any, tokenizer: Any) -> tuple[torch.nn.Embedding, int]:
    """The token embedding of a text tower, and how many tokens its prompts have."""
    if isinstance(embedding := getattr(tower, "token_embedding", None), torch.nn.Embedding):
        return embedding, int(tower.context_length)
    # A tower of `transformers`, which open_clip wraps. What that calls its context length is the
    # size of the position embedding (0 for mT5); prompts are as long as the tokenizer makes them.
    find = getattr(getattr(tower, "transformer", None), "get_input_embeddings", None)
    if find is None or not isinstance(embedding := find(), torch.nn.Embedding):
        raise OracleError(
            f"oracle.model: its text tower must have a token embedding, but {type(tower).__name__} "
            "has none that is known"
        )
    return embedding, int(tokenizer.context_length)


def _check_end_is_written(tower: Any, tokenizer: Any) -> None:
    """A tower that is read at its end token is read at the first token where a tokenizer writes
    none, and gives the same for every text."""
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    end = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))
    if pool == "eos" and end not in (written := frame_of(tokenizer).end.tolist()):
        raise OracleError(
            f"oracle.model: its text tower is read at the token {end}, with which its tokenizer "
            f"must end every text, but that ends them with {written}: the tokenizer belongs to "
            "another model, or another version of transformers must read it"
        )


def _forget_words(tokenizer: Any) -> None:
    """open_clip's tokenizer keeps every word that it has ever split, and strangers send texts."""
    words = getattr(tokenizer, "cache", None)
    if isinstance(words, dict) and len(words) > MOST_WORDS:
        for word in [word for word, parts in words.items() if word != parts]:  # its own stay
            del words[word]
