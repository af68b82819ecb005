"""What a fine-tuning reports and stores, from the start and after it was taken up again."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place, RemotePath
from craft_ray.files.whole_files import write_text
from craft_ray.jobs import tuning
from craft_ray.jobs.job import (
    POINTS,
    REPLAYED,
    RESULT_FILE,
    STATES_FOLDER,
    BoardLostError,
    Report,
    write_result,
)
from craft_ray.jobs.tuned import Tuned, read_selected, read_tuned
from craft_ray.jobs.tuning import tune
from craft_ray.metering import journal_objects
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_objects import ObjectJournal
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.arithmetic import last_bits
from craft_ray.method.projection import PromptProjection
from craft_ray.tuners.state import VALUES_FILE, load_newest_state
from tests.support.classifiers import as_prompt
from tests.support.fake_pool import FakePool
from tests.support.probing import DATA as PROBING_DATA
from tests.support.probing import probing
from tests.support.reporters import SilentReporter
from tests.support.s3_server import S3Server
from tests.support.world import make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
GENERATIONS = [2, 4, 5]
"""That are validated."""


class Work:
    """Attempts at one fine-tuning, each as if by another process."""

    def __init__(
        self, folder: Place, monkeypatch: pytest.MonkeyPatch, max_queries: int = 40
    ) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.pool = FakePool()
        config = run_config(max_queries=max_queries)
        self.world = make_world(config, data=DATA, oracle=self.pool)
        monkeypatch.setattr(tuning, "PoolOracle", lambda *words: self.pool)

    def attempt(
        self, stop_after: int | None = None, reporter: SilentReporter | None = None
    ) -> tuple[Tuned, SilentReporter, int]:
        """What came of it, what was reported, and the number of questions."""
        before, reporter = len(self.pool.questions), reporter or SilentReporter(stop_after)
        world = self.world
        with open_journal(self.folder) as journal:
            tuned = tune(
                world.config, world.prepared, cast(Any, None), self.folder, journal, reporter
            )
        return tuned, reporter, len(self.pool.questions) - before

    def states(self) -> list[Path]:
        assert isinstance(self.folder, Path)
        return sorted((self.folder / STATES_FOLDER).iterdir())


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(tmp_path, monkeypatch)


def generations_of(reporter: SilentReporter) -> list[int]:
    return [report["generation"] for _, report in sorted(reporter.reports.items())]


def timeless(reports: list[Report]) -> list[Report]:
    """What another attempt would report as well."""
    return [{**report, "train_seconds": 0.0} for report in reports]


def test_each_validation_is_reported_and_two_states_are_kept(work: Work) -> None:
    tuned, reporter, _ = work.attempt()
    assert reporter.order == [0, 1, 2]
    assert generations_of(reporter) == GENERATIONS
    assert [report["outcome"] for report in tuned.reports] == ["running", "running", "finished"]
    assert [path.name for path in work.states()] == ["00000004", "00000005"]
    assert [queries for queries, _ in tuned.curve] == [16, 32, 40]
    with open_journal(work.folder) as journal:
        assert tuned.spent == journal.total()
    selected = as_prompt(read_selected(work.folder).classifier)
    state = load_newest_state(work.folder / STATES_FOLDER)
    assert state is not None
    assert tuned.last is not None
    assert state.values["selected"]["accuracy"] == tuned.last["val_accuracy"]
    assert selected.context_LE.shape == work.world.prepared.task.initial_context.shape


def test_a_finished_one_repeats_its_reports_and_asks_nothing(work: Work) -> None:
    first, heard, _ = work.attempt()
    again, repeated, questions = work.attempt()
    assert questions == 0
    assert again == first
    assert repeated.order == heard.order
    fresh = {key: value for key, value in heard.reports[2].items() if key != "image_predictions"}
    # With the points that nobody may have heard; what was asked depends on who else has asked.
    assert repeated.reports[2] == {**fresh, REPLAYED: True}
    assert [report[POINTS] for report in list(repeated.reports.values())[:2]] == [[], []]


def test_one_that_died_after_a_report_goes_on_from_there(work: Work) -> None:
    whole, _, _ = work.attempt()
    shutil.rmtree(work.states()[-1])  # as if its worker had died before the last generation
    again, reporter, _ = work.attempt()
    assert reporter.order == [0, 1, 2]
    assert generations_of(reporter) == GENERATIONS
    assert timeless(again.reports) == timeless(whole.reports)
    assert (again.curve, again.spent) == (whole.curve, whole.spent)
    assert again.seconds > 0


def test_one_that_died_in_its_first_state_begins_anew_and_asks_only_what_it_had_not(
    work: Work,
) -> None:
    whole, heard, whole_questions = work.attempt()
    other = Work(work.folder / "other", work.monkeypatch)
    _, _, before = other.attempt(stop_after=1)
    (state,) = other.states()
    (state / VALUES_FILE).unlink()
    again, repeated, after = other.attempt()
    assert before + after == whole_questions
    assert timeless(again.reports) == timeless(whole.reports)
    assert repeated.order == heard.order
    assert (again.curve, again.spent) == (whole.curve, whole.spent)


def test_one_whose_states_are_lost_pays_for_nothing_a_second_time(work: Work) -> None:
    work.attempt()
    for state in work.states():
        (state / VALUES_FILE).unlink()
    asked = len(work.pool.questions)
    with pytest.raises(ArtifactError, match="no checkpoint can be read"):
        work.attempt()
    assert len(work.pool.questions) == asked


def test_one_that_is_told_to_stop_keeps_what_it_has_and_can_be_taken_up(work: Work) -> None:
    stopped, reporter, _ = work.attempt(stop_after=1)
    assert stopped.outcome == "stopped early"
    assert generations_of(reporter) == GENERATIONS[:1]
    assert read_tuned(work.folder).reports == stopped.reports
    finished, _, _ = work.attempt()
    assert finished.outcome == "finished"
    assert [queries for queries, _ in finished.curve] == [16, 32, 40]


def test_what_was_cut_off_is_read_from_its_state_and_its_record(work: Work) -> None:
    nothing = read_tuned(work.folder)
    assert (nothing.outcome, nothing.reports, nothing.evidence) == ("running", [], None)
    tuned, _, _ = work.attempt()
    cut = read_tuned(work.folder)
    assert cut.outcome == "running"
    assert (cut.reports, cut.spent, cut.curve) == (tuned.reports, tuned.spent, tuned.curve)
    write_result(work.folder, tuned.as_dict())
    assert read_tuned(work.folder) == tuned
    assert tuned.evidence is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"outcome": "finished"}'])
def test_a_damaged_result_is_told(work: Work, text: str) -> None:
    write_text(work.folder / RESULT_FILE, text)
    with pytest.raises(ArtifactError):
        read_tuned(work.folder)


def test_without_a_state_nothing_is_selected(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must have a state, but has none"):
        read_selected(tmp_path)


def go_to_another_machine(work: Work, name: str, towards: float) -> None:
    """Where the same candidates end in other last bits."""
    contexts = PromptProjection.contexts

    def other_bits(self: PromptProjection, points_PD: Any) -> Any:
        return np.nextafter(contexts(self, points_PD), np.float32(towards))

    work.monkeypatch.setattr(PromptProjection, "contexts", other_bits)
    work.monkeypatch.setattr(tuning, "last_bits", lambda: name)


def test_another_machine_asks_nothing_that_is_on_record(work: Work) -> None:
    whole, heard, _ = work.attempt()
    shutil.rmtree(work.states()[-1])
    go_to_another_machine(work, "another", 1e9)
    again, reporter, questions = work.attempt()
    assert questions == 0
    assert again.spent == whole.spent
    assert generations_of(reporter) == generations_of(heard)
    # What is on record since the state is of both machines: either may go on.
    shutil.rmtree(work.states()[-1])
    work.monkeypatch.undo()
    work.monkeypatch.setattr(tuning, "PoolOracle", lambda *words: work.pool)
    go_to_another_machine(work, last_bits(), -1e9)
    assert work.attempt()[2] == 0


@pytest.mark.parametrize("others", [False, True], ids=["data", "bits of this machine"])
def test_other_questions_are_refused_wherever_it_goes_on(work: Work, others: bool) -> None:
    work.attempt()
    shutil.rmtree(work.states()[-1])
    if others:
        go_to_another_machine(work, last_bits(), 1e9)  # which no arithmetic explains
    else:
        go_to_another_machine(work, "another", 1e9)
        work.world = make_world(work.world.config, data=world_data(3, 5), oracle=work.pool)
    with pytest.raises(ArtifactError, match="must ask what is on record"):
        work.attempt()


class Lost(SilentReporter):
    """Whoever hears it is gone at a report.

    Args:
        at: the number of the report.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def send(self, index: int, report: Report) -> None:
        if index == self._at:
            raise BoardLostError
        super().send(index, report)


