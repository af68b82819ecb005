"""Which chunk of a population goes to which replica. Pure decisions: no Ray, no clock, no I/O.

Chunks have a fixed size, so the arithmetic of a candidate does not depend on how many replicas
there are or in which order they answer. Routing is least outstanding work; ties go to the replica
that rendezvous hashing ranks first for the image set, so that all clients send a small question
about the same images to the same replica, which then is the only one that encodes them. Of a
question about several image sets each chunk is about one, and each replica is the home of as many
of them: all clients send questions about a set to its home, and only a replica that has nothing to
do takes others'.

Each client schedules its own queries; no process stands in the middle. A replica serves chunks in
the order in which they come, and a client may have only `max_in_flight` chunks at a replica, so
clients take turns: before a chunk is served, at most `max_in_flight` chunks of each other client
are, however large their populations.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from craft_ray.errors import PoolError

FIRST_REST_S = 0.5
LONGEST_REST_S = 30.0
LAST_ANSWERS_S = 10.0
"""More than a pool leaves to a replica that has to go."""
NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True)
class Chunk:
    """Candidates [start, stop) of a population, about one of the image sets that are asked about.

    Attributes:
        key: of the set, if it has a home among the replicas.
    """

    index: int
    start: int
    stop: int
    block: int = 0
    key: str | None = None


@dataclass(frozen=True)
class Assignment:
    """A chunk on its way to a replica."""

    chunk: Chunk
    replica: str


def split_population(num_candidates: int, candidates_per_chunk: int) -> list[Chunk]:
    """Consecutive chunks that cover the population."""
    starts = range(0, num_candidates, candidates_per_chunk)
    return [
        Chunk(index, start, min(start + candidates_per_chunk, num_candidates))
        for index, start in enumerate(starts)
    ]


def split_question(
    num_candidates: int, candidates_per_chunk: int, keys: Sequence[str | None]
) -> list[Chunk]:
    """Chunks of a question about several image sets; those of the same candidates follow each
    other, so that a replica encodes the candidates once.

    Args:
        num_candidates: of the question; 0: it has none, and is asked once about each set.
        candidates_per_chunk: at most.
        keys: of the sets; None of one that has no home.
    """
    population = split_population(num_candidates, candidates_per_chunk) or [Chunk(0, 0, 0)]
    if len(keys) == 1:
        return population
    chunks = itertools.product(population, enumerate(keys))
    return [
        Chunk(index, part.start, part.stop, block, key)
        for index, (part, (block, key)) in enumerate(chunks)
    ]


def rank_replicas(replicas: Sequence[str], key: str) -> list[str]:
    """Rendezvous order (Thaler and Ravishankar, 1998): the same for every client of `key`."""
    return sorted(
        replicas, key=lambda replica: hashlib.sha256(f"{key}/{replica}".encode()).digest()
    )


def homes_of(keys: Sequence[str], replicas: Sequence[str]) -> dict[str, str]:
    """The replica of each set: of those that have not got their share of the sets yet, the one that
    rendezvous hashing ranks first. The same for every client."""
    if not replicas:
        return {}
    share = -(-len(keys) // len(replicas))
    taken: Counter[str] = Counter()
    homes = {}
    for key in keys:
        ranked = rank_replicas(replicas, key)
        homes[key] = next(name for name in ranked if taken[name] < share)
        taken[homes[key]] += 1
    return homes


class ChunkScheduler:
    """The state of one query. Time is an argument, in seconds of any monotonic clock.

    A replica that loses a chunk rests, twice as long after each loss in a row. The chunk goes
    elsewhere, and rather waits for a busy replica than that it returns to one that has lost it: of
    two replicas on a node that is gone the idle one is always the one with least work, and a chunk
    would use up its attempts there.

    Args:
        chunks: what has to be answered.
        replicas: names, preferred first.
        max_in_flight: chunks that may wait at one replica (back-pressure).
        max_attempts: tries of one chunk before the query fails.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        replicas: Sequence[str],
        max_in_flight: int,
        max_attempts: int,
    ) -> None:
        self._waiting = deque(chunks)
        self._preference = {replica: rank for rank, replica in enumerate(replicas)}
        self._keys = list(dict.fromkeys(chunk.key for chunk in chunks if chunk.key is not None))
        self._homes = homes_of(self._keys, replicas)
        self._gone_since: dict[str, float] = {}
        self._max_in_flight = max_in_flight
        self._max_attempts = max_attempts
        self._outstanding: Counter[str] = Counter()
        self._attempts: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        """Chunk -> how often its question itself was said to be the cause."""
        self._reasons: defaultdict[int, dict[str, str]] = defaultdict(dict)
        """Chunk -> why it was lost, each reason once, in order; and where."""
        self._lost_at: defaultdict[int, Counter[str]] = defaultdict(Counter)
        """Chunk -> how often which replica has lost it."""
        self._losses_in_a_row: Counter[str] = Counter()
        self._resting_until: dict[str, float] = {}
        self._unfinished = {chunk.index for chunk in chunks}

    def set_replicas(self, replicas: Sequence[str], now_s: float) -> None:
        """Replicas have come or gone. What one that has gone still has, it may answer for a
        while (`is_overdue`)."""
        gone = (self._preference.keys() | self._gone_since.keys()) - set(replicas)
        self._gone_since = {replica: self._gone_since.get(replica, now_s) for replica in gone}
        self._preference = {replica: rank for rank, replica in enumerate(replicas)}
        self._homes = homes_of(self._keys, replicas)

    @property
    def num_unfinished(self) -> int:
        """Chunks that have not been answered."""
        return len(self._unfinished)

    @property
    def retries(self) -> int:
        """Chunks sent again, counted each time."""
        return sum(attempts - 1 for attempts in self._attempts.values())

    def assign(self, now_s: float, elsewhere: Mapping[str, int] = NOTHING) -> list[Assignment]:
        """Take waiting chunks as far as back-pressure and rest allow.

        Args:
            now_s: the time.
            elsewhere: chunks of other queries at each replica, as far as they are known.
        """
        self._resting_until = {
            replica: until for replica, until in self._resting_until.items() if until > now_s
        }
        awake = [replica for replica in self._preference if replica not in self._resting_until]
        assignments: list[Assignment] = []
        for pick in (self._pick_home, self._pick):
            passed_over = []
            while self._waiting and any(map(self._has_room, awake)):
                chunk = self._waiting.popleft()
                replica = pick(chunk, awake, elsewhere)
                if replica is None:
                    passed_over.append(chunk)
                    continue
                self._outstanding[replica] += 1
                self._attempts[chunk.index] += 1
                assignments.append(Assignment(chunk, replica))
            self._waiting.extendleft(reversed(passed_over))
        return assignments

    def wakes_at(self) -> float | None:
        """When the next resting replica may be used again; None if no chunk waits for one."""
        return min(self._resting_until.values(), default=None) if self._waiting else None

    def is_overdue(self, assignment: Assignment, now_s: float) -> bool:
        """Whether its replica went so long ago that no answer is to be expected: one that leaves
        answers in time or is ended, but with one that was lost a chunk may wait for ever."""
        return now_s - self._gone_since.get(assignment.replica, now_s) > LAST_ANSWERS_S

    def complete(self, assignment: Assignment) -> None:
        """Note an answer."""
        self._outstanding[assignment.replica] -= 1
        self._losses_in_a_row.pop(assignment.replica, None)
        self._unfinished.discard(assignment.chunk.index)

    def fail(
        self, assignment: Assignment, reason: str, now_s: float, *, may_pass: bool = True
    ) -> None:
        """Note a lost chunk; it waits again, before all others.

        Args:
            assignment: the chunk, and where it was lost.
            reason: for the user.
            now_s: the time.
            may_pass: False if the replica says that the question itself is the cause; then one more
                try decides, at another replica if there is one.

        Raises:
            PoolError: the chunk has used up its attempts.
        """
        chunk, replica = assignment.chunk, assignment.replica
        self._outstanding[replica] -= 1
        self._reasons[chunk.index][reason] = replica
        self._failures[chunk.index] += not may_pass
        attempts = self._attempts[chunk.index]
        if attempts >= self._max_attempts or self._failures[chunk.index] > 1:
            reasons = "; ".join(
                f"{why} ({where})" for why, where in self._reasons[chunk.index].items()
            )
            raise PoolError(f"chunk {chunk.index} was lost {attempts} times: {reasons}")
        self._lost_at[chunk.index][replica] += 1
        self._losses_in_a_row[replica] += 1
        rest_s = FIRST_REST_S * 2 ** (self._losses_in_a_row[replica] - 1)
        self._resting_until[replica] = now_s + min(rest_s, LONGEST_REST_S)
        self._waiting.appendleft(chunk)

    def _has_room(self, replica: str) -> bool:
        return self._outstanding[replica] < self._max_in_flight

    def _pick_home(self, chunk: Chunk, awake: Sequence[str], _: Mapping[str, int]) -> str | None:
        """The home of the chunk's own set, if it has room and has not lost the chunk."""
        home = None if chunk.key is None else self._homes.get(chunk.key)
        if home is None or home not in awake or not self._has_room(home):
            return None
        return None if self._lost_at.get(chunk.index, NOTHING).get(home) else home

    def _pick(self, chunk: Chunk, awake: Sequence[str], elsewhere: Mapping[str, int]) -> str | None:
        """Of the replicas that have lost the chunk least, one with room; or, of a chunk that has a
        home, one that has nothing to do."""
        lost = self._lost_at.get(chunk.index, Counter())
        least = min(lost[replica] for replica in awake)
        return min(
            (
                name
                for name in awake
                if lost[name] == least
                and self._has_room(name)
                and (chunk.key is None or not self._outstanding[name])
            ),
            key=lambda name: (
                self._outstanding[name] + elsewhere.get(name, 0),
                self._preference[name],
            ),
            default=None,
        )
