"""Losses of candidates, which are answered, recorded and taken from the record in parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from craft_ray.metering.ledger import Spending
from craft_ray.metering.question_record import QuestionRecord
from craft_ray.oracle.contract import LossArray, OnPart

IntArray = npt.NDArray[np.intp]
FLOAT64_BYTES = 8


def losses_in_parts(
    record: QuestionRecord,
    question: bytes,
    num_candidates: int,
    cost_at: Callable[[IntArray], Spending],
    ask: Callable[[IntArray, OnPart], LossArray],
) -> LossArray:
    """Losses, float64 [K]. Each part is on record as soon as it arrives; only what is not on record
    yet is asked.

    Args:
        record: of the asker.
        question: content address of it.
        num_candidates: K.
        cost_at: of those in some places.
        ask: has those in some places answered, and tells each part where it can.

    Raises:
        BudgetError: the candidate budget does not cover it; nothing was asked.
        RunFailedError: the journal has no room for an answer; nothing was asked.
    """
    query = record.next_query("search", question)
    losses_K = np.full(num_candidates, np.nan)
    missing_K = np.ones(num_candidates, dtype=bool)
    for part in record.parts(query, question):
        losses_K[part.start : part.stop] = part.answer
        missing_K[part.start : part.stop] = False
    places = np.flatnonzero(missing_K)
    if len(places) == 0:
        return losses_K

    def take(start: int, losses: LossArray, cost_at: Callable[[IntArray], Spending]) -> None:
        # What is missing may lie apart: runs of neighbours are recorded each.
        own = places[start : start + len(losses)]
        for run in np.split(np.arange(len(own)), np.flatnonzero(np.diff(own) > 1) + 1):
            record.record(query, question, int(own[run[0]]), cost_at(own[run]), losses[run])
        losses_K[own] = losses
        missing_K[own] = False

    if (known := record.from_cache(question)) is not None:
        take(0, known[places], lambda places: cost_at(places).saved)
        return losses_K
    record.authorize(cost_at(places), len(places) * FLOAT64_BYTES)

    def on_part(start: int, losses: LossArray) -> None:
        take(start, losses, cost_at)

    losses = ask(places, on_part)
    if missing_K.any():  # an oracle that gives no parts
        on_part(0, losses)
    record.to_cache(question, losses_K)
    return losses_K
