"""What was paid for is never asked again, wherever a run dies."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from craft_ray.config.run import RunConfig
from craft_ray.errors import ArtifactError, BudgetError, RunFailedError
from craft_ray.files.remote import Place, RemotePath
from craft_ray.metering import journal_objects
from craft_ray.metering.journal import JOURNAL_FOLDER, Journal, open_journal, remove_journal
from craft_ray.metering.journal_sqlite import QueryId, QueryJournal, digest_of_question
from craft_ray.metering.ledger import QueryLedger, Spending, cost_of
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.outbox import Outbox
from craft_ray.metering.sealed_objects import PartGoneError
from craft_ray.metering.stored_parts import FORGOTTEN_FOLDER, IDENTITY_FOLDER, StoredParts
from craft_ray.tuners.base import GenerationReport
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import TrainerState, load_state, save_state
from tests.support.dying_oracle import DiedError, DyingOracle
from tests.support.examples import few
from tests.support.probing import probing
from tests.support.s3_server import S3Server, s3_server
from tests.support.world import World, make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
QUESTION = digest_of_question("what?")
COST = Spending(candidate_queries=2, search_predictions=20, text_encodes=8)


class Outcome:
    """What a whole run gave, over all its lives."""

    def __init__(self, config: RunConfig, deaths: list[int], folder: Path) -> None:
        self.oracle = DyingOracle()
        self.reports: dict[int, GenerationReport] = {}
        state_folder = folder / "state"
        for answers_left in [*deaths, None]:
            # A new process: nothing in memory survives but what is in the files. The driver's own
            # questions are not those of the run.
            self.oracle.answers_left, served = None, self.oracle.predictions_served
            world: World = make_world(config, self.oracle, DATA)
            self.oracle.answers_left, self.oracle.predictions_served = answers_left, served
            with QueryJournal(folder / "queries.db") as journal:
                self.ledger = QueryLedger(config.max_queries)
                metered = MeteredOracle(self.oracle, self.ledger, journal)
                trainer = make_trainer(metered, world.prepared, config)
                if state_folder.exists():
                    trainer.load_state_dict(load_state(state_folder))
                try:
                    while not trainer.finished:
                        report = trainer.run_generation()
                        self.reports[report.generation] = report
                        if report.validation is not None:
                            save_state(trainer.state_dict(), state_folder)
                            done, recalled = trainer.generation, trainer.recalled_generations
                            journal.forget_answers(done, recalled)
                except DiedError:
                    continue
                self.on_record = journal.total()
                self.state: TrainerState = trainer.state_dict()
                return


LIVES = [
    ("both", "corrected", 2, [4, 7], False, 1),
    ("both", "corrected", "fresh", [0, 9, 3], True, 2),
    ("both", "reference", 2, [2, 10], False, 2),
    ("both", "reference", "fresh", [5], False, 1),
    ("prompt", "corrected", 2, [1, 1, 1], True, 1),
    ("prompt", "reference", "fresh", [8, 2], False, 2),
    ("head", "corrected", "fresh", [1, 3], False, 1),
    ("head", "reference", 2, [0, 2], False, 1),
]
"""Of each kind at least one, whatever is drawn."""


def every_kind(test: Any) -> Any:
    names = ("method", "fidelity", "views", "deaths", "draws_at_random", "batches")
    for values in LIVES:
        test = example(**dict(zip(names, values, strict=True)))(test)
    return test


@few
@given(
    method=st.sampled_from(["both", "prompt", "head"]),
    fidelity=st.sampled_from(["corrected", "reference"]),
    views=st.sampled_from([2, "fresh"]),
    deaths=st.lists(st.integers(0, 10), max_size=4),
    draws_at_random=st.booleans(),
    batches=st.integers(1, 2),
)
@every_kind
def test_a_run_that_dies_anywhere_ends_the_same_and_asks_nothing_twice(
    method: str, fidelity: str, views: Any, deaths: list[int], draws_at_random: bool, batches: int
) -> None:
    changes: dict[str, Any] = {
        "method": method,
        "fidelity": fidelity,
        "data": {"views": views},
        "optimizer": {"population": 7, "batches": batches},
        "max_queries": 28,
        "evaluate_every_generations": 2,
    }
    config = run_config(**changes)
    if draws_at_random and fidelity == "corrected":
        document = config.model_dump() | {
            "optimizer": {"kind": "random_search", "population": 7, "batches": batches}
        }
        config = RunConfig.model_validate(document)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        undisturbed = Outcome(config, [], Path(one))
        disturbed = Outcome(config, deaths, Path(other))
    assert disturbed.reports == undisturbed.reports
    assert disturbed.ledger.spent == undisturbed.ledger.spent
    assert disturbed.on_record == disturbed.ledger.spent
    assert disturbed.state.values == undisturbed.state.values
    for name, array in undisturbed.state.arrays.items():
        np.testing.assert_array_equal(disturbed.state.arrays[name], array, err_msg=name)
    # Not only counted once: served once.
    assert disturbed.oracle.candidates_served == undisturbed.oracle.candidates_served
    assert disturbed.oracle.predictions_served == undisturbed.oracle.predictions_served
    queries = 0 if method == "head" else 28
    assert disturbed.ledger.spent.candidate_queries == queries
    assert disturbed.oracle.candidates_served == queries * batches


@few
@given(
    head=st.sampled_from(["contexts", "both", "three searched", "searched and names"]),
    deaths=st.lists(st.integers(0, 12), max_size=5),
)
@example(head="contexts", deaths=[8, 4, 4])
@example(head="both", deaths=[7, 1, 6])
@example(head="three searched", deaths=[9, 12, 12, 5, 12])
@example(head="searched and names", deaths=[12, 12, 7])
def test_what_a_state_leaves_to_the_record_is_not_paid_for_again(
    head: str, deaths: list[int]
) -> None:
    """Answers that a head is fitted to in later generations are in no state."""
    config = probing(head, max_queries=48)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        undisturbed = Outcome(config, [], Path(one))
        disturbed = Outcome(config, deaths, Path(other))
    assert disturbed.reports == undisturbed.reports
    assert disturbed.on_record == disturbed.ledger.spent == undisturbed.ledger.spent
    assert disturbed.state.values == undisturbed.state.values
    for name, array in undisturbed.state.arrays.items():
        np.testing.assert_array_equal(disturbed.state.arrays[name], array, err_msg=name)
    assert disturbed.oracle.candidates_served == undisturbed.oracle.candidates_served
    assert disturbed.oracle.predictions_served == undisturbed.oracle.predictions_served


def test_what_the_record_has_lost_is_recalled_whatever_the_budget_and_counted_once(
    folder: Place,
) -> None:
    """The totals that a training is taken up with have it already, and may be all of it."""
    oracle = DyingOracle()
    world = make_world(run_config(), oracle, DATA)
    images, task = world.prepared.fitness.handle, world.prepared.task
    contexts_KLE = np.repeat(task.initial_context[None], 3, axis=0)
    ledger = QueryLedger(max_queries=3)
    ledger.record(cost_of("search", 3, images.num_images, task.num_classes))
    spent = ledger.spent
    with open_journal(folder) as journal:
        metered = MeteredOracle(oracle, ledger, journal)
        metered.begin_generation(1)
        with metered.recalling(0):
            lost = metered.predict(task, images, contexts_KLE, purpose="search")
        with pytest.raises(BudgetError):
            metered.predict(task, images, contexts_KLE, purpose="search")
        assert ledger.spent == journal.total() == spent
        (part,) = journal.parts(QueryId(0, "search", 0), None)
        np.testing.assert_array_equal(part.answer, lost)


WRITER = """
import sys
import numpy as np
from craft_ray.files.remote import locate
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.journal import open_journal
from craft_ray.metering.ledger import Spending
journal = open_journal(locate(sys.argv[1]))
for generation in range(1_000_000):
    cost = Spending(candidate_queries=1)
    losses = np.full(50, float(generation))
    journal.record(QueryId(generation, "search", 0), b"q", 0, cost, losses)
    print(generation, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 50])
