"""Whether docs/outputs.md names what is in a folder of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "outputs.md"
NOT_OURS = {"settings", "versions", "params", "shares"}
"""Fields whose own fields are other things: settings, packages, parameters."""
NAMED = re.compile(r"`([^`\n]+)`")
OF_A_DATABASE = ("-journal", "-wal", "-shm")


def undocumented(runs: Path) -> list[str]:
    """Files of `runs` and of each run, and fields of summaries, that the page does not name."""
    text = PAGE.read_text(encoding="utf-8")
    known = {part for name in NAMED.findall(text) for part in re.split(r"[/ ,]", name) if part}
    names = {name for folder in runs.glob("*/summary.json") for name in _names_in(folder.parent)}
    names |= {path.name for path in runs.iterdir() if not (path / "settings.json").exists()}
    return sorted(name for name in names if name not in known and not name.isdigit())


def _names_in(run: Path) -> Iterator[str]:
    for path in run.rglob("*"):
        # What belongs to a database, and what a checkpoint has inside, has no row of its own.
        if not path.name.endswith(OF_A_DATABASE) and "states" not in path.parent.parts:
            yield path.name
    yield from _fields(json.loads((run / "summary.json").read_text(encoding="utf-8")))


def _fields(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            if name == "pool":  # by the names of replicas
                inner = list(inner.values())
            if name not in NOT_OURS:
                yield from _fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner)
