"""What an endpoint can do, as its adapter declares it, and whether a method can work with that.

It is checked before anything is sent, because everything that is sent may cost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from craft_ray.errors import OracleError

Prompt = Literal["soft", "text", "fixed"]
"""`soft`: contexts, numbers in place of words. `text`: any words. `fixed`: the owner's classes."""

Served = Literal[
    "logits",
    "cosine",
    "probabilities",
    "sigmoid",
    "top_k",
    "label",
    "losses",
    "image_features",
    "text_features",
]
FULL_SCORES: frozenset[Served] = frozenset({"logits", "cosine", "probabilities", "sigmoid"})
"""A number for every label that was sent."""

Unit = Literal["pair", "image", "text", "request", "token", "second"]
Method = Literal["prompt", "head", "both", "white_box"]
Head = Literal["residual_mlp", "linear", "probes", "features"]

MOST_DECIMALS = 20
"""Of a score; more than any number has that travels."""

Way = Literal["contexts", "features", "text_scores", "fixed_scores"]
"""How a method asks: soft prompts; features of images and texts; scores of images with texts that
the method may choose; or scores of images with classes that nobody may choose."""


@dataclass(frozen=True)
class Limits:
    """What one request may have, and how fast requests may come. None: nothing is known."""

    images: int | None = None
    texts: int | None = None
    """Of a request for the features of texts."""
    labels: int | None = None
    """Texts that images are compared with in one request."""
    contexts: int | None = None
    bytes: int | None = None
    """Of a request's body."""
    answer_bytes: int | None = None
    text_characters: int | None = None
    """Of one text. Most endpoints cut what is too long and do not say so."""
    requests_per_minute: int | None = None
    units_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and value < 1:
                raise OracleError(f"limits.{limit.name}: must be at least 1, but got {value}")

    def or_else(self, usual: Limits) -> Limits:
        """These limits, and the usual ones where these say nothing."""
        given = {limit.name: getattr(self, limit.name) for limit in fields(self)}
        return replace(usual, **{name: value for name, value in given.items() if value})


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Price:
    """What one unit costs."""

    unit: Unit
    amount: float
    currency: str = "USD"

    def __post_init__(self) -> None:
        if not 0 <= self.amount < float("inf"):
            raise OracleError(f"prices.{self.unit}: must be at least 0, but got {self.amount}")


@dataclass(frozen=True)
class Capabilities:
    """What an endpoint takes, answers, bounds and charges."""

    prompts: frozenset[Prompt]
    answers: frozenset[Served]
    joint_over_labels: bool = False
    """Whether the score of a label depends on the other labels sent with it, as with softmax."""
    top_k: int | None = None
    """How many labels have a score in an answer `top_k`."""
    decimals: int | None = None
    """That scores are rounded to. None: they are not, or it is not known."""
    logit_scale: float | None = None
    """logits = logit_scale * cosine. None: unknown, so it is fitted (`scores.fit_temperature`)."""
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompts or not self.answers:
            raise OracleError("capabilities: must have prompts and answers, but one is empty")
        if "top_k" in self.answers and (self.top_k is None or self.top_k < 1):
            raise OracleError(
                f"capabilities.top_k: must be at least 1 where top_k is answered, but got "
                f"{self.top_k}"
            )
        if self.decimals is not None and not 1 <= self.decimals <= MOST_DECIMALS:
            raise OracleError(
                f"decimals: must be between 1 and {MOST_DECIMALS}, to which scores are rounded, or "
                f"null, but got {self.decimals}"
            )
        if self.joint_over_labels and self.limits.labels == 1:
            raise OracleError(
                "limits.labels: must be at least 2 where scores are joint over labels, but got 1"
            )
        if len({price.unit for price in self.prices}) < len(self.prices):
            raise OracleError("prices: must have each unit once, but one is there twice")