def test_what_was_recorded_survives_sigkill(folder: Place, lines: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(lines):
        last = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.communicate()[0].split()
    acknowledged = max(last, int(rest[-1]) if rest and rest[-1].isdigit() else last)
    with open_journal(folder) as journal:
        # At most the one whose acknowledgement was cut off is there as well.
        assert 0 <= journal.total().candidate_queries - (acknowledged + 1) <= 1
        for generation in range(last + 1):
            (part,) = journal.parts(QueryId(generation, "search", 0), b"q")
            np.testing.assert_array_equal(part.answer, np.full(50, float(generation)))


FORGETTER = """
import sys
from craft_ray.files.remote import locate
from craft_ray.metering.journal import open_journal
journal = open_journal(locate(sys.argv[1]))
print("begins", flush=True)
for generation in range(1, 7):
    journal.forget_answers(generation, kept=[2])
    print(generation, flush=True)
journal.forget_answers()
print("all", flush=True)
journal.compact()
print("whole", flush=True)
"""


@pytest.mark.parametrize("line", ["begins", "1", "4", "all"])
def test_what_was_spent_survives_a_sigkill_while_answers_are_forgotten(
    folder: Place, line: str
) -> None:
    with open_journal(folder) as journal:
        for generation in range(6):
            for number in range(3):
                query = QueryId(generation, "head", number)
                journal.record(query, QUESTION, 0, COST, np.zeros((1, 40_000)))
        expected = journal.total()
    command = [sys.executable, "-c", FORGETTER, str(folder)]
    forgetter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert forgetter.stdout is not None
    while forgetter.stdout.readline().strip() != line:
        assert forgetter.poll() is None
    os.kill(forgetter.pid, signal.SIGKILL)
    forgetter.communicate()
    with open_journal(folder) as journal:
        assert journal.total() == expected
        journal.forget_answers()
        journal.compact()
    with open_journal(folder) as journal:
        assert journal.total() == expected
        assert journal.parts(QueryId(5, "head", 0), QUESTION) == []


@pytest.fixture
def folder(place: Place) -> Place:
    """Of a journal; each test of the contract runs on every kind."""
    return place / "folder"


@pytest.fixture
def journal(folder: Place) -> Iterator[Journal]:
    with open_journal(folder) as opened:
        yield opened


def test_a_part_is_counted_once_however_often_it_comes(journal: Journal, folder: Place) -> None:
    query = QueryId(3, "search", 0)
    assert journal.record(query, QUESTION, 0, COST, np.array([1.0, 2.0]))
    assert not journal.record(query, QUESTION, 0, COST, np.array([8.0, 9.0]))
    with open_journal(folder) as later:
        assert not later.record(query, QUESTION, 0, COST, np.array([8.0, 9.0]))
        for each in (journal, later):
            assert each.total() == COST
            (part,) = each.parts(query, QUESTION)
            assert part.answer.tolist() == [1.0, 2.0]


def test_two_writers_do_not_undo_each_other(journal: Journal, folder: Place) -> None:
    """A worker that is being replaced still writes its last answer."""
    query = QueryId(1, "search", 0)
    with open_journal(folder) as replacement:
        journal.record(query, QUESTION, 0, COST, np.array([1.0, 2.0]))
        replacement.record(query, QUESTION, 2, COST, np.array([3.0, 4.0]))
        replacement.record(query, QUESTION, 0, COST, np.array([1.0, 2.0]))
        journal.record(query, QUESTION, 2, COST, np.array([3.0, 4.0]))
    with open_journal(folder) as later:
        answers = [part.answer.tolist() for part in later.parts(query, QUESTION)]
        assert answers == [[1.0, 2.0], [3.0, 4.0]]
        assert later.total() == COST + COST


def test_a_new_journal_is_empty(journal: Journal, folder: Place) -> None:
    assert journal.is_empty()
    journal.record(QueryId(1, "search", 0), QUESTION, 0, COST, np.zeros(2))
    assert not journal.is_empty()
    with open_journal(folder) as later:
        assert not later.is_empty()
        later.forget_answers(before_generation=2)
        assert not later.is_empty()
    remove_journal(folder)
    with open_journal(folder) as removed:
        assert removed.is_empty()


def test_parts_come_back_in_order_with_type_and_shape(journal: Journal) -> None:
    query = QueryId(3, "search", 0)
    late = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    journal.record(query, QUESTION, 5, COST, late)
    journal.record(query, QUESTION, 0, COST, np.array([np.nan, np.inf]))
    journal.record(QueryId(3, "search", 1), b"other", 0, COST, np.zeros(1))
    first, second = journal.parts(query, QUESTION)
    assert (first.start, first.stop, second.start, second.stop) == (0, 2, 5, 7)
    assert np.isnan(first.answer[0])
    assert np.isinf(first.answer[1])
    np.testing.assert_array_equal(second.answer, late, strict=True)
    assert journal.parts(QueryId(4, "search", 0), QUESTION) == []


def test_an_empty_answer_can_be_kept(journal: Journal) -> None:
    query = QueryId(0, "images", 0)
    journal.record(query, QUESTION, 0, Spending(images_sent=7), np.zeros((1, 0), np.uint8))
    (part,) = journal.parts(query, QUESTION)
    assert part.answer.shape == (1, 0)
    assert part.spending.images_sent == 7


def test_another_question_at_the_same_place_is_refused(journal: Journal, folder: Place) -> None:
    query = QueryId(3, "search", 0)
    journal.record(query, QUESTION, 0, COST, np.zeros(2))
    with open_journal(folder) as later:
        for each in (journal, later):
            with pytest.raises(ArtifactError, match="generation 3 must ask what is on record"):
                each.parts(query, digest_of_question("something else?"))
        later.forget_answers(before_generation=4)
        with pytest.raises(ArtifactError, match="generation 3 must ask what is on record"):
            later.parts(query, digest_of_question("something else?"))


def test_forgotten_answers_stay_counted(journal: Journal, folder: Place) -> None:
    for generation in range(6):
        journal.record(QueryId(generation, "search", 0), QUESTION, 0, COST, np.zeros(2))
    journal.forget_answers(before_generation=1)
    journal.forget_answers(before_generation=2)
    with open_journal(folder) as resumed:
        resumed.forget_answers(before_generation=3)
        resumed.compact()
        resumed.record(QueryId(6, "search", 0), QUESTION, 0, COST, np.zeros(2))
        assert not resumed.record(QueryId(1, "search", 0), QUESTION, 0, COST, np.zeros(2))
        with open_journal(folder) as later:
            for each in (resumed, later):
                counts = [len(each.parts(QueryId(g, "search", 0), QUESTION)) for g in range(7)]
                assert counts == [0, 0, 0, 1, 1, 1, 1]
                assert each.total().candidate_queries == 14


def test_kept_generations_keep_their_answers_until_all_may_go(
    journal: Journal, folder: Place
) -> None:
    queries = [QueryId(generation, "head", 0) for generation in range(5)]
    for query in queries:
        journal.record(query, QUESTION, 0, COST, np.zeros((2, 3)))
    journal.forget_answers(before_generation=4, kept=[1, 3, 9])
    with open_journal(folder) as later:
        for each in (journal, later):
            assert [len(each.parts(query, QUESTION)) for query in queries] == [0, 1, 0, 1, 1]
        later.forget_answers()
        later.compact()
        assert [len(later.parts(query, QUESTION)) for query in queries] == [0] * 5
        assert later.total().candidate_queries == 10


def test_digests_tell_where_one_part_ends() -> None:
    assert digest_of_question("ab", "c") != digest_of_question("a", "bc")
    assert digest_of_question("a", b"b") == digest_of_question("a", "b")


def test_a_file_that_is_no_journal_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "queries.db"
    path.write_bytes(b"not a database at all, but long enough to look at" * 20)
    with pytest.raises(ArtifactError, match=r"queries\.db: must be a journal"):
        QueryJournal(path)


def no_room(path: object) -> Any:
    return SimpleNamespace(free=100_000)


def test_what_a_full_disk_cannot_keep_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = DyingOracle()
    config = run_config()
    world = make_world(config, oracle, DATA)
    with QueryJournal(tmp_path / "queries.db") as journal:
        metered = MeteredOracle(oracle, QueryLedger(config.max_queries), journal)
        trainer = make_trainer(metered, world.prepared, config)
        trainer.run_generation()
        served = oracle.candidates_served
        monkeypatch.setattr("craft_ray.metering.journal_sqlite.shutil.disk_usage", no_room)
        with pytest.raises(RunFailedError, match=r"must have 16 MB free .* but has 0\.1 MB"):
            trainer.run_generation()
        assert oracle.candidates_served == served
        assert journal.total().candidate_queries == served


def test_room_is_asked_for_by_what_the_answer_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = DyingOracle()
    world = make_world(run_config(), oracle, DATA)
    images = world.prepared.fitness.handle
    contexts_KLE = np.repeat(world.prepared.task.initial_context[None], 3, axis=0)
    num_bytes = 3 * images.num_images * world.prepared.task.num_classes * 4
    with QueryJournal(tmp_path / "queries.db") as journal:
        asked: list[int] = []
        monkeypatch.setattr(journal, "ensure_room", asked.append)
        metered = MeteredOracle(oracle, QueryLedger(10), journal)
        answer = metered.predict(world.prepared.task, images, contexts_KLE, purpose="evaluation")
        assert asked == [num_bytes] == [answer.nbytes]
        monkeypatch.undo()

        def nearly_full(path: object) -> Any:
            return SimpleNamespace(free=100 * 2**20)

        monkeypatch.setattr("craft_ray.metering.journal_sqlite.shutil.disk_usage", nearly_full)
        journal.ensure_room(80 * 2**20)
        with pytest.raises(RunFailedError, match=r"must have 106 MB free .* but has 100\.0 MB"):
            journal.ensure_room(90 * 2**20)


def test_an_answer_larger_than_a_value_of_sqlite_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craft_ray.metering.journal_sqlite.PIECE_BYTES", 1000, raising=False)
    query, large = QueryId(1, "validation", 0), np.arange(3000.0).reshape(2, 30, 50)
    with QueryJournal(tmp_path / "queries.db") as journal:
        journal._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 3000)  # as 1 GB is
        assert journal.record(query, QUESTION, 0, COST, large)
        assert not journal.record(query, QUESTION, 0, COST, large)
        journal.record(QueryId(2, "validation", 0), QUESTION, 0, COST, large[:, :, :1])
    with QueryJournal(tmp_path / "queries.db") as journal:
        (part,) = journal.parts(query, QUESTION)
        np.testing.assert_array_equal(part.answer, large, strict=True)
        journal.forget_answers(before_generation=2)
        assert journal.parts(query, QUESTION) == []
        assert len(journal.parts(QueryId(2, "validation", 0), QUESTION)) == 1
        journal.compact()
        assert (tmp_path / "queries.db").stat().st_size < large.nbytes
        assert journal.total() == COST + COST


