"""Nothing that an endpoint answers is trusted, and whatever is wrong with it is said."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import Adapter, requests_of
from craft_ray.oracle.endpoints.registry import make_adapter
from craft_ray.oracle.endpoints.wire import AnswerError, Question, Reply, Request
from tests.oracle.endpoints.servers import MODEL, answer, image

OPTIONS: dict[str, dict[str, Any]] = {
    "infinity": {"model": MODEL},
    "vllm": {"model": MODEL},
    "nim": {"model": MODEL},
    "jina": {"model": MODEL},
    "cohere_v2": {"model": MODEL},
    "hf_zero_shot": {},
    "hf_vertex": {},
    "kserve_v2": {"model": MODEL, "scores": "s"},
    "kserve_v2 binary": {"model": MODEL, "scores": "s", "binary": True},
}
CASES = list(OPTIONS)
LENGTH = "inference-header-content-length"


class Asked:
    """An adapter, a question of one request, and what the server would answer."""

    def __init__(self, case: str, **options: Any) -> None:
        self.dialect = case.split()[0]
        self.adapter: Adapter = make_adapter(self.dialect, {**OPTIONS[case], **options})
        names = ("a cat", "a dog", "a hen")
        is_scores = "hf" in case or "kserve" in case
        self.question = Question((image("a"),), names) if is_scores else Question(texts=names)
        (self.request,) = requests_of(self.adapter, self.question)
        self.reply = answer(self.dialect, self.request)

    def decode(self, body: bytes, **headers: str) -> Any:
        reply = Reply(200, {**self.reply.headers, **headers}, body)
        assert self.adapter.classify(self.request, reply, 0.0) is None
        return self.adapter.decode(self.question, self.request, reply).values

    def changed(self, change: Callable[[Any], Any]) -> Any:
        document = json.loads(self.reply.body)
        result = change(document)
        return self.decode(json.dumps(document if result is None else result).encode())


@pytest.mark.parametrize("case", CASES)
def test_empty_half_html_and_errors(case: str) -> None:
    asked = Asked(case)
    asked.decode(asked.reply.body)
    for body, again, words in (
        (b"", True, "empty body"),
        (asked.reply.body[: len(asked.reply.body) // 2], True, None),
        (asked.reply.body[:-1], True, None),
        (b"<!DOCTYPE html><title>Sign in</title>", False, r"an HTML page \(Sign in\) .*oracle.url"),
        (b'{"error": {"message": "out of memory"}}', False, "error: out of memory"),
        (b'{"object": "error", "message": "no such model"}', False, "error: no such model"),
    ):
        is_piece = bool(body) and body in asked.reply.body
        headers = {} if is_piece else {LENGTH: str(len(body))}
        with pytest.raises(AnswerError, match=words) as raised:
            asked.decode(body, **headers)
        assert raised.value.again is again, body
    for body in (b"[]", b"{}", b"null", b"7", b'"text"', b"[[]]", b"[" * 100_000, b"\xff\xfe"):
        with pytest.raises(AnswerError):
            asked.decode(body, **{LENGTH: str(len(body))})


@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
def test_a_damaged_answer_is_refused_or_a_whole_one(case: str, data: st.DataObject) -> None:
    asked = Asked(case)
    body = bytearray(asked.reply.body)
    start = data.draw(st.integers(0, len(body) - 1))
    stop = data.draw(st.integers(start, min(start + 9, len(body))))
    body[start:stop] = data.draw(st.binary(max_size=9) | st.sampled_from([b"NaN", b"1e999", b"[]"]))
    try:
        values = asked.decode(bytes(body))
    except AnswerError:
        return
    assert values.dtype == np.float32
    assert values.shape == asked.decode(asked.reply.body).shape or not asked.question.images
    assert len(values) == len(asked.question.images or asked.question.texts)
    assert np.isfinite(values).all()


def number(position: int, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["data"][0]["embedding"][position] = value

    return change


def test_embeddings_of_other_numbers() -> None:
    asked = Asked("nim")

    def twice(document: Any) -> None:
        document["data"][1]["index"] = 0

    def negative(document: Any) -> None:
        document["data"][1]["index"] = -1

    def true(document: Any) -> None:
        document["data"][1]["index"] = True

    def without_index(document: Any) -> None:
        del document["data"][1]["index"]

    def zeros(document: Any) -> None:
        document["data"][2]["embedding"] = [0, 0, 0]

    def wider(document: Any) -> None:
        document["data"][0]["embedding"].append(1.0)

    for change, words in (
        (lambda document: document["data"].pop() and None, "0 to 2 were asked for, each once"),
        (lambda document: document["data"].append(document["data"][0]), "but 4 were answered"),
        (twice, "each once"),
        (negative, "each once"),
        (true, "must have 'index'"),
        (without_index, "must have 'index'"),
        (number(0, float("nan")), "number 0 has NaN or infinity"),
        (number(0, 1e39), "NaN or infinity"),
        (number(0, 10**400), "must be lists of numbers"),
        (number(0, "0.5"), "must be lists of numbers"),
        (number(0, None), "must be lists of numbers"),
        (number(0, [1.0]), "must be lists of numbers"),
        (zeros, "must not be all zero, but number 2 is"),
        (wider, r"one number of entries each, but have \[3, 4\]"),
    ):
        with pytest.raises(AnswerError, match=words):
            asked.changed(change)
    with pytest.raises(AnswerError, match=r"must have 9 of entries each, but have \[3\]"):
        Asked("nim", dimensions=9).changed(lambda document: None)


@pytest.mark.parametrize("case", ["infinity", "vllm", "nim", "jina", "kserve_v2"])
def test_another_model_than_was_asked_for(case: str) -> None:
    """As infinity answers a mistyped name."""

    def renamed(document: Any) -> None:
        document["model_name" if "kserve" in case else "model"] = "served"

    words = "'clip' was asked for, .* answered with 'served'; use oracle.model=served"
    with pytest.raises(AnswerError, match=words):
        Asked(case).changed(renamed)


def test_tensors_that_do_not_fit() -> None:
    asked = Asked("kserve_v2")

    def tensor(**entries: Any) -> Callable[[Any], None]:
        return lambda document: document["outputs"][0].update(entries)

    for change, words in (
        (tensor(name="x"), r"must have 's', but have \['x'\]"),
        (tensor(shape=[3, 1]), "1 were asked for, but 3 were answered"),
        (tensor(shape=[3]), r"must be of 2 dimensions, but is \[3\]"),
        (tensor(shape=[1, 4]), r"must have 4 numbers, but has 3"),
        (tensor(shape=[1, -3]), "must be of FP16, FP32, FP64 and a shape of numbers"),
        (tensor(datatype="BYTES"), "must be of FP16, FP32, FP64"),
        (tensor(data=["1", "2", "3"]), "must have numbers"),
        (tensor(data=[0.5, 10**400, 1]), "must have numbers"),
        (tensor(data=[1, [2], 3]), "must have numbers"),
    ):
        with pytest.raises(AnswerError, match=words):
            asked.changed(change)
    binary = Asked("kserve_v2 binary")
    for length in ("9" * 5000, "-1", "nan", "99999"):
        with pytest.raises(AnswerError, match="must be at most the body's"):
            binary.decode(binary.reply.body, **{LENGTH: length})


def test_labels_and_scores_that_do_not_fit() -> None:
    asked = Asked("hf_zero_shot")

    def other_label(items: Any) -> None:
        items[1]["label"] = "a cow"

    def text(items: Any) -> None:
        items[0]["score"] = "0.5"

    def halved(items: Any) -> None:
        for item in items:
            item["score"] /= 2

    for change, words in (
        (lambda items: items.pop() and None, r"3 were sent, .* but 2 came, without \['a hen'\]"),
        (lambda items: items.append(items[0]), "but 4 came"),
        (other_label, r"without \['a dog'\]"),
        (text, "must have 'score'"),
        (halved, "add up to 0.5: say oracle.options.sigmoid=true"),
        (lambda items: [items, items], "1 were asked for, but 2 were answered"),
    ):
        with pytest.raises(AnswerError, match=words):
            asked.changed(change)


def test_rounded_scores_need_not_add_up_to_one() -> None:
    def rounded(items: Any) -> None:
        for item in items:
            item["score"] = 0.32

    with pytest.raises(AnswerError, match=r"oracle\.options\.decimals=N"):
        Asked("hf_zero_shot").changed(rounded)
    assert Asked("hf_zero_shot", decimals=1).changed(rounded).tolist() == [[np.float32(0.32)] * 3]


def test_a_question_that_the_endpoint_cannot_answer() -> None:
    both = Question((image("a"),), ("a cat", "a dog"))
    for dialect, question, words in (
        ("infinity", both, "must be asked about apart"),
        ("cohere_v2", both, "must be asked about apart"),
        ("hf_zero_shot", Question(both.images), "must have images and texts"),
        ("hf_zero_shot", Question(both.images, ("a cat",)), "at least 2 texts"),
        ("kserve_v2", Question(both.images), r"oracle\.options\.image_features: must name"),
    ):
        adapter = make_adapter(dialect, OPTIONS[dialect])
        with pytest.raises(OracleError, match=words):
            requests_of(adapter, question)
    with pytest.raises(OracleError, match="'a' is there twice"):
        Question(both.images, ("a", "b", "a"))
    with pytest.raises(OracleError, match=r"texts\[1\]: must not be blank"):
        Question(texts=("a", " "))
    with pytest.raises(OracleError, match="has neither"):
        Question()


def test_whether_to_ask_again_survives_the_way_through_ray() -> None:
    error = pickle.loads(pickle.dumps(AnswerError("half a body", again=True)))
    assert (str(error), error.again) == ("half a body", True)


def test_a_request_has_no_secrets_and_does_not_print_images() -> None:
    asked = Asked("infinity")
    assert not {name.lower() for name in asked.request.headers} & {"authorization", "api-key"}
    assert "body" not in repr(asked.request)
    assert isinstance(asked.request, Request)
