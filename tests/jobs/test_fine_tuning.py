"""What a fine-tuning leaves on disk when it is done, wherever its worker dies."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from craft_ray.classifiers.selection import Selected
from craft_ray.files.remote import Place
from craft_ray.jobs import fine_tuning, tuning, worker
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import STATES_FOLDER, JobEnd, JobStoppedError, write_result
from craft_ray.jobs.tuned import Tuned, read_selected, read_tuned
from craft_ray.metering.journal import open_journal, spent_on_record
from craft_ray.metering.journal_objects import ObjectJournal
from craft_ray.metering.journal_sqlite import QueryId, QueryJournal
from craft_ray.metering.ledger import Spending
from craft_ray.tuners import state
from craft_ray.tuners.state import load_newest_state
from tests.support.fake_pool import FakePool
from tests.support.probing import DATA, probing
from tests.support.reporters import SilentReporter
from tests.support.world import World, make_world, run_config, world_data


class KilledError(BaseException):
    """The process ended here: nothing catches it."""


@cache
def world_of(head: str) -> tuple[World, FakePool]:
    """A task that is evaluated after each generation."""
    pool = FakePool()
    return make_world(probing(head, evaluate_every_generations=1), data=DATA, oracle=pool), pool


class Work:
    """Attempts at one job, each as if by another process."""

    def __init__(self, folder: Place, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
        self.world, pool = world_of(head)
        self.questions = pool.questions
        self.questions.clear()
        monkeypatch.setattr(tuning, "PoolOracle", lambda *words: pool)
        monkeypatch.setattr(tuning, "STATE_EVERY_S", 0.0)  # on an object store as on a disk
        monkeypatch.setattr(fine_tuning, "ray", SimpleNamespace(get=lambda prepared: prepared))
        config, prepared = self.world.config, self.world.prepared
        self.job = FineTuning("worker", config, prepared, cast(Any, None), folder)

    def attempt(self) -> JobEnd:
        return worker.run(self.job, SilentReporter(), lambda: True)

    def found(self) -> tuple[Tuned, Selected]:
        """Read as a driver does."""
        return read_tuned(self.job.folder), read_selected(self.job.folder)


def answers_on_record(folder: Place) -> int:
    with open_journal(folder) as journal:
        queries = [
            QueryId(generation, purpose, number)
            for generation in range(3)
            for purpose in ("search", "head", "evaluation")
            for number in range(5)
        ]
        return sum(len(journal.parts(query, None)) for query in queries)


def same(found: tuple[Tuned, Selected], expected: tuple[Tuned, Selected]) -> bool:
    tuned, selected = found
    wanted, best = expected
    arrays, wanted_arrays = selected.classifier.arrays(), best.classifier.arrays()
    return (
        (tuned.outcome, tuned.spent, tuned.curve, tuned.findings)
        == (wanted.outcome, wanted.spent, wanted.curve, wanted.findings)
        and selected.values() == best.values()
        and {name: array.tobytes() for name, array in arrays.items()}
        == {name: array.tobytes() for name, array in wanted_arrays.items()}
    )


@pytest.fixture
def folder(place: Place) -> Place:
    """On a disk, and on an object store."""
    return place / "worker"


def test_a_result_leaves_what_was_spent_and_no_answer(
    folder: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(folder, monkeypatch, "contexts")
    assert work.attempt() == JobEnd("finished")
    first, asked = work.found(), len(work.questions)
    assert answers_on_record(folder) == 0
    assert spent_on_record(folder) == first[0].spent
    assert first[0].spent.candidate_queries == 8
    assert work.attempt() == JobEnd("finished")  # whoever is given the job once more
    assert same(work.found(), first)
    assert len(work.questions) == asked


class StoppedEarly(SilentReporter):
    """After a generation that no state counts."""

    def __init__(self) -> None:
        super().__init__()
        self._num_checks = 0

    def check(self) -> None:
        self._num_checks += 1
        if self._num_checks > 3:
            raise JobStoppedError


def test_a_result_counts_what_is_on_record_wherever_it_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker dies before it can drop anything; the machine, with what waits there, is gone."""
    folder = place / "worker"
    monkeypatch.setattr(fine_tuning, "_forget", lambda _: None)
    pool = FakePool()
    world = make_world(run_config(evaluate_every_generations=2), data=world_data(), oracle=pool)
    monkeypatch.setattr(tuning, "PoolOracle", lambda *words: pool)
    monkeypatch.setattr(fine_tuning, "ray", SimpleNamespace(get=lambda prepared: prepared))
    job = FineTuning("worker", world.config, world.prepared, cast(Any, None), folder)

    def written(folder: Place, result: dict[str, Any]) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
        assert spent_on_record(folder).as_dict() == result["ledger"]
        assert spent_on_record(folder) != Spending()
        write_result(folder, result)

    with tempfile.TemporaryDirectory() as elsewhere:
        monkeypatch.setattr(worker, "write_result", written)
        assert worker.run(job, StoppedEarly(), lambda: True) == JobEnd("stopped early")


STEPS = [
    ("keep_state", 1),
    ("keep_state", 3),
    ("remove_folder", 1),
    ("forget_answers", 2),
    ("write_result", 1),
    ("forget_answers", 4),
    ("compact", 1),
]
"""In their order, and which time each is taken: of the three generations, and after the result."""


def owner_of(step: str, folder: Place) -> Any:
    journal = QueryJournal if isinstance(folder, Path) else ObjectJournal
    known = {"keep_state": tuning, "remove_folder": state, "write_result": worker}
    return known.get(step, journal)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("step", "turn"), STEPS)
def test_a_worker_that_dies_at_any_step_loses_nothing_and_pays_nothing_twice(
    step: str, turn: int, after: bool, folder: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, num_questions = whole()
    work = Work(folder, monkeypatch, "contexts")
    owner, calls = owner_of(step, folder), []
    take = getattr(owner, step)

    def deadly(*words: Any, **named: Any) -> Any:
        calls.append(step)
        if len(calls) < turn or after:
            take(*words, **named)
        if len(calls) == turn:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, deadly)
        with pytest.raises(KilledError):
            work.attempt()
    assert work.attempt() == JobEnd("finished")
    assert same(work.found(), found)
    assert len(work.questions) == num_questions
    assert answers_on_record(folder) == 0


@cache
def whole() -> tuple[tuple[Tuned, Selected], int]:
    """What an undisturbed job finds, and how often it asks."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        work = Work(Path(folder), patch, "contexts")
        work.attempt()
        return work.found(), len(work.questions)


def test_what_is_kept_does_not_grow_with_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path, monkeypatch, "names")
    work.attempt()
    newest = load_newest_state(tmp_path / STATES_FOLDER)
    assert newest is not None
    num_texts = len(work.world.prepared.class_names) + 30
    num_bytes = sum(array.nbytes for array in newest.arrays.values())
    head = num_texts * len(work.world.prepared.class_names) * 4
    assert num_bytes < 2 * head
