"""One malformed input: how it is made, what then uses it, and what the message must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from craft_ray.config.loading import load_reproduction_config, load_run_config, load_space_config

Attempt = Callable[[], object]

CHANGED = "must be as it was written, but its checksum differs"


@dataclass(frozen=True)
class Case:
    """A row of a table."""

    name: str
    prepare: Callable[[Path], Attempt]
    """Writes the input into an empty folder; what it returns uses the input as a command does."""
    law: str
    """Regular expression that the message must contain: the field or file, the law, the value."""
    needs_permissions: bool = False
    """Whether the input is bad only for a user whom permissions bind."""


def run_file(text: str, *words: str) -> Callable[[Path], Attempt]:
    """Settings of a run, and words of the command line."""

    def prepare(folder: Path) -> Attempt:
        path = folder / "run.yaml"
        path.write_bytes(text.encode())
        return lambda: load_run_config(path, words)

    return prepare


def space_file(text: str, *words: str) -> Callable[[Path], Attempt]:
    """A search space, and words of the command line."""

    def prepare(folder: Path) -> Attempt:
        path = folder / "space.yaml"
        path.write_bytes(text.encode())
        return lambda: load_space_config(path, words)

    return prepare


def grid_file(text: str, *words: str) -> Callable[[Path], Attempt]:
    """A grid of a reproduction, with the settings of all its cells."""

    def prepare(folder: Path) -> Attempt:
        from craft_ray.reproduction.grid import make_cells, settings_of

        path = folder / "grid.yaml"
        path.write_bytes(text.encode())

        def attempt() -> None:
            config = load_reproduction_config(path, words)
            for cell in make_cells(config):
                settings_of(cell, config)

        return attempt

    return prepare


def flip(path: Path) -> None:
    """Change one bit near the end."""
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Leave the last bytes out."""
    path.write_bytes(path.read_bytes()[:-9])
