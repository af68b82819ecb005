"""What was asked and answered of one run: authorised before, counted and put on record after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal import Journal
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart, digest_of_question
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.oracle.contract import FloatArray, OracleDescription

Array = np.ndarray[Any, Any]


class QuestionRecord:
    """Which place a question has, what is known of it, and what it has cost. Asks nobody.

    Args:
        ledger: the cap and the totals.
        journal: of the run; None for questions that no other process would take up.
        cache: answers of earlier runs or of other trials, which cost nothing; or None.
        describe: the oracle that is asked, for the cache; free.
        by_content: see `MeteredOracle`.
    """

    def __init__(
        self,
        ledger: QueryLedger,
        journal: Journal | None,
        cache: AnswerCache | None,
        describe: Callable[[], OracleDescription],
        *,
        by_content: bool,
    ) -> None:
        self.ledger = ledger
        self._journal = journal
        self._cache = cache
        self._describe = describe
        self._generation = 0
        self._asked: Counter[str] = Counter()
        self._by_content = by_content
        self._counted: set[QueryId] = set()
        self._takes_by_place = False
        self._recalls = False

    def take_by_place(self) -> None:
        """See `MeteredOracle`."""
        self._takes_by_place = True

    def begin_generation(self, generation: int) -> None:
        """The questions from here on are those of `generation`, counted from its first."""
        self._generation = generation
        self._asked.clear()

    @contextmanager
    def recalling(self, generation: int) -> Iterator[None]:
        """See `MeteredOracle`."""
        present = self._generation, self._asked
        self._generation, self._asked, self._recalls = generation, Counter(), True
        try:
            yield
        finally:
            self._generation, self._asked = present
            self._recalls = False

    def authorize(self, cost: Spending, num_bytes: int) -> None:
        """Refuse before anything is spent, if the answer of so many bytes could not be kept.

        Raises:
            BudgetError: the candidate budget does not cover it.
            RunFailedError: the journal has no room for it.
        """
        self.ledger.authorize(cost)
        if self._journal is not None:
            self._journal.ensure_room(num_bytes)

    def from_cache(self, question: bytes) -> Array | None:
        """What others were answered, by content. Whole questions only: a part of a
        population asked anew would be computed in other chunks, which shows in the last bits."""
        return None if self._cache is None else self._cache.find(self._content(question))

    def to_cache(self, question: bytes, answer: Array) -> None:
        """For others who ask the same; nothing without a cache."""
        if self._cache is not None:
            self._cache.keep(self._content(question), answer)

    def _content(self, question: bytes) -> bytes:
        oracle = self._describe()
        return digest_of_question(oracle.oracle_id, oracle.computed_by, question)

    def next_query(self, purpose: str, question: bytes) -> QueryId:
        """The place of a question that is asked now."""
        if self._by_content:
            return QueryId(0, purpose, int.from_bytes(question[:7], "big"))
        query = QueryId(self._generation, purpose, self._asked[purpose])
        self._asked[purpose] += 1
        return query

    def parts(self, query: QueryId, question: bytes) -> list[RecordedPart]:
        """What an earlier process has paid for; this run's totals do not have it yet, unless it is
        recalled."""
        known = None if self._takes_by_place else question
        parts = [] if self._journal is None else self._journal.parts(query, known)
        if query not in self._counted:
            self._counted.add(query)
            for part in () if self._recalls else parts:
                self.ledger.record(part.spending)
        return parts

    def record(
        self, query: QueryId, question: bytes, start: int, cost: Spending, answer: Array
    ) -> None:
        """An answer, or the part of it from `start`, and what it has cost."""
        if self._journal is not None:
            self._journal.record(query, question, start, cost, answer)
        self.ledger.record(cost)


def content_of(contexts_KLE: FloatArray) -> bytes:
    """One context for each of C classes has the bytes of C contexts, and contexts without words
    have no bytes: their shapes tell such questions apart."""
    is_told_by_bytes = contexts_KLE.ndim == 3 and contexts_KLE.size > 0
    shape = b"" if is_told_by_bytes else repr(contexts_KLE.shape).encode()
    return contexts_KLE.tobytes() + shape
