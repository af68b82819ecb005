"""The blocks of code in a document, and the commands in a block of shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHELL = {"bash", "sh", "shell"}

NOT_RUN = re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
NONE_IS_RUN = re.compile(r"<!-- no block of this page is run: (.+?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Of code.

    Attributes:
        document: path from the root of the repository.
        line: its first line there, from 1.
        language: as after the three backticks.
        text: without the backticks.
        not_run: why it is not executed; None if it is.
    """

    document: str
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """All blocks of code, in order. A comment `<!-- not run: why -->` is about the block that
    follows it directly, `<!-- no block of this page is run: why -->` about all."""
    text = document.read_text(encoding="utf-8")
    of_page = NONE_IS_RUN.search(text)
    name = document.relative_to(ROOT).as_posix() if document.is_relative_to(ROOT) else document.name
    blocks, reason = [], None
    for token in MarkdownIt().parse(text):
        if token.type == "html_block" and (found := NOT_RUN.search(token.content)):
            reason = found[1]
        elif token.type == "fence":
            assert token.map is not None
            if reason is None and of_page is not None:
                reason = of_page[1]
            blocks.append(Block(name, token.map[0] + 1, token.info.strip(), token.content, reason))
            reason = None
        else:
            assert reason is None, f"{name}: the comment `not run: {reason}` has no block below it"
    return blocks


def commands_in(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block; of pipes and lists each part. Where its output
    goes (`> FILE`) is left out: that is the shell's."""
    lines = block.text.replace("\\\n", " ").splitlines()
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words: list[str] = []
        is_target = False
        for word in [*lexer, ";"]:
            if is_target or word == ">":
                is_target = word == ">"
            elif set(word) <= set("&|;"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def craft_ray_words(words: list[str]) -> list[str] | None:
    """What follows `craft-ray`, however it is called; None if it is another program."""
    if words[0] == "craft-ray":
        return words[1:]
    if words[:2] != ["python", "-m"] or not words[2].startswith("craft_ray"):
        return None
    _, _, command = words[2].partition(".")
    return [*([command] if command else []), *words[3:]]
