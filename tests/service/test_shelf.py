"""What a key has registered is there for it alone, within bounds, also after a restart."""

from __future__ import annotations

from pathlib import Path

from craft_ray.service.shelf import Shelf

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_a_file_is_its_keys_alone(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, most=10)
    assert shelf.put("ada", A, b"one")
    assert not shelf.put("ada", A, b"one")
    assert shelf.get("ada", A) == b"one"
    assert shelf.get("bob", A) is None
    assert not shelf.has("bob", A)
    assert shelf.put("bob", A, b"one")


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, most=2)
    for digest in (A, B):
        shelf.put("ada", digest, b"x")
    assert shelf.has("ada", A)
    shelf.put("ada", C, b"x")
    assert [shelf.has("ada", digest) for digest in (A, B, C)] == [True, False, True]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    by_size = Shelf(tmp_path / "sizes", most=10, max_bytes=10)
    by_size.put("ada", A, b"x" * 8)
    by_size.put("ada", B, b"x" * 8)
    assert [by_size.has("ada", digest) for digest in (A, B)] == [False, True]
    by_size.put("ada", C, b"x" * 100)  # the last one stays, however large it is
    assert by_size.get("ada", C) == b"x" * 100


def test_another_start_finds_it_and_clears_what_a_kill_has_left(tmp_path: Path) -> None:
    Shelf(tmp_path, most=10).put("ada", A, b"one")
    half = tmp_path / "ada" / A[:2] / f"{B}.1234.part"
    half.write_bytes(b"ha")
    shelf = Shelf(tmp_path, most=10)
    assert shelf.get("ada", A) == b"one"
    assert not half.exists()
    (tmp_path / "ada" / A[:2] / A).unlink()  # the owner has deleted it
    assert shelf.get("ada", A) is None
    assert shelf.put("ada", A, b"one")
    assert shelf.get("ada", A) == b"one"
