"""A run lives on a disk or on an object store, and nobody who writes it asks which."""

from __future__ import annotations

import io
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.config.base import Settings
from craft_ray.errors import ArtifactError, ConfigError, StorageError, UserError
from craft_ray.files.folders import on_this_disk, remove_folder
from craft_ray.files.remote import Place, RemotePath, entries, locate
from craft_ray.files.whole_files import (
    read_arrays,
    read_json,
    read_signed_pair,
    write_json,
    write_signed_pair,
)
from craft_ray.jobs.run_folder import (
    SETTINGS_FILE,
    SUMMARY_FILE,
    find_run_folder,
    open_run_folder,
)
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.tracking import tracking_folder
from craft_ray.tuners.state import VALUES_FILE, TrainerState, keep_state, load_newest_state
from tests.support.classifiers import as_prompt
from tests.support.run_folders import create_run_folder
from tests.support.s3_server import BUCKET, S3Server, s3_server

SETTINGS: dict[str, Any] = {"seed": 1, "data": {"shots": 2}}


class Run(Settings):
    seed: int
    data: dict[str, int]


def test_files_and_folders(place: Place) -> None:
    folder = place / "a" / "b c"
    folder.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "file.txt"
    assert not file.exists()
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    with pytest.raises(FileNotFoundError):
        file.unlink()
    file.unlink(missing_ok=True)
    assert file.write_bytes("größe".encode()) == 7
    assert file.read_text(encoding="utf-8") == "größe"
    assert (file.exists(), file.is_file(), folder.is_file()) == (True, True, False)
    assert (file.stat().st_size, file.name, file.parent.name) == (7, "file.txt", "b c")
    with pytest.raises(FileExistsError):
        folder.mkdir()
    assert [path.name for path in entries(place / "a")] == ["b c"]
    assert list(entries(folder)) == [file]
    assert list(entries(place / "nothing")) == []
    again: Place = pickle.loads(pickle.dumps(locate(str(file))))
    assert again == file
    assert again.read_bytes() == file.read_bytes()
    remove_folder(place / "a")
    remove_folder(place / "a")
    assert not file.exists()


def test_values_and_arrays(place: Place) -> None:
    arrays = {"one": np.arange(6, dtype=np.float32).reshape(2, 3), "two": np.array(3)}
    names = place / "x.safetensors", place / "x.json"
    write_signed_pair(names[0], arrays, names[1], {"format_version": 1, "seed": 2})
    found, values = read_signed_pair(*names, format_version=1)
    assert values == {"format_version": 1, "seed": 2}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    write_json(names[1], {"later": True})
    assert read_json(names[1]) == {"later": True}
    for read in (read_json, read_arrays):
        with pytest.raises(ArtifactError, match=r"nothing.*cannot be read"):
            read(place / "nothing")
    names[0].write_bytes(b"broken")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_arrays(names[0])


def test_an_artefact_is_loaded_from_where_it_was_saved(place: Place) -> None:
    task = ClassificationTask(("cat", "dog"), "a photo of a {}.")
    context = np.ones((4, 8), dtype=np.float32)
    Artifact(PromptClassifier(context, None), task, "oracle").save(place / "best")
    loaded = Artifact.load(place / "best")
    np.testing.assert_array_equal(as_prompt(loaded.classifier).context_LE, context)
    with on_this_disk(place / "best") as folder:
        assert Artifact.load(folder).task == task
    with pytest.raises(ArtifactError, match="cannot be read"):
        Artifact.load(place / "other")


def test_the_newest_whole_checkpoint_is_found(place: Place) -> None:
    assert load_newest_state(place / "states") is None
    for number in range(3):
        keep_state(TrainerState({"x": np.array([number])}, {"generation": number}), place)
    names = [path.name for path in sorted(entries(place))]
    assert names == ["00000001", "00000002"]
    (place / "00000002" / VALUES_FILE).write_bytes(b"{")
    state = load_newest_state(place)
    assert state is not None
    assert state.values["generation"] == 1


def test_the_life_of_a_run_folder(place: Place) -> None:
    with pytest.raises(ConfigError, match="must have an unfinished run train"):
        find_run_folder(place, None, "train", SETTINGS, Run)
    folder = create_run_folder(place, "train-20260101-000000", SETTINGS)
    with pytest.raises(ConfigError, match="must not exist yet"):
        create_run_folder(place, "train-20260101-000000", SETTINGS)
    assert find_run_folder(place, None, "train", SETTINGS, Run) == folder
    with pytest.raises(ConfigError, match=r"data\.shots: must be 2"):
        find_run_folder(place, None, "train", {"seed": 1, "data": {"shots": 4}}, Run)
    write_json(folder / SUMMARY_FILE, {})
    with pytest.raises(ConfigError, match="is finished"):
        find_run_folder(place, folder.name, "train", SETTINGS, Run)


