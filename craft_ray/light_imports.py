"""Other packages without the parts of them that nobody here uses: every process of a run pays for
its imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(*names: str) -> Iterator[None]:
    """While it holds, modules of these names cannot be imported, as if they were not installed.

    For the first import of a package that can do without them. What is loaded already stays.
    """
    blocked = [name for name in names if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own mark for it
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


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
