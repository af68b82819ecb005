"""A path with `:cat:` in it is printed as it is."""

from __future__ import annotations

import re
from pathlib import Path

import craft_ray


def test_no_console_replaces_parts_of_paths_by_emoji() -> None:
    made = [
        call
        for path in Path(craft_ray.__file__).parent.rglob("*.py")
        for call in re.findall(r"\bConsole\([^)]*\)", path.read_text())
    ]
    assert made
    assert all("emoji=False" in call for call in made), made