def test_a_driver_keeps_others_out_of_its_folder(place: Place) -> None:
    with open_run_folder(place, "mine", "train", SETTINGS, Run, resume=False) as folder:
        for resume in (False, True):
            with (
                pytest.raises(ConfigError, match=r"is being worked on by process \d+ on "),
                open_run_folder(place, "mine", "train", SETTINGS, Run, resume=resume),
            ):
                pass
    assert [path.name for path in entries(folder)] == [SETTINGS_FILE]
    with open_run_folder(place, "mine", "train", SETTINGS, Run, resume=True) as again:
        assert again == folder


def start_and_fail(place: Place, *, work: bool) -> None:
    with open_run_folder(place, "mine", "train", SETTINGS, Run, resume=False) as folder:
        if work:
            (folder / "checkpoint").write_bytes(b"x")
        raise UserError("the tracker is away")


def test_a_users_error_before_any_work_leaves_nothing(place: Place) -> None:
    for work in (False, True):
        with pytest.raises(UserError, match="away"):
            start_and_fail(place, work=work)
        assert (place / "mine" / SETTINGS_FILE).exists() is work
    left = [path.name for path in entries(place)]
    assert left == ["mine"]  # and nothing of the trial of the store


def test_an_address_names_without_asking() -> None:
    path = locate("s3://bucket/some%20prefix/?region=eu-central-1") / "run 1" / "best"
    assert str(path) == "s3://bucket/some%20prefix/run%201/best?region=eu-central-1"
    assert (path.name, path.parent.parent.name) == ("best", "some prefix")
    assert locate("s3://bucket").name == "bucket"
    assert path.resolve() == path == locate(str(path))


def test_sqlite_stays_on_a_disk() -> None:
    assert tracking_folder(locate("s3://bucket/prefix")) == Path("runs")
    assert tracking_folder(Path("/data")) == Path("/data")


def test_a_store_that_refuses_is_named(s3: S3Server) -> None:
    def problem_of(address: str, *, resume: bool = False) -> str:
        with (
            pytest.raises(ConfigError) as caught,
            open_run_folder(locate(address), None, "train", SETTINGS, Run, resume=resume),
        ):
            pass
        return str(caught.value)

    missing = problem_of(s3.address("a", bucket="no-such-bucket"))
    assert missing.startswith("output_dir: s3://no-such-bucket/a?endpoint_override=")
    assert "NO_SUCH_BUCKET" in missing
    assert "NO_SUCH_BUCKET" in problem_of(s3.address("a", bucket="no-such-bucket"), resume=True)
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="1") as guarded:
        unknown = problem_of(guarded.address("a"))
        assert f"output_dir: s3://{BUCKET}/a?" in unknown
        assert "INVALID_ACCESS_KEY_ID" in unknown
    away = problem_of(guarded.address("a"))
    assert "Could not connect to server" in away
    for text in (missing, unknown, away):
        assert "planted" not in text
        assert "\n" not in text


def test_a_store_that_goes_away_says_where(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("craft_ray.files.remote.MAX_ATTEMPTS", 2)
    with s3_server() as server:
        path = RemotePath(server.address("run")) / "summary.json"
        path.write_bytes(b"{}")
    for use in (path.read_bytes, path.exists, path.unlink, lambda: path.write_bytes(b"")):
        with pytest.raises(StorageError, match=r"^s3://.*/run/summary\.json\?"):
            use()


class Store:
    """Objects in memory. Like a real one's, a stream that is closed puts what it was given."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.on_open: Callable[[], None] = lambda: None

    @contextmanager
    def open_output_stream(self, path: str) -> Iterator[io.BytesIO]:
        stream = io.BytesIO()
        try:
            self.on_open()
            yield stream
        finally:
            self.objects[path] = stream.getvalue()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr("craft_ray.files.remote._open", lambda root: (made, "bucket"))
    return made


def test_what_is_interrupted_leaves_no_empty_object(store: Store) -> None:
    path = RemotePath("s3://bucket") / "state.json"
    path.write_bytes(b"good")
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)  # until it has arrived

    store.on_open = interrupt
    with pytest.raises(KeyboardInterrupt):
        path.write_bytes(b"better")
    assert store.objects == {"bucket/state.json": b"better"}


def test_what_is_no_content_leaves_what_was_there(store: Store) -> None:
    path = RemotePath("s3://bucket") / "state.json"
    path.write_bytes(b"good")
    with pytest.raises(TypeError):
        path.write_bytes("words")  # type: ignore[arg-type]
    assert store.objects == {"bucket/state.json": b"good"}