class Clock:
    """In place of `time`: every generation takes the same time.

    Args:
        seconds: of a generation.
    """

    def __init__(self, seconds: float) -> None:
        self._now_s, self._seconds = 0.0, seconds
        self.time_ns = time.time_ns

    def monotonic(self) -> float:
        return self._now_s

    def go_on(self, generation: int) -> None:
        """Another one begins."""
        self._now_s += self._seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """One that says that a trial of 200 generations takes its share of eight hours, in which 100
    trials are made, four at a time."""
    clock = Clock(8 * 3600 * 4 / 100 / 200)
    begin = MeteredOracle.begin_generation

    def begin_generation(oracle: MeteredOracle, generation: int) -> None:
        clock.go_on(generation)
        begin(oracle, generation)

    monkeypatch.setattr(MeteredOracle, "begin_generation", begin_generation)
    monkeypatch.setattr(tuning, "time", clock)
    monkeypatch.setattr(journal_objects, "time", clock)
    return clock


@pytest.mark.parametrize("lost_at", [0, 1, 20, 45])
def test_on_an_object_store_one_that_died_asks_nothing_twice_either(
    lost_at: int,
    tmp_path: Path,
    s3: S3Server,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = 8 * 100
    whole, heard, questions = Work(tmp_path, monkeypatch, queries).attempt()
    assert len(heard.order) == 50
    work = Work(RemotePath(s3.address(f"lost/{lost_at}")), monkeypatch, queries)
    by_driver = len(work.pool.questions)
    with pytest.raises(BoardLostError):
        work.attempt(reporter=Lost(lost_at))
    before = len(work.pool.questions) - by_driver
    again, repeated, after = work.attempt()
    assert before + after == questions
    assert repeated.order == heard.order
    assert timeless(again.reports) == timeless(whole.reports)
    assert (again.curve, again.spent) == (whole.curve, whole.spent)
    kept, best = (read_selected(folder).classifier for folder in (work.folder, tmp_path))
    for name, array in best.arrays().items():
        np.testing.assert_array_equal(kept.arrays()[name], array)


@pytest.mark.parametrize(
    ("head", "queries", "lost_at"), [("contexts", 8, 1), ("both", 5, 1), ("three searched", 40, 3)]
)
def test_a_state_on_an_object_store_never_counts_what_was_lost_with_the_machine(
    head: str,
    queries: int,
    lost_at: int,
    tmp_path: Path,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answers are on the store first: these heads go on from them, and they are paid for."""
    work = Work(RemotePath(s3.address(f"machine/{head}")), monkeypatch)
    config = probing(head, evaluate_every_generations=1, max_queries=queries)
    work.world = make_world(config, data=PROBING_DATA, oracle=work.pool)
    with monkeypatch.context() as killed:
        killed.setattr(ObjectJournal, "__exit__", lambda *_: None)
        with pytest.raises(BoardLostError):
            work.attempt(reporter=Lost(lost_at))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # without its disk
    again, _, _ = work.attempt()
    assert again.outcome == "finished"
    assert again.spent.candidate_queries == queries
    assert again.curve[-1][0] == queries


def test_on_an_object_store_one_goes_on_after_any_number_of_changes_of_machine(
    tmp_path: Path, s3: S3Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second machine keeps states while it goes through the record of the first, and dies
    before that ends: its successor, of the same kind, finds more of that record."""
    queries = 8 * 100
    _, heard, questions = Work(tmp_path, monkeypatch, queries).attempt()
    work = Work(RemotePath(s3.address("moved")), monkeypatch, queries)
    before = len(work.pool.questions)
    with pytest.raises(BoardLostError):
        work.attempt(reporter=Lost(45))
    go_to_another_machine(work, "another", 1e9)
    for lost_at in (35, 42, 47):
        with pytest.raises(BoardLostError):
            work.attempt(reporter=Lost(lost_at))
    again, repeated, _ = work.attempt()
    assert again.outcome == "finished"
    assert repeated.order == heard.order
    assert len(work.pool.questions) - before == questions


def test_on_an_object_store_one_that_is_stopped_keeps_what_it_has_reported(
    s3: S3Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(RemotePath(s3.address("stopped")), monkeypatch, 8 * 100)
    tuned, _, _ = work.attempt(stop_after=7)
    assert tuned.outcome == "stopped early"
    names = sorted(path.name for path in (work.folder / STATES_FOLDER).iterdir())
    assert names[-1] == "00000014", "the seventh report is of this generation"
    assert read_tuned(work.folder).reports == tuned.reports


def test_a_trial_of_hours_makes_few_requests_to_an_object_store(
    s3: S3Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: Counter[str] = Counter()

    def count(name: str, of_each: int) -> None:
        method = getattr(RemotePath, name)

        def counted(*words: Any, **more: Any) -> Any:
            requests[name] += of_each
            return method(*words, **more)

        monkeypatch.setattr(RemotePath, name, counted)

    # As pyarrow makes them of a server: two where a folder is asked for, or a file removed.
    for name, of_each in (
        ("write_bytes", 1), ("read_bytes", 2), ("exists", 2), ("stat", 2), ("unlink", 4),
        ("remove_all", 5), ("_list", 1),
    ):  # fmt: skip
        count(name, of_each)
    work = Work(RemotePath(s3.address("long")), monkeypatch, 8 * 200)
    _, heard, _ = work.attempt()
    assert len(heard.order) == 100
    assert requests["write_bytes"] < 50
    assert requests.total() < 100
