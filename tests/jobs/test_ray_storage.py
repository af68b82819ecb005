"""What Ray keeps for a resume is whole: the new state, or the old one."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from craft_ray.jobs.ray_storage import whole_files


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full from there on (without the right to mount one)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def files() -> FileSystem:
    return pickle.loads(pickle.dumps(whole_files()))  # as it reaches a worker


def test_what_is_written_is_read(files: FileSystem, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with files.open_output_stream(str(path)) as stream:
        stream.write(b"one ")
        stream.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"one two"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_write_that_fails_leaves_the_old_file(files: FileSystem, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    with (
        files_of_at_most(4096),
        pytest.raises(OSError, match="File too large"),
        files.open_output_stream(str(path)) as stream,
    ):
        stream.write(b"x" * 10_000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_copy_that_fails_leaves_the_old_file(files: FileSystem, tmp_path: Path) -> None:
    """As Tune brings its state to the storage."""
    source, target = tmp_path / "source", tmp_path / "target"
    for folder, content in ((source, b"x" * 100_000), (target, b"old")):
        folder.mkdir()
        (folder / "state.json").write_bytes(content)
    with files_of_at_most(4096), pytest.raises(OSError, match="File too large"):
        copy_files(
            str(source),
            str(target),
            source_filesystem=LocalFileSystem(),
            destination_filesystem=files,
        )
    assert (target / "state.json").read_bytes() == b"old"
    assert os.listdir(target) == ["state.json"]


def test_a_file_that_is_being_written_is_not_listed(files: FileSystem, tmp_path: Path) -> None:
    with files.open_output_stream(str(tmp_path / "new")) as stream:
        stream.write(b"half")
        assert files.get_file_info(FileSelector(str(tmp_path))) == []
    (info,) = files.get_file_info(FileSelector(str(tmp_path)))
    assert (info.base_name, info.type, info.size) == ("new", FileType.File, 4)
