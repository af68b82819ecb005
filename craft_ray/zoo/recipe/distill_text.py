"""Distillation: a small causal text tower learns to map prompts to their nouns' targets.

Shape suffixes: B prompts in a batch, T tokens, E width of the tower, F image embedding.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from open_clip import SimpleTokenizer
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from craft_ray.zoo.recipe.phrases import Phrase, PromptWriter

TEXT_CFG = {
    "context_length": 32,
    "vocab_size": 49408,
    "width": 128,
    "heads": 4,
    "layers": 4,
}

BATCH_SIZE = 384
IMAGENET_PER_BATCH = 64
PEAK_LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01
RELATION_WEIGHT = 0.2
RELATION_SCALE = 20.0
EMA_DECAY = 0.998
LENGTH_GROUPS = 3
LOG_EVERY = 100
CHECKPOINT_EVERY = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Phrases with their targets, ImageNet's class names apart because every batch has some."""

    imagenet: list[Phrase]
    imagenet_targets_NF: Tensor
    nouns: list[Phrase]
    noun_targets_NF: Tensor


class Batches:
    """Endless random batches of prompts: token ids [B, T], cut at the longest, targets [B, F]."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        tokenizer = SimpleTokenizer()
        self._imagenet = PromptWriter(tokenizer, corpus.imagenet)
        self._nouns = PromptWriter(tokenizer, corpus.nouns)
        self._corpus = corpus
        self._rng = np.random.default_rng(seed)
        weights = np.array([phrase.weight for phrase in corpus.nouns])
        self._cumulative = np.cumsum(weights / weights.sum())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield self._draw()

    def _draw(self) -> tuple[Tensor, Tensor]:
        classes = self._rng.integers(len(self._corpus.imagenet), size=IMAGENET_PER_BATCH)
        uniform = self._rng.random(BATCH_SIZE - IMAGENET_PER_BATCH)
        # Rounding may leave the last sum below 1, and no draw may point past the end.
        nouns = np.searchsorted(self._cumulative, uniform).clip(max=len(self._cumulative) - 1)
        prompts = [self._imagenet.write(row, self._rng) for row in classes]
        prompts += [self._nouns.write(row, self._rng) for row in nouns]
        ids_BT = nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in prompts], batch_first=True
        )[:, : TEXT_CFG["context_length"]]
        targets_BF = torch.cat(
            [self._corpus.imagenet_targets_NF[classes], self._corpus.noun_targets_NF[nouns]]
        )
        # A prompt longer than the context would lack its end token.
        complete = (ids_BT == prompts[0][-1]).any(dim=1)
        return ids_BT[complete], targets_BF[complete]


def encode_prompts(tower: TextTransformer, ids_BT: Tensor) -> Tensor:
    """Normalised text features, [B, F].

    open_clip computes all 32 positions. Under the causal mask no position sees a later one, so
    stopping at the end token is exact; groups of like length waste few positions on padding.
    """
    end_B = ids_BT.argmax(dim=1)  # the end token has the largest id
    order_B = end_B.argsort()
    features = []
    for rows in order_B.chunk(LENGTH_GROUPS):
        num_tokens = int(end_B[rows].max()) + 1
        x_BTE = tower.token_embedding(ids_BT[rows, :num_tokens])
        x_BTE = x_BTE + tower.positional_embedding[:num_tokens]
        x_BTE = tower.transformer(x_BTE, attn_mask=tower.attn_mask[:num_tokens, :num_tokens])
        x_BE = tower.ln_final(x_BTE[torch.arange(len(rows)), end_B[rows]])
        features.append(x_BE @ tower.text_projection)
    return F.normalize(torch.cat(features)[order_B.argsort()], dim=-1)


def distillation_loss(features_BF: Tensor, targets_BF: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and mean cosine. Pulls to the target, and copies how the targets relate to each other.

    The second term is a cross-entropy between similarities within the batch: unlike a hard
    assignment it does not push synonyms apart.
    """
    cosine = (features_BF * targets_BF).sum(dim=-1).mean()
    teacher_BB = (RELATION_SCALE * targets_BF @ targets_BF.T).softmax(dim=-1)
    student_BB = RELATION_SCALE * features_BF @ targets_BF.T
    return 1 - cosine + RELATION_WEIGHT * F.cross_entropy(student_BB, teacher_BB), cosine


def distill(
    corpus: Corpus, num_steps: int, seed: int, checkpoint: Path, resume: bool = False
) -> TextTransformer:
    """Train a text tower.

    Args:
        corpus: what to learn.
        num_steps: optimizer steps.
        seed: of the initial weights and of the batches.
        checkpoint: file for the averaged weights, written every `CHECKPOINT_EVERY` steps.
        resume: start from the weights in that file, with a learning rate cycle of their own,
            instead of random weights.

    Returns:
        The tower with an exponential moving average of the weights, in evaluation mode. Its
        parameters have the names that open_clip's `CLIP` gives them.
    """
    torch.manual_seed(seed)
    tower = TextTransformer(**TEXT_CFG, output_dim=corpus.noun_targets_NF.shape[1])
    if resume:
        tower.load_state_dict(load_file(checkpoint))
    average = AveragedModel(
        tower,
        multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY),  # type: ignore[no-untyped-call]
    )
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_LEARNING_RATE, total_steps=num_steps, pct_start=0.1
    )
    started = time.monotonic()
    for step, (ids_BT, targets_BF) in zip(
        range(1, num_steps + 1), Batches(corpus, seed), strict=False
    ):
        loss, cosine = distillation_loss(encode_prompts(tower, ids_BT), targets_BF)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(tower)
        if step % LOG_EVERY == 0:
            minutes = (time.monotonic() - started) / 60
            logger.info(
                "step %d/%d, cosine %.3f, %.1f min", step, num_steps, cosine.item(), minutes
            )
        if step % CHECKPOINT_EVERY == 0:
            save_file(average.module.state_dict(), checkpoint)
    return average.module.eval()
