"""What was asked and answered of one run: authorised before, counted and put on record after."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from craft_ray.data.threads import map_in_threads
from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal import Journal
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart, digest_of_question
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.oracle.contract import FloatArray, OracleDescription

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WholeQuestion:
    """A question that is answered as a whole.

    Attributes:
        purpose: of it.
        content: content address of what is asked, whoever answers.
        cost: if it is asked.
        num_bytes: of the answer.
    """

    purpose: str
    content: bytes
    cost: Spending
    num_bytes: int


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
        self._lock = threading.RLock()
        """Of all that is kept: what is known, and what it has cost."""
        self._recalls = False

    def take_by_place(self) -> None:
        """From here on an answer on record is that of the question in its place, whatever was asked
        there."""
        self._takes_by_place = True

    def begin_generation(self, generation: int) -> None:
        """The questions from here on are those of `generation`, counted from its first."""
        self._generation = generation
        self._asked.clear()

    @contextmanager
    def recalling(self, generation: int) -> Iterator[None]:
        """While what `generation` has asked before is asked again: the totals have it already, and
        the budget refuses none of it."""
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
            BudgetError: the candidate budget does not cover it, and it is not recalled.
            RunFailedError: the journal has no room for it.
        """
        with self._lock:
            if not self._recalls:
                self.ledger.authorize(cost)
            if self._journal is not None:
                self._journal.ensure_room(num_bytes)

    def from_cache(self, question: bytes) -> Array | None:
        """What others were answered, by content. Whole questions only: a part of a
        population asked anew would be computed in other chunks, which shows in the last bits."""
        with self._lock:
            return None if self._cache is None else self._cache.find(self._content(question))

    def to_cache(self, question: bytes, answer: Array) -> None:
        """For others who ask the same; nothing without a cache."""
        with self._lock:
            if self._cache is not None:
                self._cache.keep(self._content(question), answer)

    def _content(self, question: bytes) -> bytes:
        oracle = self._describe()
        return digest_of_question(oracle.oracle_id, oracle.computed_by, question)

    def next_query(self, purpose: str, question: bytes) -> QueryId:
        """The place of a question that is asked now."""
        with self._lock:
            if self._by_content:
                return QueryId(0, purpose, int.from_bytes(question[:7], "big"))
            query = QueryId(self._generation, purpose, self._asked[purpose])
            self._asked[purpose] += 1
            return query

    def parts(self, query: QueryId, question: bytes) -> list[RecordedPart]:
        """What an earlier process has paid for; this run's totals do not have it yet, unless it is
        recalled."""
        with self._lock:
            known = None if self._takes_by_place else question
            parts = [] if self._journal is None else self._journal.parts(query, known)
            if query not in self._counted:
                self._counted.add(query)
                for part in () if self._recalls else parts:
                    self.ledger.record(part.spending)
            return parts

    def answered(
        self,
        questions: Sequence[WholeQuestion],
        ask: Callable[[int], Array],
        at_once: Callable[[], int],
        give_up: Callable[[], None],
    ) -> list[Array]:
        """The answers to questions that are each answered as a whole, in order.

        Each answer is on record as soon as it is there. Several threads may call this.

        Args:
            questions: that are asked now.
            ask: has the one in this place answered.
            at_once: how many may be asked at the same time, each in a thread.
            give_up: nobody waits any more for what is under way.

        Raises:
            BudgetError, RunFailedError: see `authorize`; nothing was asked.
            Exception: what the first question raised that was not answered; the answers to the
                others that were under way are on record.
        """
        answers: dict[int, Array] = {}
        with self._lock:
            queries = [self.next_query(asked.purpose, asked.content) for asked in questions]

        def work(place: int) -> None:
            asked, answer = questions[place], ask(place)
            with self._lock:
                self.record(queries[place], asked.content, 0, asked.cost, answer)
                self.to_cache(asked.content, answer)
            answers[place] = answer

        while missing := self._missing(questions, queries, answers):
            # Of equal ones, the others may find the answer to the first.
            first = list({questions[place].content: place for place in reversed(missing)}.values())
            places = sorted(first)
            number = min(at_once(), len(places)) if len(places) > 1 else 1
            if number == 1:
                for place in places:
                    work(place)
            else:
                deque(map_in_threads(work, places, number, 1, give_up), maxlen=0)
        return [answers[place] for place in range(len(questions))]

    def _missing(
        self,
        questions: Sequence[WholeQuestion],
        queries: Sequence[QueryId],
        answers: dict[int, Array],
    ) -> list[int]:
        """Places of the questions that have to be asked, which may be; `answers` is given what is
        known of the others."""
        with self._lock:
            for place, (query, asked) in enumerate(zip(queries, questions, strict=True)):
                if place in answers:
                    continue
                for part in self.parts(query, asked.content):
                    answers[place] = part.answer
                if place not in answers and (known := self.from_cache(asked.content)) is not None:
                    self.record(query, asked.content, 0, asked.cost.saved, known)
                    answers[place] = known
            missing = [place for place in range(len(questions)) if place not in answers]
            if missing:
                costs = (questions[place].cost for place in missing)
                num_bytes = sum(questions[place].num_bytes for place in missing)
                self.authorize(sum(costs, Spending()), num_bytes)
        return missing

    def record(
        self, query: QueryId, question: bytes, start: int, cost: Spending, answer: Array
    ) -> None:
        """An answer, or the part of it from `start`, and what it has cost, which the totals have
        already if it is recalled."""
        with self._lock:
            is_new = True
            if self._journal is not None:
                is_new = self._journal.record(query, question, start, cost, answer)
            # Another thread may have asked the same, by content.
            if is_new and not self._recalls:
                self.ledger.record(cost)


def content_of(contexts_KLE: FloatArray) -> bytes:
    """One context for each of C classes has the bytes of C contexts, and contexts without words
    have no bytes: their shapes tell such questions apart."""
    is_told_by_bytes = contexts_KLE.ndim == 3 and contexts_KLE.size > 0
    shape = b"" if is_told_by_bytes else repr(contexts_KLE.shape).encode()
    return contexts_KLE.tobytes() + shape
