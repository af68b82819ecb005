"""Keys, tokens, periods and rates, without a file."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.service.meter.keys import (
    Key,
    digest_of,
    id_in,
    make_id,
    make_token,
    opens,
    problem_of_name,
)
from craft_ray.service.meter.quota import Rates, parse_period, period_at, words_of_period

KEY_ID = "0123abcd"
TOKEN = make_token(KEY_ID)
KEY = Key(KEY_ID, "Ada", digest_of(TOKEN), frozenset())


def test_a_token_says_whose_it_is_and_opens_its_key_only() -> None:
    assert id_in(TOKEN) == KEY_ID
    assert opens(TOKEN, KEY)
    assert not opens(make_token(KEY_ID), KEY)
    assert not opens(TOKEN, None)
    assert not opens(TOKEN, replace(KEY, revoked=1.0))
    assert make_token(KEY_ID) != TOKEN
    assert len({make_id() for _ in range(100)}) == 100


@given(st.text() | st.sampled_from([TOKEN + "x", TOKEN[:-1], TOKEN.upper(), f" {TOKEN}", "\ud800"]))
def test_what_is_no_token_opens_nothing(text: str) -> None:
    assert id_in(text) is None
    assert not opens(text, KEY)


def test_a_nobody_is_compared_as_long_as_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token, key in ((TOKEN, KEY), (TOKEN, None), ("no token", None)):
        assert not opens(token, key)
    assert compared == [(32, 32)] * 3


def test_an_unknown_id_whose_digest_is_zero_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("craft_ray.service.meter.keys.digest_of", lambda _: bytes(32))
    assert not opens(TOKEN, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "1 to 100 characters, but has 0"),
        ("x" * 101, "but has 101"),
        ("a\nb", "printable"),
        ("\x1b[31m", "printable"),
        (" a", "spaces at its ends"),
        (KEY_ID, "must not look like the id"),
        ("local", "must not look like the id"),
    ],
)
def test_names_that_are_refused(name: str, problem: str) -> None:
    assert problem in str(problem_of_name(name))


def test_names_that_are_taken() -> None:
    assert all(problem_of_name(name) is None for name in ("Ada", "Lab 3, André", "鍵", "x" * 100))


@pytest.mark.parametrize("text", ["30d", "1h", "10m", "2w", "total"])
def test_a_period_is_read_as_it_is_written(text: str) -> None:
    assert words_of_period(parse_period(text)) == text


@pytest.mark.parametrize("text", ["", "0d", "d", "1.5h", "-1d", "1y", "99999w", "1 d", "1s"])
def test_a_mistyped_period(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        parse_period(text)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.sampled_from([60.0, 3600.0, 86400.0]))
def test_each_time_is_in_one_period(now: float, created: float, length_s: float) -> None:
    period = period_at(now, created, length_s)
    assert period.ends is not None
    assert period.ends - length_s - 1e-3 <= now <= period.ends + 1e-3
    assert period_at(now, created, None).number == 0


@given(st.lists(st.floats(0, 200), max_size=40), st.integers(1, 5))
def test_no_minute_has_more_requests_than_its_limit(times: list[float], limit: int) -> None:
    rates, taken = Rates(), list[float]()
    for now in sorted(times):
        is_room, rate = rates.count(KEY_ID, limit, now)
        assert rate is not None
        assert 0 <= rate.remaining < limit or not is_room
        assert 0 < rate.reset_s <= 60
        if is_room:
            taken.append(now)
    minutes = [int(now // 60) for now in taken]
    for minute in set(map(int, (now // 60 for now in times))):
        asked = sum(now // 60 == minute for now in times)
        assert minutes.count(minute) == min(limit, asked)


def test_a_clock_that_is_set_back_stops_nobody() -> None:
    rates = Rates()
    assert rates.count(KEY_ID, 1, 1e6)[0]
    assert not rates.count(KEY_ID, 1, 1e6)[0]
    assert not rates.count(KEY_ID, 1, 1e6 - 60)[0]  # a late one, of the minute before
    assert rates.count(KEY_ID, 1, 1e6 - 3600)[0]
    assert rates.count(KEY_ID, None, 1e6) == (True, None)
