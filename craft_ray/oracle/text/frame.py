"""What a tokenizer puts around the words of a text, read from its own output.

CLIP's own writes `[SOS] words [EOS] 0 0 ...`. Others differ in all of it: SigLIP's has no start
token and fills the row with its end token, CLIPA's writes `[CLS] words` and zeros, MetaCLIP2's ends
with id 2 and fills with id 1, NLLB's begins with a language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from craft_ray.errors import OracleError

# A tokenizer truncates silently, and a truncated class name would be scored as another class: read
# more tokens than any tower takes, and check the true length.
UNTRUNCATED = 4096


@dataclass(frozen=True)
class Frame:
    """Around the words of each text of one tokenizer.

    Attributes:
        start: ids before the words; empty where there is no start token.
        end: ids behind the words, as they stand in the row: one that looks like padding counts too.
        padding: the id that fills a row.
        tail: ids at the very end of a row, behind the padding; most tokenizers have none.
        reserved: ids that no words may have, because the tower looks for them.
    """

    start: torch.Tensor
    end: torch.Tensor
    padding: int
    tail: torch.Tensor
    reserved: frozenset[int]

    def words(self, tokenizer: Any, text: str) -> torch.Tensor:
        """Ids of the words of a text, nothing around them."""
        row = _stripped(tokenizer, text, self.padding, len(self.tail))
        # What is stripped of the end is what looks like padding.
        visible = len(_without_last(self.end, self.padding))
        # A copy, so that the row of 32 KB goes before anything else is made: its pieces would be
        # lost between what stays (measured: 13 KB for each text, and 0.5 KB with a copy).
        return row[len(self.start) : len(row) - visible].clone()


def frame_of(tokenizer: Any) -> Frame:
    """Read it from the rows of an empty text and of one letter.

    Args:
        tokenizer: of open_clip, its own or one that wraps a tokenizer of `transformers`.

    Raises:
        OracleError: its rows are not start, words, end and padding.
    """
    inner = getattr(tokenizer, "tokenizer", None)
    empty = _row(tokenizer, "")
    padding = int(empty[UNTRUNCATED // 2])
    tail = empty[len(_without_last(empty, padding, of_others=True)) :]
    nothing, letter = (_stripped(tokenizer, text, padding, len(tail)) for text in ("", "a"))
    same = min(len(nothing), len(letter))
    differs = (nothing[:same] != letter[:same]).nonzero()
    start = nothing[: int(differs[0]) if len(differs) else same]
    end = nothing[len(start) :]
    if len(letter) <= len(nothing) or not torch.equal(letter[len(letter) - len(end) :], end):
        raise OracleError(
            "oracle.model: its tokenizer must write start, words, end and padding, but the letter "
            f"'a' is {letter.tolist()[:9]} and an empty text {nothing.tolist()[:9]}"
        )
    # An end token that is the padding's too (SigLIP), or is turned into it (CLIPA), needs room.
    specials = getattr(inner, "num_special_tokens_to_add", lambda: 0)()
    hidden = max(int(specials) - len(start) - len(end) - len(tail), 0)
    reserved = frozenset(end.tolist()) | (frozenset() if inner is None else {padding})
    end = torch.cat([end, torch.full((hidden,), padding)])
    return Frame(start, end, padding, tail, reserved)


def _row(tokenizer: Any, text: str) -> torch.Tensor:
    row: torch.Tensor = tokenizer([text], context_length=UNTRUNCATED)[0]
    return row


def _stripped(tokenizer: Any, text: str, padding: int, tail: int) -> torch.Tensor:
    """A row without padding and what is behind it."""
    row = _row(tokenizer, text)
    return _without_last(row[: len(row) - tail], padding)


def _without_last(ids: torch.Tensor, padding: int, *, of_others: bool = False) -> torch.Tensor:
    """Ids up to the last one that is no padding; with `of_others`, up to the last that is."""
    kept = ((ids == padding) if of_others else (ids != padding)).nonzero()
    return ids[: int(kept.max()) + 1] if len(kept) else ids[:0]
