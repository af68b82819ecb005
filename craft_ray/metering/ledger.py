"""Counting what is spent, each kind in its unit, under a cap. Light: every process loads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from craft_ray.errors import BudgetError

Purpose = Literal["search", "head", "evaluation", "white_box"]


@dataclass(frozen=True)
class Spending:
    """Totals, each in its own unit."""

    candidate_queries: int = 0
    """Candidates scored on the whole training set: the paper's unit and the budget's. Of candidates
    that are asked about one of B batches of it, every B-th is counted."""
    search_predictions: int = 0
    """Images predicted to score candidates."""
    head_predictions: int = 0
    """Images predicted to train the head."""
    evaluation_predictions: int = 0
    """Images predicted to validate or test."""
    white_box_predictions: int = 0
    """Images predicted with a gradient, or shown as features: only an open box answers these."""
    cached_candidates: int = 0
    """Candidates whose answers were there already, from an earlier run or another trial of the
    search: no query, and nothing to pay."""
    cached_predictions: int = 0
    """Images predicted in answers that were there already, whatever for."""
    text_encodes: int = 0
    """Prompts encoded: contexts x classes."""
    images_sent: int = 0
    """Images registered, each of which the oracle must encode before it can answer. An image set
    that is asked about again and again is sent once."""

    @property
    def image_predictions(self) -> int:
        """All images predicted, whatever for; a hosted endpoint bills these."""
        return (
            self.search_predictions
            + self.head_predictions
            + self.evaluation_predictions
            + self.white_box_predictions
        )

    @property
    def candidates_scored(self) -> int:
        """How far a search has come, whoever has paid for its answers."""
        return self.candidate_queries + self.cached_candidates

    @property
    def saved(self) -> Spending:
        """What is on record in place of this for an answer that was there already."""
        return Spending(
            cached_candidates=self.candidate_queries, cached_predictions=self.image_predictions
        )

    def cost(self, price_per_thousand_predictions: float) -> float:
        """What the image predictions cost, in the currency of the price."""
        return self.image_predictions / 1000 * price_per_thousand_predictions

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def as_dict(self) -> dict[str, int]:
        """For summaries and checkpoints; `image_predictions` is added."""
        return {**asdict(self), "image_predictions": self.image_predictions}

    @classmethod
    def from_dict(cls, document: dict[str, int]) -> Spending:
        """Inverse of `as_dict`."""
        return cls(**{f.name: int(document[f.name]) for f in fields(cls)})


def has_needed_answers(ledger: Mapping[str, Any]) -> bool:
    """Whether there was anything to ask about, be it answered before: of the totals that a summary
    has (`Spending.as_dict`)."""
    return bool(ledger["image_predictions"] or ledger["cached_predictions"])


def cost_of(
    purpose: Purpose,
    num_contexts: int,
    num_images: int,
    num_classes: int,
    num_queries: int | None = None,
) -> Spending:
    """What one `predict` call costs.

    Args:
        purpose: of the call.
        num_contexts: asked about.
        num_images: that each is asked about.
        num_classes: of the task.
        num_queries: how many of a search's contexts are counted as candidate queries, if not all.
    """
    spending = replace(Spending(), text_encodes=num_contexts * num_classes)
    predictions = num_contexts * num_images
    if purpose == "search":
        queries = num_contexts if num_queries is None else num_queries
        return replace(spending, candidate_queries=queries, search_predictions=predictions)
    if purpose == "head":
        return replace(spending, head_predictions=predictions)
    if purpose == "white_box":
        return replace(spending, white_box_predictions=predictions)
    return replace(spending, evaluation_predictions=predictions)


class QueryLedger:
    """Running totals under a cap on candidate queries.

    Args:
        max_queries: the cap, in candidate queries.
    """

    def __init__(self, max_queries: int) -> None:
        self.max_queries = max_queries
        self.spent = Spending()

    @property
    def remaining_queries(self) -> int:
        """Candidate queries that may still be spent."""
        return self.max_queries - self.spent.candidate_queries

    def authorize(self, cost: Spending) -> None:
        """Check the cap before anything is asked.

        Raises:
            BudgetError: the cost exceeds what remains.
        """
        if cost.candidate_queries > self.remaining_queries:
            raise BudgetError(
                f"max_queries: spent + asked <= {self.max_queries} must hold, but got "
                f"spent={self.spent.candidate_queries} and asked={cost.candidate_queries}"
            )

    def record(self, cost: Spending) -> None:
        """Add what has been answered."""
        self.spent = self.spent + cost

    def restore(self, document: dict[str, int]) -> None:
        """Take up the totals of an earlier part of the same run (`Spending.as_dict`)."""
        self.spent = Spending.from_dict(document)
