"""Files that are complete or absent, and arrays that come back as they were."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from craft_ray.errors import ArtifactError
from craft_ray.files import whole_files
from craft_ray.files.whole_files import (
    Arrays,
    read_arrays,
    read_json,
    read_signed_pair,
    write_arrays,
    write_json,
    write_signed_pair,
)

dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])
shapes = st.just(()) | array_shapes(min_side=0, max_side=3)
any_arrays = st.dictionaries(
    st.text("abc._01", min_size=1, max_size=6),
    dtypes.flatmap(lambda dtype: arrays(dtype, shapes)),
    max_size=4,
)


@given(stored=any_arrays, transposed=st.booleans())
def test_arrays_come_back_with_their_shapes_types_and_bits(
    stored: Arrays, transposed: bool
) -> None:
    stored = {name: array.T if transposed else array for name, array in stored.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.safetensors"
        write_arrays(path, stored)
        loaded = read_arrays(path)
        assert [entry.name for entry in Path(folder).iterdir()] == ["arrays.safetensors"]
    assert loaded.keys() == stored.keys()
    for name, array in stored.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


def test_a_document_comes_back_as_it_was(tmp_path: Path) -> None:
    document = {"name": "café", "nested": {"list": [1, 2.5, None, True]}, "tiny": 1e-300}
    write_json(tmp_path / "a.json", document)
    assert read_json(tmp_path / "a.json") == document


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"version": 1})
    with pytest.raises(TypeError):
        write_json(path, {"version": object()})
    assert read_json(path) == {"version": 1}

    arrays_path = tmp_path / "a.safetensors"
    write_arrays(arrays_path, {"x": np.ones(2)})
    with pytest.raises(Exception, match=r"object|dtype"):
        write_arrays(arrays_path, {"x": np.array([object()])})
    np.testing.assert_array_equal(read_arrays(arrays_path)["x"], np.ones(2))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"3", b"null"])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.json: "):
        read_json(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"x" * 100])
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.safetensors: cannot be read"):
        read_arrays(path)


def test_two_who_write_the_same_file_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, moved = tmp_path / "state.json", whole_files.move_into_place

    def another_begins(temporary: Path, target: Path) -> None:
        monkeypatch.setattr(whole_files, "move_into_place", moved)
        write_json(path, {"writer": 2})
        moved(temporary, target)

    monkeypatch.setattr(whole_files, "move_into_place", another_begins)
    write_json(path, {"writer": 1})
    assert read_json(path) == {"writer": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_what_cannot_be_moved_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(OSError, match=r"state\.json"):
        write_json(tmp_path / "state.json", {})
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


class KilledError(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_a_pair_over_another_can_be_read_whenever_its_writers_are_killed(
    first: int, second: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them before or after one of its steps: arrays, JSON, arrays in their place."""
    names = tmp_path / "x.safetensors", tmp_path / "x.json"

    def write(number: int) -> None:
        write_signed_pair(names[0], {"x": np.full(2, number)}, names[1], {"format_version": number})

    def read(numbers: set[int]) -> int:
        number = int(read_json(names[1])["format_version"])
        arrays, _ = read_signed_pair(*names, format_version=number)
        assert arrays["x"].tolist() == [number] * 2
        assert number in numbers
        return number

    def killed_at(step: int, number: int) -> None:
        moved, steps = Path.replace, iter(range(4))

        def move(temporary: Path, target: Path) -> Path:
            if next(steps) == step:
                raise KilledError
            return moved(temporary, target)

        with monkeypatch.context() as patch:
            patch.setattr(whole_files, "move_into_place", move)
            patch.setattr(Path, "replace", move)
            if step < 3:
                with pytest.raises(KilledError):
                    write(number)
            else:
                write(number)

    write(1)
    killed_at(first, 2)
    found = read({1} if first < 2 else {2})
    killed_at(second, 3)
    read({found} if second < 2 else {3})
    write(4)
    read({4})
    assert {path.name for path in tmp_path.iterdir()} >= {path.name for path in names}
    assert not list(tmp_path.glob(".*"))
    if first == second == 3:
        assert len(list(tmp_path.iterdir())) == 2
