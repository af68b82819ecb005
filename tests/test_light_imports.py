"""Packages without what they load and nobody here uses."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from craft_ray.light_imports import (
    imported_meanwhile,
    module_alone,
    package_folders,
    without,
)


def test_what_is_left_out_cannot_be_imported_meanwhile_and_can_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with without("wave"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("wave")
    assert importlib.import_module("wave").__name__ == "wave"


def test_another_thread_can_import_it_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with without("wave"), ThreadPoolExecutor() as others:
        imported = others.submit(importlib.import_module, "wave").result()
        assert imported.__name__ == "wave"
        assert sys.modules["wave"] is imported
    with without("wave"):
        assert importlib.import_module("wave") is imported


def test_two_threads_do_without_different_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wave", "this"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    both = threading.Barrier(2)

    def is_refused(name: str) -> bool:
        with without(name):
            both.wait(10)
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                return True
            finally:
                both.wait(10)
        return False

    finders = list(sys.meta_path)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(is_refused, ("wave", "this"))) == [True, True]
    assert sys.meta_path == finders


def test_what_is_loaded_already_stays() -> None:
    with without("json"):
        assert importlib.import_module("json").dumps([]) == "[]"
    assert "json" in sys.modules


def test_an_error_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(ValueError, match="broken"), without("wave"):
        raise ValueError("broken")
    assert "wave" not in sys.modules


def test_a_module_alone_is_its_packages_own_where_that_is_loaded() -> None:
    assert module_alone("craft_ray", "errors") is importlib.import_module("craft_ray.errors")


@pytest.mark.parametrize("name", ["no_such_package", "this"])
def test_a_package_that_is_not_installed_is_an_import_error(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=name):
        package_folders(name)


def test_an_import_that_hangs_does_not_keep_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hangs_when_imported.py").write_text("import time\ntime.sleep(30)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("craft_ray.light_imports.GIVE_UP_S", 0.1)
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), imported_meanwhile("hangs_when_imported"):
        raise KeyboardInterrupt
    assert time.monotonic() - began_s < 10