def test_a_part_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("craft_ray.metering.journal_sqlite.PIECE_BYTES", 1000)
    with QueryJournal(tmp_path / "queries.db") as journal:
        journal._database.execute("PRAGMA max_page_count = 7")  # as a full disk
        with pytest.raises(RunFailedError, match="full"):
            journal.record(QueryId(1, "search", 0), QUESTION, 0, COST, np.zeros(100_000))
        assert journal.is_empty()
        assert journal.record(QueryId(1, "search", 1), QUESTION, 0, COST, np.zeros(1))


def test_nothing_beside_the_file_is_shared_memory(tmp_path: Path) -> None:
    """Which a folder that nodes share does not allow: a worker is replaced on another node, and a
    driver counts on a third."""
    query = QueryId(1, "search", 0)
    with QueryJournal(tmp_path / "queries.db") as journal:
        journal.record(query, QUESTION, 0, COST, np.zeros(2))
        with QueryJournal(tmp_path / "queries.db") as elsewhere:
            assert elsewhere.total() == COST
            journal.record(query, QUESTION, 2, COST, np.zeros(2))
            assert elsewhere.total() == COST + COST
            beside = {path.name for path in tmp_path.iterdir()}
            assert beside <= {"queries.db", "queries.db-journal"}


def test_a_change_that_was_cut_off_is_not_applied_to_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "queries.db").write_bytes(b"")
    (tmp_path / "queries.db-journal").write_bytes(b"of the old one")
    remove_journal(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    journal = QueryJournal(tmp_path / "queries.db")
    journal._database.execute("PRAGMA max_page_count = 4")  # as a full disk
    with pytest.raises(RunFailedError, match=r"queries\.db: must be writable, but: .* is full"):
        journal.record(QueryId(1, "search", 0), QUESTION, 0, COST, np.zeros(100_000))
    assert journal.total() == Spending()
    journal.close()


def test_a_journal_on_a_full_disk_is_no_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craft_ray.metering.journal_sqlite.shutil.disk_usage", no_room)
    (tmp_path / "queries.db").mkdir()  # cannot be opened
    with pytest.raises(RunFailedError, match=r"queries\.db: must be writable"):
        QueryJournal(tmp_path / "queries.db")


@pytest.fixture
def objects(s3: S3Server, request: pytest.FixtureRequest) -> RemotePath:
    return RemotePath(s3.address(request.node.name))


def stored_in(folder: RemotePath) -> list[RemotePath]:
    """The objects of its journal, but for that which names it."""
    return [path for path in folder.files_below() if path.parent.name != IDENTITY_FOLDER]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is sent by itself."""
    monkeypatch.setattr(journal_objects, "SENT_EVERY_S", 0.0)


def test_a_damaged_object_is_refused_by_name(objects: RemotePath, at_once: None) -> None:
    query = QueryId(1, "search", 0)
    with open_journal(objects) as journal:
        journal.record(query, QUESTION, 0, COST, np.zeros(2))
    (path,) = stored_in(objects)
    content = path.read_bytes()
    cheaper = content.replace(b'"search_predictions": 20', b'"search_predictions": 10')
    assert cheaper != content
    for damaged in (b"", content[:-1], content + b"x", cheaper):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"000000\?.*: must be of a journal .*checksum"):
            open_journal(objects)


def test_a_strange_object_is_refused_by_name(objects: RemotePath) -> None:
    (objects / "queries" / "00000001" / "note.txt").write_bytes(b"hello")
    with pytest.raises(ArtifactError, match=r"note\.txt\?.*: must be of a journal"):
        open_journal(objects)


def test_what_was_forgotten_but_not_removed_is_counted_once(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between the two."""
    with open_journal(objects) as journal:
        journal.record(QueryId(0, "search", 0), QUESTION, 0, COST, np.zeros(2))
        with monkeypatch.context() as patch:
            patch.setattr(RemotePath, "remove_all", lambda _: None)
            journal.forget_answers(before_generation=1)
    with open_journal(objects) as journal:
        assert journal.total() == COST
        assert journal.parts(QueryId(0, "search", 0), QUESTION) == []


def test_parts_are_sent_together_and_forgetting_leaves_few(objects: RemotePath) -> None:
    with open_journal(objects) as journal:
        for generation in range(5):
            for start in range(0, 30, 10):
                query = QueryId(generation, "search", 0)
                journal.record(query, QUESTION, start, COST, np.full(10, float(start)))
            if generation:
                journal.forget_answers(before_generation=generation)
        assert len(stored_in(objects)) == 4, "what was forgotten was never sent"
        journal.compact()
        assert len(stored_in(objects)) == 1
    assert len(stored_in(objects)) == 1 + 1
    with open_journal(objects) as later:
        assert later.total().candidate_queries == 5 * 3 * COST.candidate_queries
        kept = later.parts(QueryId(4, "search", 0), QUESTION)
        assert [part.answer.tolist() for part in kept] == [[s] * 10 for s in (0.0, 10.0, 20.0)]
        assert later.parts(QueryId(3, "search", 0), QUESTION) == []


def test_objects_go_when_all_that_was_sent_with_them_is_forgotten(
    objects: RemotePath, at_once: None
) -> None:
    with open_journal(objects) as journal:
        for generation in range(6):
            record_generations(journal, range(generation, generation + 1))
            journal.forget_answers(before_generation=generation)
            assert len(journal.parts(QueryId(generation, "search", 0), QUESTION)) == 1
        stored = stored_in(objects)
        answers = [path for path in stored if path.parent.parent.name != FORGOTTEN_FOLDER]
    assert len({path.parent for path in answers}) == 1
    with open_journal(objects) as later:
        assert later.total().candidate_queries == 6 * COST.candidate_queries


def test_much_that_waits_is_sent(objects: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_objects, "SENT_BYTES", 1000)
    with open_journal(objects) as journal:
        record_generations(journal, range(50))  # of 16 bytes each
        assert stored_in(objects) == []
        record_generations(journal, range(50, 70))
        assert len(stored_in(objects)) == 1


def test_parts_that_come_seldom_are_sent_at_once(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(journal_objects, "time", SimpleNamespace(monotonic=lambda: now_s))
    with open_journal(objects) as journal:
        record_generations(journal, range(1))
        assert stored_in(objects) == []
        for generation in range(1, 4):
            now_s += journal_objects.SENT_EVERY_S
            record_generations(journal, range(generation, generation + 1))
            assert len(stored_in(objects)) == generation
        now_s += journal_objects.SENT_EVERY_S / 2
        record_generations(journal, range(4, 5))
        assert len(stored_in(objects)) == 3


def test_after_the_end_of_a_machine_what_it_had_sent_is_on_record(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = open_journal(objects)
    record_generations(journal, range(3))
    with monkeypatch.context() as patch:
        patch.setattr(journal_objects, "SENT_EVERY_S", 0.0)
        record_generations(journal, range(3, 4))
    record_generations(journal, range(4, 6))  # and then it dies
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))  # without its disk
        with open_journal(objects) as elsewhere:
            assert elsewhere.total().candidate_queries == 4 * COST.candidate_queries
            assert len(elsewhere.parts(QueryId(2, "search", 0), QUESTION)) == 1
            assert elsewhere.parts(QueryId(4, "search", 0), QUESTION) == []
            record_generations(elsewhere, range(4, 5))
    with open_journal(objects) as here:  # what was asked twice is counted once
        assert here.total().candidate_queries == 6 * COST.candidate_queries


def test_whoever_only_counts_sends_nothing(objects: RemotePath) -> None:
    writer = open_journal(objects)
    record_generations(writer, range(3))
    with open_journal(objects) as reader:
        assert reader.total() == writer.total()
    assert stored_in(objects) == []
    with writer:
        pass
    assert len(stored_in(objects)) == 1
    assert outbox_of(objects).all() == {}


def outbox_of(folder: RemotePath) -> Outbox:
    (identity,) = StoredParts(folder / JOURNAL_FOLDER).identities()
    return Outbox(identity)


def test_what_was_sent_and_not_dropped_is_not_sent_again(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between the two."""
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "drop", lambda *_: None)
        with open_journal(objects) as journal:
            record_generations(journal, range(3))
    assert len(outbox_of(objects).all()) == 3
    with open_journal(objects) as later:
        assert later.total().candidate_queries == 3 * COST.candidate_queries
        record_generations(later, range(3, 4))
    assert outbox_of(objects).all() == {}
    assert len(stored_in(objects)) == 2


def test_what_waits_of_two_who_began_at_the_same_time_is_found(objects: RemotePath) -> None:
    """A worker that is cut off before its first answer, and its successor: each gives a name."""
    cut_off, successor = open_journal(objects), open_journal(objects)
    record_generations(cut_off, range(1))
    record_generations(successor, range(3))
    with open_journal(objects) as later:
        assert [len(later.parts(QueryId(g, "search", 0), QUESTION)) for g in range(3)] == [1, 1, 1]
        assert later.total().candidate_queries == 3 * COST.candidate_queries
        later.flush()
    remove_journal(objects)
    with open_journal(objects) as anew:
        assert anew.is_empty()


def test_who_dies_before_the_objects_are_gone_leaves_them_to_the_next(
    objects: RemotePath, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(objects) as journal:
        record_generations(journal, range(3))
        with monkeypatch.context() as dying:
            dying.setattr(StoredParts, "_remove", full)
            with pytest.raises(RunFailedError):
                journal.forget_answers()
    assert len(stored_in(objects)) == 4
    with open_journal(objects) as later:
        later.forget_answers()
        assert later.total().candidate_queries == 3 * COST.candidate_queries
    (left,) = stored_in(objects)
    assert left.parent.parent.name == FORGOTTEN_FOLDER


def test_a_removed_journal_leaves_nothing_in_the_outbox(objects: RemotePath) -> None:
    record_generations(open_journal(objects), range(3))
    remove_journal(objects)
    with open_journal(objects) as journal:
        assert journal.is_empty()


def test_an_outbox_that_is_not_ours_alone_is_refused(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"craft-ray-outbox-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(RunFailedError, match="must be a folder of this user alone"):
        record_generations(open_journal(objects), range(1))


def test_a_full_disk_of_what_waits_is_refused_before_anything_is_asked(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = DyingOracle()
    config = run_config()
    world = make_world(config, oracle, DATA)
    with open_journal(objects) as journal:
        metered = MeteredOracle(oracle, QueryLedger(config.max_queries), journal)
        trainer = make_trainer(metered, world.prepared, config)
        served = oracle.candidates_served
        monkeypatch.setattr("craft_ray.metering.outbox.shutil.disk_usage", no_room)
        with pytest.raises(RunFailedError, match=r"must have 16 MB free .* has 0\.1 MB.* TMPDIR"):
            trainer.run_generation()
        assert oracle.candidates_served == served


def full(*_: object) -> None:
    raise RunFailedError("the disk is full")


def test_a_large_answer_is_sent_and_not_kept_on_the_disk_before(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_objects, "SENT_BYTES", 1000)
    large = np.arange(125.0)
    query = QueryId(7, "evaluation", 0)
    with open_journal(objects) as journal:
        record_generations(journal, range(2))
        monkeypatch.setattr(Outbox, "keep", full)
        journal.record(query, QUESTION, 0, COST, large)
        assert len(stored_in(objects)) == 1, "with what waited"
        with open_journal(objects) as later:
            np.testing.assert_array_equal(later.parts(query, QUESTION)[0].answer, large)
            assert later.total() == journal.total()
        with pytest.raises(RunFailedError, match="disk is full"):
            record_generations(journal, range(2, 3))


def test_a_large_answer_that_the_store_does_not_take_waits_on_the_disk(
    objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_objects, "SENT_BYTES", 1000)
    journal = open_journal(objects)
    journal.ensure_room(1000)
    with monkeypatch.context() as away:
        away.setattr(StoredParts, "put", full)
        with pytest.raises(RunFailedError):
            journal.record(QueryId(7, "evaluation", 0), QUESTION, 0, COST, np.arange(125.0))
    with open_journal(objects) as later:
        assert later.total() == COST
        assert later.parts(QueryId(7, "evaluation", 0), QUESTION)[0].answer[-1] == 124.0


@pytest.mark.parametrize("damage", ["cut", "empty", "other bytes", "no part"])
def test_a_torn_answer_that_waits_is_dropped_by_name_and_asked_for_again(
    damage: str, objects: RemotePath, caplog: pytest.LogCaptureFixture
) -> None:
    """As the end of a machine may leave it."""
    record_generations(open_journal(objects), range(3))
    outbox = outbox_of(objects)
    name = "1-search-0-0"
    path = outbox._folder / name
    content = path.read_bytes()
    if damage == "no part":
        outbox.keep(name, b"whole, but of another version")
    else:
        torn = {"cut": content[:-3], "empty": b"", "other bytes": content[:-1] + b"x"}
        path.write_bytes(torn[damage])
    with open_journal(objects) as later:
        assert f"{path}: must be an answer that was not sent yet" in caplog.text
        assert not path.exists()
        assert later.total().candidate_queries == 2 * COST.candidate_queries
        record_generations(later, range(3))
        assert later.total().candidate_queries == 3 * COST.candidate_queries


def test_a_new_run_at_the_address_of_an_old_one_takes_nothing_of_its_answers(
    objects: RemotePath,
) -> None:
    record_generations(open_journal(objects), range(3))
    objects.remove_all()  # by hand, or from another machine
    with open_journal(objects) as journal:
        assert journal.is_empty()
        assert journal.record(QueryId(0, "search", 0), b"other", 0, COST, np.ones(2))
    with open_journal(objects) as later:
        (part,) = later.parts(QueryId(0, "search", 0), b"other")
        assert part.answer.tolist() == [1.0, 1.0]
        assert later.total() == COST


def test_forgetting_does_not_remove_what_another_writer_has_sent_since(
    objects: RemotePath, at_once: None
) -> None:
    with open_journal(objects) as writer:
        record_generations(writer, range(2))
        with open_journal(objects) as successor:
            record_generations(writer, range(2, 4))
            record_generations(successor, range(4, 5))
            successor.forget_answers(before_generation=4)
            expected = 5 * COST.candidate_queries
            with open_journal(objects) as later:
                assert later.total().candidate_queries == expected
                counts = [len(later.parts(QueryId(g, "search", 0), QUESTION)) for g in range(5)]
                assert counts == [0, 0, 1, 1, 1]


def test_compacting_keeps_what_another_writer_has_forgotten_since(
    objects: RemotePath, at_once: None
) -> None:
    with open_journal(objects) as writer:
        record_generations(writer, range(2))
        writer.forget_answers(before_generation=1)
        with open_journal(objects) as successor:
            record_generations(writer, range(2, 4))
            writer.forget_answers(before_generation=4)
            successor.compact()
    with open_journal(objects) as later:
        assert later.total().candidate_queries == 4 * COST.candidate_queries
    names = [path.parent.parent.name for path in stored_in(objects)]
    assert names.count(FORGOTTEN_FOLDER) == 1


def test_a_listing_that_cannot_be_read_to_its_end_changes_nothing(
    objects: RemotePath, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would say of the rest that it was never asked."""
    with open_journal(objects) as writer:
        record_generations(writer, range(4))
        with open_journal(objects) as reader:
            record_generations(writer, range(4, 6))
            reads = StoredParts._read_together

            def gone(stored: StoredParts, path: RemotePath) -> Any:
                if path.name == "000005":
                    raise PartGoneError("gone")
                return reads(stored, path)

            with monkeypatch.context() as patch:
                patch.setattr(StoredParts, "_read_together", gone)
                with pytest.raises(PartGoneError):
                    reader._take_up()  # type: ignore[attr-defined]
            counts = [len(reader.parts(QueryId(g, "search", 0), QUESTION)) for g in range(4)]
            assert counts == [1, 1, 1, 1]
            assert reader.total().candidate_queries == 4 * COST.candidate_queries


def record_generations(journal: Journal, generations: range) -> None:
    for generation in generations:
        journal.record(QueryId(generation, "search", 0), QUESTION, 0, COST, np.zeros(2))


@pytest.mark.parametrize("sent_every_s", [0.0, 60.0])
def test_what_a_writer_forgets_while_it_is_counted_is_counted(
    sent_every_s: float, objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_objects, "SENT_EVERY_S", sent_every_s)
    with open_journal(objects) as writer:
        record_generations(writer, range(2))
        writer.forget_answers(before_generation=1)
        record_generations(writer, range(2, 4))
        expected = writer.total()
        reader = open_journal(objects)
        writer.forget_answers(before_generation=3)
        assert reader.total() == expected
        assert len(reader.parts(QueryId(3, "search", 0), QUESTION)) == 1
        # Of what is gone it has what it had read.
        assert len(reader.parts(QueryId(1, "search", 0), QUESTION)) == (sent_every_s > 0)
        assert reader.total() == expected


@pytest.mark.parametrize("sent_every_s", [0.0, 60.0])
@pytest.mark.parametrize("change", ["forget", "compact", "send"])
def test_a_journal_is_opened_while_its_writer_goes_on(
    change: str, sent_every_s: float, objects: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(objects) as writer:
        monkeypatch.setattr(journal_objects, "SENT_EVERY_S", sent_every_s)
        record_generations(writer, range(4))
        writer.forget_answers(before_generation=1)
        writer.forget_answers(before_generation=2)
        expected = writer.total()
        fresh = RemotePath.files_below
        changes = [change]

        def files_below(folder: RemotePath) -> list[RemotePath]:
            found = fresh(folder)
            if changes:  # right after the reader has listed
                changes.clear()
                if change == "forget":
                    writer.forget_answers(before_generation=3)
                elif change == "compact":
                    writer.compact()
                else:
                    writer.__exit__(None, None, None)
            return found

        monkeypatch.setattr(RemotePath, "files_below", files_below)
        assert open_journal(objects).total() == expected
        assert changes == []


def test_a_file_that_goes_while_it_is_read_does_not_exist(objects: RemotePath) -> None:
    path = objects / "file"
    path.write_bytes(b"content")

    class Vanishing:
        """Answers how long the file is, and no more."""

        def open_input_file(self, _: str) -> io.BytesIO:
            path.unlink()
            raise OSError("AWS Error RESOURCE_NOT_FOUND during GetObject operation")

    class Racing(RemotePath):
        @property
        def _store(self) -> Any:
            return Vanishing()

        def exists(self) -> bool:
            return path.exists()

    with pytest.raises(FileNotFoundError, match="does not exist"):
        Racing(str(path)).read_bytes()


def test_a_store_that_is_gone_ends_the_run_and_not_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("craft_ray.files.remote.MAX_ATTEMPTS", 2)
    with s3_server() as server:
        address = RemotePath(server.address("gone"))
        journal = open_journal(address)
        journal.ensure_room(1)  # before the first question
        outbox = outbox_of(address)
        server.kill()
        with pytest.raises(RunFailedError, match=r"/gone/queries/.*-0000/000000\?"), journal:
            record_generations(journal, range(1))
        assert journal.total() == COST, "it waits in the outbox"
        with pytest.raises(ValueError, match="of the run"), journal:  # not hidden by the store
            raise ValueError("of the run")
    assert len(outbox.all()) == 1
    outbox.remove()
    assert outbox.all() == {}
