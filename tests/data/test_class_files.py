"""Files of class names, as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from craft_ray.data.sources.class_files import given_names, names_in_file
from craft_ray.errors import DataError


@pytest.mark.parametrize(
    ("document", "numbers"),
    [
        (["cat", "dog"], (0, 1)),
        ({"0": "cat", "1": "dog"}, (0, 1)),
        ({"10": "dog", "9": "cat"}, (9, 10)),
        ({"dog": 2, "cat": 1}, (1, 2)),
        ({"features": {"image": {}, "label": {"names": ["cat", "dog"]}}}, (0, 1)),
    ],
)
def test_json(tmp_path: Path, document: Any, numbers: tuple[int, ...]) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps(document))
    found = names_in_file(path)
    assert (found.names, found.numbers) == (("cat", "dog"), numbers)


def test_lines_with_a_mark_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "classnames.txt"
    path.write_bytes("\ufeffcafé au lait\r\ntea \r\n\r\n".encode())
    assert names_in_file(path).names == ("café au lait", "tea")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"cat\n\ndog\n", "line 2 is empty"),
        ("a.txt", b"caf\xe9\n", "can't decode"),
        ("a.json", b"[1, 2]", "a list must be one of names"),
        ("a.json", b"{}", "it is neither a list nor"),
        ("a.json", b'{"x": "cat"}', "invalid literal"),
        ("a.json", b'{"cat": 1, "dog": 1}', "two names have one number|a number must have one"),
        ("a.json", b"[" * 100_000, "must have class names"),
        ("a.json", b'{"features": {"a": {}}}', "one must be a ClassLabel, but 0 are"),
    ],
)
def test_what_is_no_list_of_names_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        names_in_file(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"names\.txt: must have class names, one a line"):
        given_names(str(tmp_path / "names.txt"))
