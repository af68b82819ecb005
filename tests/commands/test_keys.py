"""`craft-ray keys` as an owner types it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from craft_ray.commands.keys import main
from craft_ray.service.meter.keys import id_in
from craft_ray.service.meter.terms import Admitted, Caller
from tests.service.meter.world import NOW, asked, begun, meter_of, stored

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_key_is_added_listed_used_and_revoked(capsys: Captured) -> None:
    words = ["--pairs", "1e6", "--per", "30d", "--rpm", "600", "--scopes", "tune,score"]
    assert main(["add", "Ada L", *words]) == 0
    said = capsys.readouterr()
    token = said.out.removesuffix("\n")
    key_id = id_in(token)
    assert key_id is not None  # the token, and nothing else
    allowance = "score,tune; 1,000,000 pairs per 30d, 600 requests a minute"
    assert f"Key {key_id} of Ada L: {allowance}." in said.err
    with meter_of(Path("keys.db")) as meter:
        admitted = meter.admit(token, "tune", NOW)
        assert isinstance(admitted, Admitted)
        assert admitted.caller == Caller(key_id, "Ada L", frozenset({"score", "tune"}))
    assert main(["list"]) == 0
    assert f"{key_id}  Ada L: {allowance}; made " in capsys.readouterr().out
    assert main(["usage", "Ada L"]) == 0
    assert f"{key_id}  Ada L: 0 of 1,000,000 pairs are spent" in capsys.readouterr().out
    assert main(["revoke", "Ada L"]) == 0
    assert capsys.readouterr().out == f"Key {key_id} of Ada L is revoked.\n"
    assert main(["revoke", key_id]) == 2
    assert f"but '{key_id}' is revoked" in capsys.readouterr().err
    assert main(["add", "Ada L"]) == 0


def test_what_was_charged_is_counted_as_such(capsys: Captured) -> None:
    assert main(["add", "Ada"]) == 0
    token = capsys.readouterr().out.strip()
    with meter_of(Path("keys.db")) as meter:
        one = begun(meter, token, asked("one", 3))
        meter.settle(one.request_id, 3, stored(one), NOW)
    assert main(["usage"]) == 0
    assert "  predict: 1 charged request, 3 pairs in all" in capsys.readouterr().out


def test_a_file_that_nobody_may_make_is_a_mistake(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)  # root may all
    assert main(["add", "Ada"]) == 2
    law = "error: --file: keys.db: must be writable, but: Permission denied"
    assert law in capsys.readouterr().err


def test_programs_read_json(capsys: Captured) -> None:
    def said(*words: str) -> object:
        assert main([*words, "--json", "--file", "of mine.db"]) == 0
        found = capsys.readouterr()
        assert found.err == ""
        return json.loads(found.out)

    made = said("add", "Ada")
    assert isinstance(made, dict)
    assert id_in(made.pop("token")) == made["id"]
    assert made["scopes"] == ["predict", "score"]
    assert (made["pairs"], made["per"], made["requests_per_minute"]) == (None, "total", None)
    assert said("list") == [made]
    used: dict[str, object] = {
        "pairs": 0,
        "remaining": None,
        "ends": None,
        "requests": 0,
        "by_route": {},
    }
    assert said("usage") == [{**made, "period": used, "since_made": []}]
    revoked = said("revoke", made["id"])
    assert isinstance(revoked, dict)
    assert revoked["revoked"] > made["created"]


MISTAKES = {
    "no name": (["add", ""], "NAME: must have 1 to 100 characters, but has 0"),
    "a name that moves the cursor": (["add", "\x1b[2J"], r"NAME: must be printable"),
    "no number": (["add", "A", "--pairs", "many"], "--pairs: must be a whole number"),
    "a part": (["add", "A", "--pairs", "1.5"], "--pairs: must be a whole number"),
    "nothing": (["add", "A", "--rpm", "0"], "--rpm: must be a whole number of 1 to 1e+06"),
    "no end": (["add", "A", "--pairs", "inf"], "--pairs: must be a whole number"),
    "a period": (["add", "A", "--pairs", "1", "--per", "3y"], "--per: must be a time such as 30d"),
    "a period of nothing": (["add", "A", "--per", "1h"], "--per: must not be given without"),
    "a scope": (["add", "A", "--scopes", "predct"], "but got 'predct': did you mean predict?"),
    "no scope": (["add", "A", "--scopes", ""], "--scopes: must be some of"),
    "no file": (["list"], "keys.db does not exist: `craft-ray keys add NAME` makes it"),
    "no file to revoke in": (["revoke", "A"], "does not exist"),
    "a folder": (["list", "--file", "."], "must be a file of `craft-ray keys`, but is no file"),
    "another file": (["list", "--file", "notes"], "notes: must be a file of `craft-ray keys`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_no_file_is_made(mistake: str, capsys: Captured) -> None:
    words, message = MISTAKES[mistake]
    Path("notes").write_text("of mine")
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert not Path("keys.db").exists()


def test_all_mistakes_are_told_at_once(capsys: Captured) -> None:
    assert main(["add", " A", "--pairs", "x", "--per", "x", "--rpm", "x", "--scopes", "x"]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in ("NAME:", "--pairs:", "--per:", "--rpm:", "--scopes:"))


def test_a_key_that_there_is_and_one_that_there_is_not(capsys: Captured) -> None:
    assert main(["add", "Ada"]) == 0
    assert main(["add", "Ada"]) == 2
    assert (
        "must be of no other key that works, but there is one of 'Ada'" in capsys.readouterr().err
    )
    for action in ("revoke", "usage"):
        assert main([action, "Adda"]) == 2
        assert "did you mean Ada?" in capsys.readouterr().err


def test_an_action_is_needed(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "ACTION" in capsys.readouterr().err
