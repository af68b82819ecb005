"""Every way to say how long to wait."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.oracle.endpoints.waiting import seconds_to_wait

NOW = 1_445_412_400.0
"""80 seconds before the date of the HTTP standard's example."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"RETRY-AFTER": "0"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 80),
        ({"Retry-After": "Wed, 21 Oct 2015 09:28:00 +0200"}, 80),
        ({"Retry-After": "Wednesday, 21-Oct-15 07:28:00 GMT"}, 80),
        ({"Retry-After": "Wed Oct 21 07:28:00 2015"}, 80),
        ({"Retry-After": "Tue, 20 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "1445412480"}, 80),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT",
                "Date": "Wed, 21 Oct 2015 07:27:55 GMT",
            },
            5,
        ),
        ({"Retry-After": "1445412480", "date": "Wed, 21 Oct 2015 07:27:50 GMT"}, 10),
        ({"Retry-After": "1445412480", "date": "today"}, 80),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"minute";r=0;t=20, "day";r=0;t=900, "month";r=5;t=9999'}, 900),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"Retry-After": "7", "RateLimit": '"api";r=0;t=55'}, 7),
        ({"RateLimit-Reset": "30"}, 30),
        ({"x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-reset": "1445412480"}, 80),
        ({"x-ratelimit-reset": "1445412480000"}, 80),
        ({"x-ratelimit-reset": "2015-10-21T07:28:00Z"}, 80),
        ({"x-ratelimit-reset": "2015-10-21T07:28:00"}, 80),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "1h2m3.5s", "x-ratelimit-reset-tokens": "1s"}, 3723.5),
        (
            {
                "x-ratelimit-reset-requests": "1h",
                "x-ratelimit-remaining-requests": "40",
                "x-ratelimit-reset-tokens": "6s",
                "x-ratelimit-remaining-tokens": "0",
            },
            6,
        ),
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1_000"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": "soon", "x-ratelimit-reset": "4"}, 4),
    ],
)
def test_spellings(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_to_wait(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


@given(st.floats(0, 10**7))
def test_all_spellings_of_one_moment_agree(wait: float) -> None:
    seconds = round(wait)
    moment = NOW + seconds
    date = datetime.fromtimestamp(moment, UTC)
    for headers in (
        {"retry-after": str(seconds)},
        {"retry-after": format_datetime(date, usegmt=True)},
        {"retry-after-ms": str(seconds * 1000)},
        {"x-ratelimit-reset": str(int(moment))},
        {"x-ratelimit-reset": str(int(moment * 1000))},
        {"x-ratelimit-reset": date.isoformat()},
        {"x-ratelimit-reset-tokens": f"{seconds // 60}m{seconds % 60}s"},
    ):
        assert seconds_to_wait(headers, NOW) == pytest.approx(seconds)


@given(
    st.dictionaries(
        st.sampled_from(["Retry-After", "retry-after-ms", "RateLimit", "x-ratelimit-reset"]),
        st.text() | st.from_regex(r"[0-9smhd:;rt=,. +-]{1,30}") | st.integers().map(str),
    )
)
def test_whatever_is_said_the_wait_is_a_number_that_can_be_waited(headers: dict[str, str]) -> None:
    wait = seconds_to_wait(headers, NOW)
    assert wait is None or (math.isfinite(wait) and wait >= 0)
