"""What a method needs is compared with what an endpoint can, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import Capabilities, Limits, Price, check_method
from craft_ray.oracle.endpoints.registry import make_adapter


def can(prompts: str, answers: str, **others: Any) -> Capabilities:
    return Capabilities(
        frozenset(prompts.split()),  # type: ignore[arg-type]
        frozenset(answers.split()),  # type: ignore[arg-type]
        **others,
    )


OWN = can("soft text", "logits losses")
FEATURES = can("text", "image_features text_features")
PROBABILITIES = can("text", "probabilities", joint_over_labels=True)
FIXED = can("fixed", "logits")
TOP_FIVE = can("text", "top_k", top_k=5, decimals=3)


@pytest.mark.parametrize("method", ["prompt", "head", "both"])
def test_soft_prompts_serve_all_methods(method: Any) -> None:
    assert check_method(OWN, method) == "contexts"
    assert check_method(OWN, method, "probes", contexts=9) == "contexts"


@pytest.mark.parametrize("head", ["residual_mlp", "linear", "probes"])
def test_text_and_features_serve_heads(head: Any) -> None:
    assert check_method(FEATURES, "head", head) == "features"
    assert check_method(PROBABILITIES, "head", head) == "text_scores"
    assert check_method(can("text", "cosine"), "head", head) == "text_scores"
    assert check_method(can("text", "sigmoid"), "head", head) == "text_scores"


def test_features_are_asked_for_where_they_are_served_beside_prompts() -> None:
    own = replace(OWN, answers=OWN.answers | FEATURES.answers)
    assert check_method(own, "head", "features") == "features"
    assert check_method(own, "head", "linear") == "contexts"


def test_words_can_be_searched_wherever_text_is_scored() -> None:
    assert check_method(FEATURES, "prompt", words=True) == "features"
    assert check_method(PROBABILITIES, "prompt", words=True) == "text_scores"
    assert check_method(OWN, "prompt", words=True) == "text_scores"


def test_fixed_classes_can_be_corrected_and_no_more() -> None:
    assert check_method(FIXED, "head", "linear") == "fixed_scores"
    assert check_method(TOP_FIVE, "head", "linear") == "fixed_scores"
    assert check_method(TOP_FIVE, "head") == "fixed_scores"
    with pytest.raises(OracleError, match=r"head.kind: probes .* own classes only; use method: he"):
        check_method(FIXED, "head", "probes")


@pytest.mark.parametrize(
    ("capabilities", "method", "more", "words"),
    [
        (FEATURES, "both", {}, r"method: both searches soft prompts, but the endpoint takes text"),
        (PROBABILITIES, "prompt", {}, r"answers with probabilities; use method: head, with head."),
        (FIXED, "prompt", {}, r"use method: head with head.kind: residual_mlp or linear"),
        (
            TOP_FIVE,
            "head",
            {"head": "probes"},
            r"best 5 labels only, .* use method: head with head",
        ),
        (
            TOP_FIVE,
            "both",
            {},
            r"searches soft prompts, .* correct the scores that it tells: the be",
        ),
        (TOP_FIVE, "prompt", {"words": True}, r"optimizer.kind: text needs .* scores all labels"),
        (FIXED, "prompt", {"words": True}, r"takes fixed prompts"),
        (can("text", "label"), "head", {}, r"answers with label; craft-ray has no method for"),
        (can("text", "image_features"), "head", {}, r"needs a score for every class"),
        (OWN, "white_box", {}, r"gives no gradients; use method: prompt, head or both"),
        (FEATURES, "white_box", {}, r"gives no gradients; use method: head"),
        (FEATURES, "both", {}, r"use method: head, with head.kind: features, or probes for its"),
        (OWN, "head", {"head": "features"}, r"head.kind: features needs features .* answers with"),
        (
            PROBABILITIES,
            "head",
            {"head": "features"},
            r"; use method: head, with head.kind: pro",
        ),
        (
            FEATURES,
            "head",
            {"head": "probes", "contexts": 4},
            r"head.contexts: must be 0, .* but got 4; probes by names",
        ),
    ],
)
def test_one_message_says_what_does_not_fit_and_what_does(
    capabilities: Capabilities, method: Any, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(OracleError, match=words) as raised:
        check_method(capabilities, method, **more)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: Limits(images=0), r"limits.images: must be at least 1, but got 0"),
        (lambda: Price("image", -1), r"prices.image: must be at least 0, but got -1"),
        (lambda: Price("image", float("nan")), r"prices.image"),
        (lambda: can("", "logits"), r"must have prompts and answers"),
        (lambda: can("text", "top_k"), r"capabilities.top_k: must be at least 1"),
        (
            lambda: can("text", "probabilities", joint_over_labels=True, limits=Limits(labels=1)),
            r"limits.labels: must be at least 2",
        ),
        (
            lambda: can("text", "logits", prices=(Price("image", 1), Price("image", 2))),
            r"each unit once",
        ),
    ],
)
def test_declarations_that_contradict_themselves(declare: Callable[[], Any], words: str) -> None:
    with pytest.raises(OracleError, match=words):
        declare()


def test_a_limit_replaces_the_usual_one_and_no_other() -> None:
    given = Limits(images=4, bytes=1000).or_else(Limits(images=32, texts=2048))
    assert given == Limits(images=4, texts=2048, bytes=1000)
    infinity = make_adapter("infinity", {"model": "m", "limits": Limits(bytes=10**6)})
    assert infinity.capabilities().limits == Limits(images=32, texts=2048, bytes=10**6)
    vllm = make_adapter("vllm", {"model": "m", "limits": Limits(images=9)})
    assert vllm.capabilities().limits.images == 1


def test_a_declaration_can_be_kept_and_compared() -> None:
    assert can("text", "text_features image_features") == FEATURES
    assert len({FEATURES, OWN, FEATURES}) == 2
