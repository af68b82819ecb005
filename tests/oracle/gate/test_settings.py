"""Keys and settings of a gate."""

from __future__ import annotations

import base64
import pickle
from typing import Any
from urllib.parse import quote

import pytest

from craft_ray.errors import OracleError
from craft_ray.oracle.gate.settings import GateSettings, Secret
from tests.oracle.gate.dialogues import KEY


def test_a_key_is_not_shown_and_is_pickled() -> None:
    chosen = GateSettings("https://host", Secret(KEY))
    again = pickle.loads(pickle.dumps(chosen))
    assert again == chosen
    assert again.secret.headers() == {"Authorization": f"Bearer {KEY}"}
    for shown in (repr(chosen), str(chosen.secret), f"{chosen.secret}", repr(chosen.secret)):
        assert KEY not in shown


def test_another_header_has_the_key_alone() -> None:
    assert Secret(f" {KEY}\n", "x-api-key").headers() == {"x-api-key": KEY}


def test_a_key_is_masked_in_all_its_forms() -> None:
    forms = [
        KEY,
        quote(KEY),
        quote(KEY, safe=""),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    ]
    for form in forms:
        assert Secret(KEY).mask(f"refused: {form}!") == "refused: ***!"


def test_a_key_that_a_message_was_cut_in_is_masked() -> None:
    key = "abcdefghijklmnopqrstuvwxyz"
    secret = Secret(key)
    for length in range(8, len(key)):
        assert secret.mask(f"refused: {key[:length]}... {key}") == "refused: ***... ***"
    assert secret.mask("abcdefg is not enough") == "abcdefg is not enough"


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    with pytest.raises(OracleError, match=r"printable ASCII .*oracle\.api_key_env") as no:
        Secret(key)
    assert not key.strip() or key not in str(no.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "host:80"}, "oracle.url: must begin with http"),
        ({"timeout_s": 0}, "oracle.timeout_s: must be above 0, but got 0"),
        ({"max_attempts": 0}, "oracle.max_attempts: must be at least 1, but got 0"),
        ({"tokens_per_image": 0}, "oracle.tokens_per_image: must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OracleError, match=said):
        GateSettings(**({"url": "https://host"} | given))
