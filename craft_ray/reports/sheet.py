"""Pictures side by side on a page, to be looked through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

MOST_PICTURES = 400
"""About 2 MB of page."""
STYLE = """<style>.sheet { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.path { font-size: .72rem; line-height: 1.25; display: block; margin-top: .15rem; }</style>"""


def sheet(figures: Iterable[str]) -> str:
    """A grid of figures."""
    return f'<div class="grid sheet">{"".join(figures)}</div>'


def picture(source: str) -> str:
    """A picture.

    Args:
        source: an address that holds it; empty where it is gone.
    """
    if not source:
        return '<span class="picture"></span>'
    return f'<img class="picture" alt="" src="{source}">'


def common_folder(names: Sequence[str]) -> str:
    """That all paths are in; empty if there is none."""
    parts = [name.split("/")[:-1] for name in names]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return "/".join(level[0] for level in shared)


def within(folder: str, path: str) -> str:
    """A path without the folder that all of them are in."""
    return path[len(folder) :].lstrip("/")
