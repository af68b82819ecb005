"""Whatever is asked, within whatever limits: the answer is that of one question to the server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import Adapter, request_of, requests_of
from craft_ray.oracle.endpoints.capabilities import Capabilities, Limits, Served
from craft_ray.oracle.endpoints.joining import join
from craft_ray.oracle.endpoints.parts import ROOM, halves, parts_of
from craft_ray.oracle.endpoints.registry import make_adapter
from craft_ray.oracle.endpoints.wire import Answer, Part, Question, Request
from tests.oracle.endpoints.servers import (
    MODEL,
    answer,
    expected_features,
    expected_logits,
    image,
    softmax,
)

FEATURES = ["infinity", "vllm", "nim", "jina", "cohere_v2", "vllm_cohere_v2"]
SCORES = ["hf_zero_shot", "hf_sagemaker", "hf_vertex"]

texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip),
    min_size=2,
    max_size=9,
    unique=True,
).map(tuple)
images = st.integers(1, 7).map(lambda number: tuple(image(f"{row}") for row in range(number)))
limits = st.builds(
    Limits,
    images=st.integers(1, 4),
    texts=st.integers(1, 4),
    labels=st.integers(2, 4),
    bytes=st.one_of(st.none(), st.integers(ROOM + 700, ROOM + 1500)),
)


def check_limits(request: Request, limits: Limits) -> None:
    part = request.part
    for number, most in (
        (len(part.images), limits.images),
        (len(part.texts), limits.labels if part.images else limits.texts),
        (len(request.body), limits.bytes),
    ):
        assert most is None or number <= most


def answered(
    adapter: Adapter, dialect: str, question: Question, served: Served, data: st.DataObject
) -> Any:
    """The joined answer; replies come in any order, and what is in them too."""
    answers = []
    for request in data.draw(st.permutations(requests_of(adapter, question))):
        check_limits(request, adapter.capabilities().limits)
        reply = answer(dialect, request, lambda items: list(data.draw(st.permutations(items))))
        assert adapter.classify(request, reply, 0.0) is None
        answers.append(adapter.decode(question, request, reply))
    return join(question, answers, served)


@pytest.mark.parametrize("dialect", FEATURES)
@given(data=st.data())
def test_features(dialect: str, data: st.DataObject) -> None:
    adapter = make_adapter(dialect, {"model": MODEL, "limits": data.draw(limits)})
    pictures = Question(images=data.draw(images))
    values = answered(adapter, dialect, pictures, "image_features", data)
    np.testing.assert_array_equal(values, expected_features(pictures))
    words = Question(texts=data.draw(texts))
    values = answered(adapter, dialect, words, "text_features", data)
    np.testing.assert_array_equal(values, expected_features(words))


@pytest.mark.parametrize("dialect", SCORES)
@given(data=st.data())
def test_probabilities_of_chunks_of_labels_are_those_of_all_labels(
    dialect: str, data: st.DataObject
) -> None:
    adapter = make_adapter(dialect, {"limits": data.draw(limits)})
    question = Question(data.draw(images), data.draw(texts))
    values = answered(adapter, dialect, question, "probabilities", data)
    whole = [softmax(row) for row in expected_logits(question)]
    np.testing.assert_allclose(values, np.log(whole), atol=1e-4)


@pytest.mark.parametrize("binary", [False, True])
@given(data=st.data())
def test_kserve_tensors(binary: bool, data: st.DataObject) -> None:
    adapter = make_adapter(
        "kserve_v2",
        {
            "model": MODEL,
            "scores": "s",
            "image_features": "i",
            "text_features": "t",
            "binary": binary,
            "limits": data.draw(limits),
        },
    )
    pictures, words = data.draw(images), data.draw(texts)
    scores = answered(adapter, "kserve_v2", Question(pictures, words), "logits", data)
    np.testing.assert_array_equal(scores, expected_logits(Question(pictures, words)))
    for question in (Question(images=pictures), Question(texts=words)):
        values = answered(adapter, "kserve_v2", question, "image_features", data)
        np.testing.assert_array_equal(values, expected_features(question))


@given(data=st.data())
def test_halves_have_the_same_answer(data: st.DataObject) -> None:
    dialect = data.draw(st.sampled_from(["infinity", "hf_zero_shot"]))
    options = {} if dialect == "hf_zero_shot" else {"model": MODEL}
    adapter = make_adapter(dialect, {**options, "limits": Limits(images=4, labels=3)})
    is_scores = dialect == "hf_zero_shot"
    question = Question(data.draw(images), data.draw(texts) if is_scores else ())
    served: Served = "probabilities" if is_scores else "image_features"
    parts = parts_of(question, adapter.capabilities())
    smaller = [half for part in parts for half in halves(part) or (part,)]
    requests = [request_of(adapter, question, part) for part in smaller]
    answers = [adapter.decode(question, each, answer(dialect, each)) for each in requests]
    whole = answered(adapter, dialect, question, served, data)
    np.testing.assert_allclose(join(question, answers, served), whole, atol=1e-5)


@example(sizes_of_images=[6000] * 5, sizes_of_texts=[6000] * 5, labels=None, joint=True)
@example(sizes_of_images=[6000] * 5, sizes_of_texts=[6000] * 5, labels=None, joint=False)
@given(
    sizes_of_images=st.lists(st.integers(1, 6000), min_size=1, max_size=5),
    sizes_of_texts=st.lists(st.integers(1, 6000), min_size=2, max_size=5),
    labels=st.none() | st.integers(2, 3),
    joint=st.booleans(),
)
def test_large_images_and_texts_are_sent_within_the_bytes(
    sizes_of_images: list[int], sizes_of_texts: list[int], labels: int | None, joint: bool
) -> None:
    """Two of the largest texts and one of the largest images just fit."""
    pictures = tuple(image(f"{row}" * size) for row, size in enumerate(sizes_of_images))
    words = tuple(f"{row}" * size for row, size in enumerate(sizes_of_texts))
    bounds = Limits(images=4, labels=labels, bytes=ROOM + 8400 + 2 * 6200)
    adapter = make_adapter("hf_zero_shot", {"sigmoid": not joint, "limits": bounds})
    requests = requests_of(adapter, Question(pictures, words))
    for request in requests:
        check_limits(request, bounds)
    asked = {(i, t) for each in requests for i in each.part.images for t in each.part.texts}
    assert asked == {(i, t) for i in range(len(pictures)) for t in range(len(words))}


def test_an_answer_that_is_missing_or_there_twice_is_refused() -> None:
    adapter = make_adapter("infinity", {"model": MODEL, "limits": Limits(images=1)})
    question = Question(images=(image("a"), image("b")))
    requests = requests_of(adapter, question)
    one, two = (adapter.decode(question, each, answer("infinity", each)) for each in requests)
    for answers in ([one], [one, one], [one, two, two]):
        with pytest.raises(OracleError, match="once for each of 2"):
            join(question, answers, "image_features")
    wider = replace(two, values=np.ones((1, 9), dtype=np.float32))
    with pytest.raises(OracleError, match=r"one width in all answers, but got \[3, 9\]"):
        join(question, [one, wider], "image_features")


def test_what_does_not_fit_alone_is_named() -> None:
    capabilities = make_adapter("infinity", {"model": MODEL, "limits": Limits(bytes=ROOM + 300)})
    large = Question(images=(image("a"), image("b" * 400)))
    with pytest.raises(OracleError, match=r"b{400} must fit into .* make it smaller"):
        requests_of(capabilities, large)
    short = make_adapter("infinity", {"model": MODEL, "limits": Limits(text_characters=5)})
    with pytest.raises(OracleError, match=r"texts\[1\]: must have at most 5 characters"):
        requests_of(short, Question(texts=("four", "longer")))


def test_the_best_labels_are_one_answer_and_are_never_joined_from_several() -> None:
    question = Question((image("a"), image("b")), ("x", "y", "z"))
    told = np.array([[0.7, np.nan, 0.2], [np.nan, 0.9, 0.1]], dtype=np.float32)
    whole = Answer(Part(images=(0, 1), texts=(0, 1, 2)), told)
    logs = join(question, [whole], "top_k")
    np.testing.assert_allclose(np.exp(logs), [[0.7, 0.1, 0.2], [1e-7, 0.9, 0.1]], atol=1e-6)
    halves_of_it = [
        Answer(Part(images=(0, 1), texts=(0, 1), anchored=True), told[:, :2]),
        Answer(Part(images=(0, 1), texts=(0, 2), anchored=True), told[:, ::2]),
    ]
    with pytest.raises(OracleError, match="one request for all labels"):
        join(question, halves_of_it, "top_k")
    best = Capabilities(
        frozenset({"text"}), frozenset({"top_k"}), True, top_k=2, limits=Limits(labels=2)
    )
    with pytest.raises(OracleError, match="only the best 2 are told, but 3 need 2"):
        parts_of(question, best)


def test_the_classes_of_an_owner_are_not_divided() -> None:
    """It tells all of them in every answer, which would be paid for before that is seen."""
    fixed = Capabilities(frozenset({"fixed"}), frozenset({"logits"}), limits=Limits(labels=2))
    question = Question((image("a"),), ("a cat", "a dog", "a hen"))
    with pytest.raises(OracleError, match="classes of its own, all at once, but 3 need 2"):
        parts_of(question, fixed)
    (part,) = parts_of(question, replace(fixed, limits=Limits(labels=3)))
    assert part.texts == (0, 1, 2)
