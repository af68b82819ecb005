"""For `mkdocs`: pages that stand elsewhere in the repository, and links to files that are no pages.

README.md, CHANGELOG.md and their like are pages of the site, too, under the names in `ELSEWHERE`.
A link to one of these leads to its page. A link to another file of the repository (code, a result)
becomes its path as text, because the site has no copy of it and knows no server that has.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^()\s]+)\)")
PICTURE = re.compile(r"(!\[[^\[\]]*\]\()([^()\s]+)\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    for source, page in ELSEWHERE.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turn links, which are those of the repository, into those of the site."""
    uri = page.file.src_uri
    sources = {target: source for source, target in ELSEWHERE.items()}
    folder = posixpath.dirname(sources.get(uri, f"docs/{uri}"))

    def place_of(target: str) -> str | None:
        """On the site, from this page; None if it is not there."""
        path, mark, anchor = target.partition("#")
        if not path:
            return target
        found = posixpath.normpath(posixpath.join(folder, path))
        found = ELSEWHERE.get(
            found, found.removeprefix("docs/") if found.startswith("docs/") else ""
        )
        if not found or files.get_file_from_path(found) is None:
            return None
        return os.path.relpath(found, posixpath.dirname(uri) or ".") + mark + anchor

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        place = place_of(target)
        return f"{words} (`{target.lstrip('./')}`)" if place is None else f"[{words}]({place})"

    def picture(match: re.Match[str]) -> str:
        return f"{match[1]}{place_of(match[2]) or match[2]})"

    return PICTURE.sub(picture, LINK.sub(link, markdown))
