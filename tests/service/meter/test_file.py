"""The file on a disk: who may read it, what it may not be, and what fills it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.service.meter.key_file import open_keys
from craft_ray.service.meter.key_table import KeyTable
from craft_ray.service.meter.meter import Meter
from tests.service.meter.world import NOW, add_key, asked, begun, meter_of, stored


def test_a_new_file_and_folder_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.db"
    before = os.umask(0)
    try:
        _, token = add_key(path)
        with meter_of(path) as meter:
            begun(meter, token, asked())
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "keys.db-journal" in modes
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    path.write_text("notes of mine" * 100)
    with pytest.raises(ArtifactError, match=r"keys\.db: must be a file of `craft-ray keys`"):
        Meter(path, NOW)
    assert path.read_text() == "notes of mine" * 100
    with AnswerStore(tmp_path / "answers.db"):
        content = (tmp_path / "answers.db").read_bytes()
        with pytest.raises(ArtifactError, match=r"answers\.db: .* a database of something else"):
            Meter(tmp_path / "answers.db", NOW)
    assert (tmp_path / "answers.db").read_bytes() == content
    with pytest.raises(ArtifactError, match="is no file"):
        Meter(tmp_path, NOW)


def test_a_file_of_a_later_version(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.db")
    other = sqlite3.connect(tmp_path / "keys.db")
    other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(ArtifactError, match=r"keys\.db: must be of version 1 or earlier"):
        Meter(tmp_path / "keys.db", NOW)


def test_a_file_whose_tables_are_others(tmp_path: Path) -> None:
    _, token = add_key(tmp_path / "keys.db")
    with meter_of(tmp_path / "keys.db") as meter:
        other = sqlite3.connect(tmp_path / "keys.db")
        other.execute("ALTER TABLE spent RENAME COLUMN charged TO paid")
        other.close()
        with pytest.raises(ArtifactError, match=r"keys\.db: must be a file of .*charged"):
            meter.begin(token, "predict", asked(), NOW)


def test_a_process_that_died_while_it_made_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    begun_by_another = sqlite3.connect(path)
    begun_by_another.execute(f"PRAGMA application_id = {0x63726B79}")
    begun_by_another.close()
    add_key(path)


def test_a_full_disk_is_said_and_nothing_is_reserved(tmp_path: Path) -> None:
    key, token = add_key(tmp_path / "keys.db")
    with meter_of(tmp_path / "keys.db") as meter:
        database = meter._database._connection
        [(pages,)] = database.execute("PRAGMA page_count").fetchall()
        database.execute(f"PRAGMA max_page_count = {pages}")
        answered = list[str]()

        def answer_until_it_is_full() -> None:
            while len(answered) < 200:
                one = begun(meter, token, asked(f"{len(answered)}", 1))
                meter.settle(one.request_id, 1, stored(one), NOW)
                answered.append(one.request_id)

        with pytest.raises(RunFailedError, match=r"keys\.db: must be writable, but: .*full"):
            answer_until_it_is_full()
        database.execute("PRAGMA max_page_count = 100000")
        assert meter.balance(key.key_id, NOW).spent in (len(answered), len(answered) + 1)
        begun(meter, token, asked("more", 1))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFailedError, match="must be writable"):
        Meter(tmp_path / "file" / "keys.db", NOW)


def test_a_running_meter_sees_what_the_command_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with meter_of(path) as meter:
        key, token = add_key(path)
        one = begun(meter, token, asked())
        database = open_keys(path)
        KeyTable(database).revoke("Ada", NOW)
        database.close()
        refused = meter.admit(token, None, NOW)
        assert not hasattr(refused, "rate") or refused.rate is None
        assert getattr(refused, "code", None) == "unknown_key"
        # What has begun ends, and is charged.
        assert meter.settle(one.request_id, 5, stored(one), NOW).spent == 5
        add_key(path)  # the name is free again
        assert meter.usage(key.key_id, NOW).by_route == {"predict": 5}
