"""Whatever stands in a file: settings or a ConfigError, and at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.loading import (
    load_reproduction_config,
    load_run_config,
    load_space_config,
)
from craft_ray.config.reproduction import COORDINATES, ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.reproduction.grid import make_cells, settings_of

KEYS = sorted(
    RunConfig.model_fields.keys()
    | SpaceConfig.model_fields.keys()
    | {"kind", "preset", "shots", "template", "low", "high", "values", "head.hidden", "root"}
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["auto", "reference", "folder", "choice", "1e-4", "a photo of a {}."])
)
keys = st.sampled_from(KEYS) | st.text(max_size=5) | st.integers() | st.none()


def branches(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(keys, children, max_size=4)


documents = st.dictionaries(keys, st.recursive(leaves, branches, max_leaves=12), max_size=5)
paths = st.lists(st.sampled_from([*KEYS, "fidelity", ""]), min_size=1, max_size=4).map(".".join)
overrides = st.lists(st.tuples(paths, st.sampled_from(["1", "x", "{a: 1}", "", "2020-13-45"])))


@contextmanager
def file_of(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes(content)
        yield path


def outcome(load: Callable[[], RunConfig | SpaceConfig | ReproductionConfig]) -> str | ConfigError:
    """The kind of settings, or the one error that is allowed."""
    try:
        return type(load()).__name__
    except ConfigError as error:
        return error


def assert_is_sound(result: str | ConfigError, kind: str) -> None:
    assert result == kind if isinstance(result, str) else result.problems


@given(document=documents, words=overrides)
def test_any_document_gives_settings_or_a_config_error(
    document: dict[Any, Any], words: list[tuple[str, str]]
) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    changes = [f"{key}={value}" for key, value in words]
    with file_of(text.encode()) as path:
        assert_is_sound(outcome(lambda: load_run_config(path, changes)), "RunConfig")
        assert_is_sound(outcome(lambda: load_space_config(path, changes)), "SpaceConfig")


budgets = st.dictionaries(
    leaves | st.sampled_from([1, "1", 16, "16", 4.0, True, "x"]), leaves, max_size=4
)


@given(budget=budgets | leaves, shots=leaves | st.integers(1, 16))
def test_any_budget_gives_settings_or_a_config_error(budget: Any, shots: Any) -> None:
    text = yaml.safe_dump({"max_queries": budget, "data": {"shots": shots}}, allow_unicode=True)
    with file_of(text.encode()) as path:
        result = outcome(lambda: load_run_config(path))
    assert_is_sound(result, "RunConfig")


run_keys = keys | paths | st.sampled_from([*COORDINATES, "data", "data.source", "head", "oracle"])
grids = st.fixed_dictionaries(
    {},
    optional={
        "datasets": st.just(["embedded"]) | leaves,
        "backbones": st.just(["embedded"]) | leaves,
        "shots": st.lists(leaves | st.integers(1, 4), max_size=3),
        "methods": st.lists(st.sampled_from(["craft", "white_box", "random_search"]), max_size=2),
        "run": st.dictionaries(run_keys, st.recursive(leaves, branches, max_leaves=6), max_size=3)
        | leaves,
    },
)


@given(document=grids, others=documents, words=overrides)
def test_any_grid_gives_the_settings_of_its_cells_or_a_config_error(
    document: dict[Any, Any], others: dict[Any, Any], words: list[tuple[str, str]]
) -> None:
    defaults = {"datasets": ["embedded"], "backbones": ["embedded"], "seeds": [1]}
    changes = [f"{key}={value}" for key, value in words]

    def load(text: str, path_changes: list[str]) -> ReproductionConfig:
        with file_of(text.encode()) as path:
            config = load_reproduction_config(path, path_changes)
        for cell in make_cells(config)[:3]:
            settings_of(cell, config)
        return config

    for grid, chosen in (({**defaults, **document}, []), (others, []), (document, changes)):
        text = yaml.safe_dump(grid, allow_unicode=True)
        result = outcome(lambda text=text, chosen=chosen: load(text, chosen))  # type: ignore[misc]
        assert_is_sound(result, "ReproductionConfig")


@given(content=st.binary(max_size=60) | st.text("{}[]:,-&*!?|>'\"%@ \n\tab01_x").map(str.encode))
def test_any_file_gives_settings_or_a_config_error(content: bytes) -> None:
    with file_of(content) as path:
        assert_is_sound(outcome(lambda: load_run_config(path)), "RunConfig")


@given(word=st.text(max_size=20) | st.text("{}[]:,-&*!?='\"ab01_.", max_size=20))
def test_any_word_gives_settings_or_a_config_error(word: str) -> None:
    assert_is_sound(outcome(lambda: load_run_config(None, [word])), "RunConfig")


@pytest.mark.parametrize("words", [[], ["data.shots=1"]])
def test_a_small_file_that_means_a_huge_list_gets_a_short_message(words: list[str]) -> None:
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "\n".join(["a0: &a0 [x]", *lists, "seed: *a29", "data: *a29"])
    with file_of(text.encode()) as path:
        result = outcome(lambda: load_run_config(path, words))
    assert isinstance(result, ConfigError)
    assert len(str(result)) < 20_000


@pytest.mark.parametrize(
    "module", ["craft_ray.config.loading", "craft_ray.config.space", "craft_ray.errors"]
)
def test_settings_are_checked_without_torch_and_ray(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'ray', 'open_clip', 'mlflow', 'optuna', 'pyarrow', 'PIL'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
