"""The rule of the rooms, read from the tree: imports go down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import craft_ray

PACKAGE = Path(craft_ray.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("commands", "api"),
    ("service",),
    ("estimator",),
    ("reproduction", "search"),
    ("jobs", "inference"),
    ("tuners", "tracking", "reports"),
    ("classifiers",),
    ("task",),
    ("metering",),
    ("pool",),
    ("oracle",),
    ("method", "optimizers", "data"),
    ("files",),
    ("config",),
    ("environment", "interrupts", "light_imports", "__init__"),
    ("errors",),
)
"""From top to bottom; rooms of one floor do not know each other. The zoo is what was made, and by
what: a program beside the house."""

BESIDE = {"zoo"}
DOORS = {"tune", "train", "reproduce", "serve", "data/__main__", "tracking/__main__", "__main__"}
"""What is typed as `python -m craft_ray.X`: opens the command of that name, and nothing else."""


def modules() -> Iterator[tuple[str, Path]]:
    """Path inside the package without suffix, and file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix(), path


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it: `room.module`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("craft_ray.") for name in found if name.startswith("craft_ray.")}


def floor_of(room: str) -> int:
    """0 is the top.

    Raises:
        StopIteration: the room is unknown.
    """
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_imports_go_down_only() -> None:
    wrong = []
    for module, path in modules():
        room = module.split("/")[0]
        if module in DOORS or room in BESIDE or module == "__init__":  # which opens one on demand
            continue
        for imported in imports_of(path):
            other = imported.split(".")[0]
            is_file = (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file()
            if is_file and other not in (room, *BESIDE) and floor_of(other) <= floor_of(room):
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_a_door_opens_its_command_only() -> None:
    for door in DOORS:
        command = "program" if door == "__main__" else door.split("/")[0]
        allowed = {f"commands.{command}", f"commands.{command}.main"}
        allowed |= {"interrupts", "interrupts.end_at_once"}
        assert imports_of(PACKAGE / f"{door}.py") == allowed


def test_no_circle_of_modules() -> None:
    known = {module.replace("/", ".").removesuffix(".__init__"): path for module, path in modules()}
    graph = {name: imports_of(path) & known.keys() - {name} for name, path in known.items()}
    while graph:
        leaves = [name for name, others in graph.items() if not others & graph.keys()]
        assert leaves, f"a circle among {sorted(graph)}"
        for name in leaves:
            del graph[name]