def check_method(
    capabilities: Capabilities,
    method: Method,
    head: Head = "residual_mlp",
    contexts: int = 0,
    *,
    words: bool = False,
) -> Way:
    """How a method can ask an endpoint.

    Args:
        capabilities: the endpoint's.
        method: what is tuned.
        head: what refines the scores; with `method: head` and `both`.
        contexts: random soft prompts that probes ask about (`head.contexts`).
        words: whether prompts are searched as words (`optimizer.kind: text`) and not as numbers.

    Raises:
        OracleError: it cannot; with the method that can.
    """
    prompts, answers = capabilities.prompts, capabilities.answers
    if method == "white_box":
        raise OracleError(
            "method: must not be white_box for an endpoint, which gives no gradients; "
            f"{_remedy(capabilities)}"
        )
    if method == "prompt" and words:
        return _check_words(capabilities)
    has_features = {"image_features", "text_features"} <= answers
    if method == "head" and head == "features":
        if has_features:
            return "features"
        raise OracleError(
            "head.kind: features needs features of images and texts, but the endpoint answers with "
            f"{_listed(answers)}; {_remedy(capabilities)}"
        )
    takes_contexts = "soft" in prompts and bool(answers & {"logits", "losses"})
    if takes_contexts:
        return "contexts"
    if method in ("prompt", "both"):
        raise OracleError(
            f"method: {method} searches soft prompts, but the endpoint takes "
            f"{_listed(prompts)} prompts and answers with {_listed(answers)}; "
            f"{_remedy(capabilities)}"
        )
    if head == "probes" and contexts:
        raise OracleError(
            f"head.contexts: must be 0, because the endpoint takes no soft prompts, but got "
            f"{contexts}; probes by names (head.names) need text only"
        )
    if "text" in prompts and has_features:
        return "features"
    if "text" in prompts and answers & FULL_SCORES:
        return "text_scores"
    if answers & FULL_SCORES and head != "probes":
        return "fixed_scores"
    if "top_k" in answers and head != "probes":
        return "fixed_scores"
    if "top_k" in answers and not answers & FULL_SCORES:
        raise OracleError(
            f"head.kind: probes ask about many names, but the endpoint scores the best "
            f"{capabilities.top_k} labels only, so that most names would never be told; "
            f"{_remedy(capabilities)}"
        )
    if answers & FULL_SCORES:
        raise OracleError(
            "head.kind: probes ask about names beside the classes, but the endpoint scores its "
            f"own classes only; {_remedy(capabilities)}"
        )
    raise OracleError(
        f"method: {method} needs a score for every class, but the endpoint takes "
        f"{_listed(prompts)} prompts and answers with {_listed(answers)}; {_remedy(capabilities)}"
    )


def _check_words(capabilities: Capabilities) -> Way:
    """How a search over words can ask: whatever takes text and scores every label."""
    if "text" in capabilities.prompts:
        if {"image_features", "text_features"} <= capabilities.answers:
            return "features"
        if capabilities.answers & FULL_SCORES:
            return "text_scores"
    raise OracleError(
        "optimizer.kind: text needs a model that takes text and scores all labels, but the "
        f"endpoint takes {_listed(capabilities.prompts)} prompts and answers with "
        f"{_listed(capabilities.answers)}; {_remedy(capabilities)}"
    )


def _remedy(capabilities: Capabilities) -> str:
    """What can be done with such an endpoint instead."""
    answers = capabilities.answers
    has_features = {"image_features", "text_features"} <= answers
    if "soft" in capabilities.prompts and answers & {"logits", "losses"}:
        return "use method: prompt, head or both"
    if "text" in capabilities.prompts and has_features:
        return (
            "use method: head, with head.kind: features, or probes for its names as prompts; or "
            "method: prompt with optimizer.kind: text"
        )
    if "text" in capabilities.prompts and answers & FULL_SCORES:
        return (
            "use method: head, with head.kind: probes for its names as prompts; or method: prompt "
            "with optimizer.kind: text"
        )
    if answers & FULL_SCORES:
        return "use method: head with head.kind: residual_mlp or linear, which correct its scores"
    if "top_k" in answers:
        return (
            "use method: head with head.kind: residual_mlp or linear, which correct the scores "
            f"that it tells: the best {capabilities.top_k} labels have one, and the others share "
            "the rest"
        )
    return "craft-ray has no method for that; ask its owner for scores of all classes"


def _listed(words: frozenset[Prompt] | frozenset[Served]) -> str:
    return ", ".join(sorted(words))
