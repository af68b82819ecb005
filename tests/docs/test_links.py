"""Every link of the documents leads to a file, and to a heading that is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.docs.blocks import DOCUMENTS, ROOT

PAGES = (
    *DOCUMENTS,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "craft_ray" / "zoo").rglob("*.md")),
)
FOREIGN = ("http://", "https://", "mailto:")


def links_of(page: Path) -> list[str]:
    """Of links and pictures, without those to other servers."""
    found = []
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str) and not target.startswith(FOREIGN):
                found.append(target)
    return found


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Of its headings, as GitHub makes them."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    headings = [tokens[n + 1] for n, token in enumerate(tokens) if token.type == "heading_open"]
    anchors: list[str] = []
    for heading in headings:
        words = "".join(
            child.content
            for child in heading.children or []
            if child.type in ("text", "code_inline")
        )
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = sum(
            re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", known) is not None for known in anchors
        )
        anchors.append(f"{anchor}-{count}" if count else anchor)
    return frozenset(anchors)


def broken(page: Path) -> list[str]:
    """Its links that lead nowhere."""
    wrong = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_its_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_each_document_is_found_from_the_readme() -> None:
    readme = ROOT / "README.md"
    linked = {(readme.parent / link.partition("#")[0]).resolve() for link in links_of(readme)}
    assert [page for page in DOCUMENTS if page not in linked and page != readme] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c\n\n[1](#a-b-c) [2](#a) [3](page.md#a-b-c) [4](none.md) ![5](n.png)\n"
    )
    assert broken(page) == ["#a", "none.md", "n.png"]
