"""CLIP's causal text tower, entered with soft context embeddings instead of words.

Prompts are cut at the longest end token. Under a causal mask no position sees a later one and the
feature is read at the end token, so the cut is exact (method notes: 77 tokens are only padding).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.prompts import PromptTokens, tokenize_task

PROBE_TASK = ClassificationTask(("cat", "ankle boot", "a very long railway station name"))
PROBE_TOLERANCE = 1e-4  # of normalised features in fp32; the cut itself is exact


class TextTower:
    """Text features of prompts `[SOS] context suffix`.

    Raises:
        OracleError: the model's text tower is not CLIP's causal transformer (SigLIP, CoCa, Hugging
            Face towers); detected by comparing with the model's own `encode_text` on a probe.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        # CLIP keeps the tower's parts on itself, CustomTextCLIP on `.text`.
        source = getattr(loaded.model, "text", loaded.model)
        try:
            self.token_embedding: torch.nn.Embedding = source.token_embedding
            self.positional_embedding: torch.Tensor = source.positional_embedding
            self.transformer: torch.nn.Module = source.transformer
            self.ln_final: torch.nn.Module = source.ln_final
            self.text_projection: torch.nn.Linear | torch.Tensor | None = source.text_projection
            self.attn_mask: torch.Tensor | None = source.attn_mask
            self.context_length = int(source.context_length)
        except AttributeError as error:
            raise OracleError(f"oracle.model: text tower is not supported: {error}") from error
        self._check_against_encode_text(loaded)

    @property
    def embed_dim(self) -> int:
        """E, the width of a token embedding."""
        return int(self.token_embedding.weight.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device

    @torch.inference_mode()
    def embed(self, ids_T: torch.Tensor) -> torch.Tensor:
        """Token embeddings without positions, [T, E]."""
        embedded: torch.Tensor = self.token_embedding(ids_T.to(self.device))
        return embedded

    @torch.inference_mode()
    def encode(
        self, tokens: PromptTokens, contexts_KLE: torch.Tensor, max_prompts_per_forward: int
    ) -> torch.Tensor:
        """Unnormalised text features, [K, C, F].

        Raises:
            OracleError: context and suffix together are longer than the tower's context.
        """
        num_contexts, length, _ = contexts_KLE.shape
        num_classes, suffix_length = tokens.suffix_CT.shape
        total_length = 1 + length + suffix_length
        if total_length > self.context_length:
            raise OracleError(
                f"contexts: 1 + L + suffix <= {self.context_length} tokens must hold, but got "
                f"L={length} and a suffix of {suffix_length}"
            )
        sos_E = self.embed(tokens.sos_1)[0]
        suffix_CTE = self.embed(tokens.suffix_CT)
        end_C = tokens.end_C.to(self.device) + 1 + length
        pairs = torch.cartesian_prod(
            torch.arange(num_contexts, device=self.device),
            torch.arange(num_classes, device=self.device),
        )
        features = []
        for part in torch.split(pairs, max_prompts_per_forward):
            context_rows, class_rows = part[:, 0], part[:, 1]
            prompts_BTE = torch.cat(
                [
                    sos_E.expand(len(part), 1, -1),
                    contexts_KLE[context_rows],
                    suffix_CTE[class_rows],
                ],
                dim=1,
            )
            features.append(self._forward_prompts(prompts_BTE, end_C[class_rows]))
        return torch.cat(features).reshape(num_contexts, num_classes, -1)

    def _forward_prompts(self, prompts_BTE: torch.Tensor, end_B: torch.Tensor) -> torch.Tensor:
        length = prompts_BTE.shape[1]
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        x = prompts_BTE + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=mask)
        # Layer norm acts on each position alone: normalise only the one that is read.
        x = self.ln_final(x[torch.arange(len(x), device=x.device), end_B])
        features: torch.Tensor = x
        if isinstance(self.text_projection, torch.nn.Linear):
            features = self.text_projection(x)
        elif self.text_projection is not None:
            features = x @ self.text_projection
        return features

    @torch.inference_mode()
    def _check_against_encode_text(self, loaded: LoadedModel) -> None:
        tokens = tokenize_task(PROBE_TASK, loaded.tokenizer, self.context_length)
        context = self.embed(tokens.prefix_L)[None]
        ours_CF = self.encode(tokens, context, max_prompts_per_forward=2)[0]
        words = [PROBE_TASK.template.format(name) for name in PROBE_TASK.class_names]
        ids = loaded.tokenizer(words, context_length=self.context_length).to(self.device)
        expected_CF = loaded.model.encode_text(ids)
        difference = (F.normalize(ours_CF, dim=-1) - F.normalize(expected_CF, dim=-1)).abs().max()
        if not difference <= PROBE_TOLERANCE:
            raise OracleError(
                "oracle.model: text tower is not supported: soft prompts differ from encode_text "
                f"by {difference:.2e} (at most {PROBE_TOLERANCE:.0e})"
            )
