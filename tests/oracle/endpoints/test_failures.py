"""What is done after a refusal, and who pays."""

from __future__ import annotations

import json

import pytest

from craft_ray.oracle.endpoints.adapter import requests_of
from craft_ray.oracle.endpoints.capabilities import Limits
from craft_ray.oracle.endpoints.failures import Verdict, classify_broken, quoted
from craft_ray.oracle.endpoints.registry import make_adapter
from craft_ray.oracle.endpoints.wire import Question, Reply
from tests.oracle.endpoints.servers import image

JSON = {"content-type": "application/json"}


def verdict(
    status: int,
    body: object = b"",
    headers: dict[str, str] | None = None,
    num_images: int = 1,
    dialect: str = "infinity",
) -> Verdict | None:
    options = {} if "hf" in dialect else {"model": "clip"}
    adapter = make_adapter(dialect, {**options, "limits": Limits(images=8)})
    pictures = tuple(image(str(row)) for row in range(num_images))
    texts = ("a cat", "a dog") if "hf" in dialect else ()
    (request,) = requests_of(adapter, Question(pictures, texts))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter.classify(request, Reply(status, headers or JSON, content), now=0.0)


def refused(status: int, *args: object, **kwargs: object) -> Verdict:
    found = verdict(status, *args, **kwargs)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_answer_is_no_refusal(status: int) -> None:
    assert verdict(status) is None


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 405, 413, 422, 451, 501])
def test_what_is_refused_each_time_is_not_asked_again(status: int) -> None:
    found = refused(status, b"", {"retry-after": "1"})
    assert found.action == "never"
    assert found.billed == ("possibly" if status >= 500 else "no")
    assert f"status {status}" in found.message


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_be_answered_later_is_asked_again(status: int) -> None:
    assert refused(status).action == "retry"
    assert refused(status).wait_s is None
    assert refused(status, b"", {"Retry-After": "9"}).wait_s == 9


@pytest.mark.parametrize(("status", "billed"), [(429, "no"), (409, "no"), (408, "possibly")])
def test_refusals_are_not_billed_and_timeouts_may_be(status: int, billed: str) -> None:
    assert refused(status).billed == billed
    assert refused(500).billed == "possibly"


def test_a_server_that_says_whether_to_ask_again_is_heard() -> None:
    assert refused(429, b"", {"x-should-retry": "false"}).action == "never"
    assert refused(400, b"", {"X-Should-Retry": "TRUE"}).action == "retry"


def test_an_account_without_money_is_not_waited_for() -> None:
    body = {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}}
    found = refused(429, body, {"retry-after": "1"})
    assert (found.action, found.billed) == ("never", "no")
    assert "nothing left to spend" in found.message
    assert refused(403, {"detail": "AUTHZ_INSUFFICIENT_BALANCE"}).action == "never"


def test_what_is_too_large_is_sent_in_halves_while_it_has_any() -> None:
    assert refused(413, num_images=2).action == "split"
    assert refused(413, num_images=1).action == "never"


def test_the_hf_toolkit_says_400_to_everything() -> None:
    assert refused(400, {"error": "CUDA out of memory"}, None, 2, "hf_zero_shot").action == "split"
    alone = refused(400, {"error": "CUDA out of memory"}, None, 1, "hf_zero_shot")
    assert alone.action == "never"
    assert "CUDA out of memory" in alone.message


def test_an_endpoint_that_wakes_up_says_when_it_is_ready() -> None:
    loading = {"error": "Model is loading", "estimated_time": 20.5}
    assert refused(503, loading, None, 1, "hf_zero_shot").wait_s == 20.5
    assert refused(503, loading, {"retry-after": "3"}, 1, "hf_zero_shot").wait_s == 3
    for body in (b"", b"[" * 99_999, {"estimated_time": "soon"}, {"estimated_time": -1}):
        assert refused(503, body, None, 1, "hf_zero_shot").wait_s is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "Unauthorized"}, "Unauthorized"),
        ({"error": "no model"}, "no model"),
        ({"error": {"message": "too long", "type": "BadRequest"}}, "BadRequest: too long"),
        ({"object": "error", "message": "bad", "code": 400}, "bad"),
        ({"title": "Gone", "detail": "the task is not known"}, "Gone: the task is not known"),
        ({"detail": [{"msg": "at most 32", "input": "x" * 99_999}]}, "at most 32"),
        ({"detail": ["odd"]}, '{"detail": ["odd"]}'),
        (b"<html><title>502 Bad Gateway</title>", "an HTML page (502 Bad Gateway)"),
        (b"", "(nothing)"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_servers_own_words_are_quoted(body: object, words: str) -> None:
    said = quoted(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert said.startswith(words)
    assert len(quoted(b"x" * 10_000)) < 400


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-SECRETSECRET. Look at your keys",
        "Invalid token hf_SECRETSECRET",
        "header was 'Authorization: Bearer SECRETSECRET'",
        "api_key=SECRETSECRET is unknown",
        "nvapi-SECRETSECRET is not known",
    ],
)
def test_a_key_that_a_server_repeats_is_masked(said: str) -> None:
    found = refused(401, {"error": {"message": said}})
    assert "SECRET" not in found.message
    assert "***" in found.message
    assert "oracle.api_key_env" in found.message


def test_no_reply_at_all() -> None:
    assert classify_broken("no connection", was_sent=False) == Verdict(
        "retry", "no", "no connection"
    )
    assert classify_broken("timed out", was_sent=True).billed == "possibly"
