"""Tokens of a classification task: what surrounds the soft context in every prompt.

The prompt of class c is `[SOS] context [tokens of c] [words after {}] [EOS]` (CoOp, CraFT); what
stands in the places of [SOS] and [EOS], and what fills the row, is the tokenizer's (`frame`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.contract_laws import words_of
from craft_ray.oracle.text.frame import Frame, frame_of


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of a task, without padding."""

    frame: Frame
    """What stands around the words of every prompt."""
    prefix_L: torch.Tensor
    """[L]: the words before {}; L = 0 if there are none."""
    suffixes: tuple[torch.Tensor, ...]
    """For each class [T_c]: class name, words after {}, end token."""

    @property
    def longest_suffix(self) -> int:
        """Tokens of the longest suffix."""
        return max(len(suffix) for suffix in self.suffixes)

    def check_length(self, length: int, context_length: int) -> None:
        """Raise OracleError unless a context of `length` tokens fits before every suffix."""
        around = len(self.frame.start) + len(self.frame.tail)
        if around + length + self.longest_suffix > context_length:
            raise OracleError(
                f"contexts: {around} + L + suffix <= {context_length} tokens must hold, but got "
                f"L={length} and a suffix of {self.longest_suffix}"
            )

    def full_rows(self, length: int, context_length: int) -> torch.Tensor:
        """[C, T] ids of whole prompts, padding included. A word keeps each of the `length` places
        of the context: a tower may look for padding or for the end token among the ids."""
        word = self.prefix_L[:1] if len(self.prefix_L) else self.suffixes[0][:1]
        frame = self.frame
        rows = torch.full((len(self.suffixes), context_length), frame.padding)
        rows[:, context_length - len(frame.tail) :] = frame.tail
        for row, suffix in zip(rows, self.suffixes, strict=True):
            ids = torch.cat([frame.start, word.expand(length), suffix])
            row[: len(ids)] = ids
        return rows


def tokenize_task(task: ClassificationTask, tokenizer: Any, context_length: int) -> PromptTokens:
    """Split every prompt of a task at its placeholder.

    Args:
        task: class names and template.
        tokenizer: of open_clip.
        context_length: of the tower.

    Raises:
        OracleError: a prompt does not fit into the context or holds the tokenizer's own end token,
            or the word before {} grows together with a class name.
    """
    frame = frame_of(tokenizer)
    before, _, after = task.template.partition("{}")
    prefix = frame.words(tokenizer, before)
    suffixes = []
    for name in task.class_names:
        ids = frame.words(tokenizer, f"{before}{words_of(name)}{after}")
        if not torch.equal(ids[: len(prefix)], prefix):
            raise OracleError(
                "template: the word before {} must not grow together with a class name, but "
                f"{task.template!r} does so with {name[:60]!r}"
            )
        _check_ids(ids, frame, context_length, f"class {name[:60]!r}: its prompt")
        suffixes.append(torch.cat([ids[len(prefix) :], frame.end]))
    return PromptTokens(frame, prefix, tuple(suffixes))


def tokenize_texts(texts: Sequence[str], tokenizer: Any, context_length: int) -> PromptTokens:
    """Whole texts, which have no place for a context.

    Args:
        texts: at least one.
        tokenizer: of open_clip.
        context_length: of the tower.

    Raises:
        OracleError: a text does not fit into the context or holds the tokenizer's own end token.
    """
    frame = frame_of(tokenizer)
    suffixes = []
    for text in texts:
        ids = frame.words(tokenizer, text)
        _check_ids(ids, frame, context_length, f"{called(text)}: it")
        suffixes.append(torch.cat([ids, frame.end]))
    return PromptTokens(frame, frame.words(tokenizer, ""), tuple(suffixes))


def called(text: str) -> str:
    """What a whole prompt is called in messages."""
    return f"prompt {text[:60]!r}"


def _check_ids(ids: torch.Tensor, frame: Frame, context_length: int, whose: str) -> None:
    """Raise OracleError unless these words fit into a prompt and have no end in their middle."""
    num_tokens = len(ids) + len(frame.start) + len(frame.end) + len(frame.tail)
    if num_tokens > context_length:
        raise OracleError(
            f"{whose} must have at most {context_length} tokens, but has {num_tokens}"
        )
    if not frame.reserved.isdisjoint(ids.tolist()):
        raise OracleError(
            f"{whose} must not hold a token by which the model knows the end or the padding of a "
            "text, but does"
        )


def alike_classes(tokens: PromptTokens) -> tuple[tuple[int, int], ...]:
    """Pairs of classes, by their places, of whose prompts the tokenizer makes the same: no image
    can tell the second from the first."""
    first: dict[tuple[int, ...], int] = {}
    ids = [tuple(suffix.tolist()) for suffix in tokens.suffixes]
    pairs = ((first.setdefault(own, place), place) for place, own in enumerate(ids))
    return tuple((earlier, place) for earlier, place in pairs if earlier != place)
