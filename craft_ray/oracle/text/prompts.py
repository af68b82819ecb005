"""Tokens of a classification task: what surrounds the soft context in every prompt.

The prompt of class c is `[SOS] context [tokens of c] [words after {}] [EOS]` (CoOp, CraFT).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from open_clip import SimpleTokenizer

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask

# The tokenizer truncates silently, and a truncated class name would be scored as another class:
# read more tokens than any tower takes and check the true length.
UNTRUNCATED = 4096


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of a task, without padding."""

    sos_1: torch.Tensor
    """[1]: the start token."""
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
        if 1 + length + self.longest_suffix > context_length:
            raise OracleError(
                f"contexts: 1 + L + suffix <= {context_length} tokens must hold, but got "
                f"L={length} and a suffix of {self.longest_suffix}"
            )


def tokenize_task(
    task: ClassificationTask, tokenizer: SimpleTokenizer, context_length: int
) -> PromptTokens:
    """Split every prompt of a task at its placeholder.

    Raises:
        OracleError: a prompt does not fit into the context, or the word before {} grows together
            with a class name.
    """
    before, _, after = task.template.partition("{}")
    prefix = _ids(tokenizer, before)[:-1]
    suffixes = []
    for name in task.class_names:
        # Folder names and CoOp's class names separate words by underscores.
        words = " ".join(name.replace("_", " ").split())
        ids = _ids(tokenizer, f"{before}{words}{after}")
        if not torch.equal(ids[: len(prefix)], prefix):
            raise OracleError(
                "template: the word before {} must not grow together with a class name, but "
                f"{task.template!r} does so with {name[:60]!r}"
            )
        if len(ids) > context_length:
            raise OracleError(
                f"class {name[:60]!r}: its prompt must have at most {context_length} tokens, but "
                f"has {len(ids)}"
            )
        suffixes.append(ids[len(prefix) :])
    return PromptTokens(
        sos_1=prefix[:1],
        prefix_L=prefix[1:],
        suffixes=tuple(suffixes),
    )


def _ids(tokenizer: SimpleTokenizer, text: str) -> torch.Tensor:
    """Token ids of one text, [SOS] to [EOS], without padding."""
    row: torch.Tensor = tokenizer([text], context_length=UNTRUNCATED)[0]
    return row[: int(row.nonzero().max()) + 1]
