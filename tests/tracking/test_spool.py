"""The spool, and the tracker with a sender that fails as it is told."""

from __future__ import annotations

import logging
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from craft_ray.tracking import MlflowTracker
from craft_ray.tracking import mlflow_tracker as tracker_module
from craft_ray.tracking import spool as spool_module
from craft_ray.tracking.base import RefusedError
from craft_ray.tracking.sender import MlflowSender
from craft_ray.tracking.spool import SPOOL_FOLDER, Entry, Spool, abandoned_spools

ADDRESS = "http://127.0.0.1:9"


class FakeSender(MlflowSender):
    """Takes what `law` lets pass."""

    def __init__(self, law: Callable[[Entry], None] = lambda entry: None) -> None:
        self.address = ADDRESS
        self.law = law
        self.taken: list[tuple[str, Any]] = []
        self.attempts = 0

    def connect(self, experiment: str) -> None:
        pass

    def forget(self) -> None:
        pass

    def send(self, entry: Entry, spool: Spool) -> None:
        self.attempts += 1
        self.law(entry)
        self.taken.append((entry.kind, entry.body))


def away(entry: Entry) -> None:
    raise ConnectionError("nobody is there")


def make(folder: Path, sender: FakeSender, said: list[str] | None = None) -> MlflowTracker:
    say = None if said is None else said.append
    return MlflowTracker(ADDRESS, "craft-ray", folder, say, sender)


def generations(sender: FakeSender) -> list[int]:
    return [m[3] for kind, body in sender.taken if kind == "log" for m in body["metrics"]]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(tracker_module, "LONGEST_PAUSE_S", 0.02)


def test_entries_come_out_in_order_and_survive_their_writer(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, ADDRESS, "craft-ray")
    for generation in range(3):
        assert spool.append("close", {"step": generation, "value": float("nan")})
    first = spool.first()
    assert first is not None
    spool.remove(first)
    spool.close()
    (again,) = abandoned_spools(tmp_path)
    assert (again.address, again.experiment) == (ADDRESS, "craft-ray")
    entry = again.first()
    assert entry is not None
    assert entry.body["step"] == 1
    assert again.count() == 2
    again.close()


def test_a_spool_has_one_owner_and_is_private(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, ADDRESS, "craft-ray")
    spool.append("log", {})
    assert list(abandoned_spools(tmp_path)) == []
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Spool(spool.path)
    for path in (tmp_path / SPOOL_FOLDER).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / SPOOL_FOLDER).stat().st_mode) == 0o700
    spool.close()


def test_an_empty_spool_leaves_nothing(tmp_path: Path) -> None:
    make(tmp_path, FakeSender()).shutdown()
    assert list(tmp_path.iterdir()) == []


def test_an_outage_costs_one_warning_one_line_and_no_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    came_back = threading.Event()

    def law(entry: Entry) -> None:
        if sender.attempts > 1 and not came_back.is_set():
            if sender.attempts > 4:
                came_back.set()
            away(entry)

    sender = FakeSender(law)
    said: list[str] = []
    tracker = make(tmp_path, sender, said)
    tracker.open("s", "a search", {"seed": 1})
    for generation in range(10):
        tracker.log("s", [{"step": generation, "loss": 1.0}])
    tracker.close("s", "FINISHED")
    assert came_back.wait(20)
    tracker.shutdown()
    kinds = [kind for kind, _ in sender.taken]
    assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == ("open", {"log"}, "close")
    assert generations(sender) == list(range(10))
    assert len(caplog.records) == 1
    assert said == ["MLflow is back; it gets what it has missed."]
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_sent_by_the_next_tracker_first(tmp_path: Path) -> None:
    said: list[str] = []
    tracker = make(tmp_path, FakeSender(away), said)
    tracker.open("s", "a search", {})
    tracker.log("s", [{"step": 1, "loss": 1.0}])
    tracker.shutdown()
    assert len(said) == 1
    assert "has not taken 2 entries" in said[0]
    assert f"craft-ray tracking {tmp_path}" in said[0]
    sender = FakeSender()
    tracker = make(tmp_path, sender)
    tracker.log("s", [{"step": 2, "loss": 1.0}])
    tracker.shutdown()
    assert sender.taken[0][0] == "open"
    assert generations(sender) == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_entries_for_another_address_are_left_alone(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, "http://elsewhere", "craft-ray")
    spool.append("log", {})
    spool.close()
    sender = FakeSender()
    make(tmp_path, sender).shutdown()
    assert sender.taken == []
    (kept,) = abandoned_spools(tmp_path)
    assert kept.count() == 1
    kept.close()


