"""Files and words of settings are YAML 1.2: what looks like a number is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.documents import split_override, to_yaml
from craft_ray.config.loading import load_space_config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-2", 0.01), ("1E5", 1e5), ("+2e3", 2000.0), ("-1.5e+3", -1500.0), (".5e1", 5.0)],
        *[("1.", 1.0), ("0.5", 0.5), ("-.inf", float("-inf")), ("1_000", 1000), ("-7", -7)],
        *[("012", 12), ("0o14", 12), ("0xff", 255), ("true", True), ("False", False)],
        *[("no", "no"), ("on", "on"), ("1:30", "1:30"), ("2026-01-02", "2026-01-02")],
        *[("e5", "e5"), ("1e", "1e"), ("1e5x", "1e5x"), (".", "."), ("'1e5'", "1e5")],
        *[("", None), ("~", None), ("null", None), ("[1e-3, 2]", [0.001, 2])],
        *[("/a #1/b.csv", "/a #1/b.csv"), ("#1", "#1"), ("a# b", "a# b"), ("'a #1'", "a #1")],
        *[("8 # many", 8), ("'a' # b", "a")],
    ],
)
def test_a_plain_word_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    read = split_override(f"key={text}")[1]
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_read_as_one() -> None:
    assert split_override("key=.nan")[1] != split_override("key=.nan")[1]


def test_numbers_with_exponents_are_numbers_where_a_search_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "trials: 2\nparameters:\n"
        "  head.learning_rate: {kind: log_uniform, low: 1e-4, high: 1e-2}\n"
        "  optimizer.sigma: {kind: choice, values: [1e-2, 1e-1]}\n"
        "first_trials:\n  - {head.learning_rate: 1e-3, optimizer.sigma: 1e-2}\n"
    )
    space = load_space_config(path)
    assert space.first_trials[0] == {"head.learning_rate": 0.001, "optimizer.sigma": 0.01}


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.from_regex(r"[-+.0-9eE_:]{1,6}")


@given(st.dictionaries(st.sampled_from("abc"), TEXTS | NUMBERS | st.booleans() | st.none()))
def test_what_is_shown_is_read_as_it_was(document: dict[str, Any]) -> None:
    assert split_override(f"key={to_yaml(document)}")[1] == document


def test_yaml_itself_is_left_as_it_is() -> None:
    assert yaml.safe_load("1e-2") == "1e-2", "the resolvers are of our own loader only"
