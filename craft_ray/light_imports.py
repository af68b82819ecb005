"""Other packages without the parts of them that nobody here uses: every process of a run pays for
its imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType

GIVE_UP_S = 10.0
"""More than the import of a large package takes."""


@dataclass(frozen=True)
class _Blocked:
    """Finds no module of these names for one thread; whoever else asks finds it as ever."""

    names: frozenset[str]
    thread: int

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Part of Python's import system: None leaves the module to the next finder."""
        if name in self.names and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named {name!r} is wanted here", name=name)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """While it holds, this thread cannot import modules of these names, as if they were not
    installed; other threads can.

    For the first import of a package that can do without them. What is loaded already stays, and
    before a module the package that holds it is loaded, unless that is named as well.
    """
    blocked = _Blocked(frozenset(names), threading.get_ident())
    sys.meta_path.insert(0, blocked)
    try:
        yield
    finally:
        sys.meta_path.remove(blocked)


@contextmanager
def imported_meanwhile(name: str) -> Iterator[None]:
    """Import a package in another thread while this one waits for something else; at the end it is
    there. Whoever needs it imports it as ever, and hears then if it cannot be.

    After an error it is not waited for without end: Ctrl-C in the middle of an import may leave the
    lock of a module taken, which the other thread then waits for.
    """

    def load() -> None:
        with suppress(Exception):
            importlib.import_module(name)

    thread = threading.Thread(target=load, name=f"import {name}", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        thread.join(GIVE_UP_S)
        raise
    thread.join()


def module_alone(package: str, name: str) -> ModuleType:
    """One module of a package, without the package's `__init__` and all that it loads.

    Args:
        package: a package that is installed.
        name: a module of it that needs its neighbours at most. If the package is loaded already,
            this is its own module, else a copy.

    Raises:
        ModuleNotFoundError: there is no such package or module.
    """
    if package in sys.modules:
        return importlib.import_module(f"{package}.{name}")
    alias = f"_alone_{package}"
    if alias not in sys.modules:
        parent = ModuleType(alias)
        parent.__path__ = list(package_folders(package))
        sys.modules[alias] = parent
    return importlib.import_module(f"{alias}.{name}")


def package_folders(package: str) -> list[str]:
    """Where a package is installed; it is not loaded.

    Raises:
        ModuleNotFoundError: it is not.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No package named {package!r}", name=package)
    return list(spec.submodule_search_locations)