def test_a_refused_entry_stops_nothing_and_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def law(entry: Entry) -> None:
        if entry.kind == "open":
            raise RefusedError("no such thing")

    sender = FakeSender(law)
    tracker = make(tmp_path, sender)
    tracker.open("s", "a search", {})
    tracker.log("s", [{"step": 1, "loss": 1.0}])
    tracker.shutdown()
    assert generations(sender) == [1]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "no such thing" in caplog.text
    (path,) = (tmp_path / SPOOL_FOLDER).glob("*.db")
    assert list(abandoned_spools(tmp_path)) == []
    spool = Spool(path)
    assert (spool.count(), spool.count(refused=True)) == (0, 1)
    spool.close()


def test_a_full_spool_says_so_and_still_keeps_how_a_run_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LIMIT_BYTES", 2000)
    tracker = make(tmp_path, FakeSender(away))
    tracker.open("s", "a search", {})
    for generation in range(100):
        tracker.log("s", [{"step": generation, "loss": 1.0}])
    tracker.close("s", "FINISHED")
    tracker.shutdown()
    assert sum("is full" in record.message for record in caplog.records) == 1
    sender = FakeSender()
    make(tmp_path, sender).shutdown()
    kinds = [kind for kind, _ in sender.taken]
    assert kinds[0] == "open"
    assert kinds[-1] == "close"
    assert generations(sender) == list(range(len(generations(sender))))
    assert 5 < len(generations(sender)) < 40


def test_a_large_artefact_is_kept_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact, runs = tmp_path / "best", tmp_path / "runs"
    artefact.mkdir()
    (artefact / "a").write_bytes(b"x" * 100)
    for limit, expected in ((99, str(artefact)), (100, None)):
        monkeypatch.setattr(tracker_module, "MAX_COPIED_BYTES", limit)
        sender = FakeSender()
        tracker = make(runs, sender)
        tracker.log_folder("s", artefact)
        tracker.shutdown()
        assert [body["path"] for _, body in sender.taken] == [expected]


def test_no_call_raises_after_the_end_or_without_a_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = make(tmp_path, FakeSender())
    tracker.log_folder("s", tmp_path / "absent")
    tracker.shutdown()
    tracker.log("s", [{"step": 1, "loss": 1.0}])
    tracker.close("s", "FINISHED")
    assert sum("cannot be written" in record.message for record in caplog.records) == 1


def test_metrics_that_wait_in_a_row_go_in_one_request(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, ADDRESS, "craft-ray")
    for step in range(3):
        for key in ("a", "b"):
            spool.append("log", {"key": key, "metrics": [["loss", 1.0, 5, step]] * 100})
    spool.append("close", {"key": "a"})
    spool.append("log", {"key": "b", "metrics": [["loss", 1.0, 5, 9]]})
    requests = []
    while (entry := spool.first()) is not None:
        metrics = entry.body.get("metrics", [])
        requests.append((entry.kind, entry.body["key"], sorted({m[3] for m in metrics})))
        spool.remove(entry)
    assert requests == [
        ("log", "a", [0, 1]),
        ("log", "b", [0, 1]),
        ("log", "a", [2]),
        ("log", "b", [2]),
        ("close", "a", []),
        ("log", "b", [9]),
    ]
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_of_several_in_one_request_only_the_bad_one_is_refused(tmp_path: Path) -> None:
    def law(entry: Entry) -> None:
        if entry.kind == "log" and any(metric[3] == 2 for metric in entry.body["metrics"]):
            raise RefusedError("not 2")

    held = FakeSender(away)
    tracker = make(tmp_path, held)
    for generation in range(5):
        tracker.log("s", [{"step": generation, "loss": 1.0}])
    tracker.shutdown()
    sender = FakeSender(law)
    make(tmp_path, sender).shutdown()
    assert generations(sender) == [0, 1, 3, 4]


def test_a_folder_that_another_driver_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, made = Path.mkdir, []

    def make(path: Path, *args: Any, **words: Any) -> None:
        mkdir(path, *args, **words)
        made.append(path)
        if len(made) == 1:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", make)
    spool = Spool.create(tmp_path, "sqlite:///x.db", "e")
    assert spool.path.is_file()
    spool.close()
    assert not list(tmp_path.iterdir())
