"""A page as a browser would read it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}
"""Elements without an end."""


class Page(HTMLParser):
    """Fails on what a page must not have, and collects what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.titles: list[str] = []
        """Of its sections."""
        self.pictures = 0
        self._open: list[str] = []
        assert text.startswith("<!doctype html>")
        assert "http://" not in text
        assert "https://" not in text
        self.feed(text)
        self.close()
        assert self._open == [], "what is opened is closed"

    @property
    def text(self) -> str:
        """All its words."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe"), "nothing is run and nothing fetched"
        for name, value in attrs:
            if name in ("src", "href"):
                assert value is not None
                assert value.startswith("data:")
            assert not name.startswith("on")
        self.pictures += tag == "img"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, "only SVG knows elements that end themselves"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            return
        self.words.append(data)
        if self._open and self._open[-1] == "h2":
            self.titles.append(data)
