"""A rerun asks nothing that an earlier run was answered, and gives the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.config.sections import AnswerCacheConfig
from craft_ray.errors import ConfigError
from craft_ray.metering.answer_cache import AnswerCache, open_answer_cache
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending, cost_of
from craft_ray.metering.losses_in_parts import IntArray, losses_in_parts
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.question_record import QuestionRecord
from craft_ray.oracle.contract import LossArray, OnPart
from craft_ray.tuners.base import GenerationReport
from craft_ray.tuners.registry import make_trainer
from tests.support.dying_oracle import DiedError, DyingOracle
from tests.support.fake_oracle import FakeOracle
from tests.support.known import known
from tests.support.world import make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
MB = 2**20


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def run(
    folder: Path, name: str, **changes: Any
) -> tuple[list[GenerationReport], Spending, DyingOracle, Spending]:
    """A whole run with a cache in `folder`: reports, ledger, its oracle, what is on record. What
    the driver asks before it, without a cache here, is not of it."""
    config = run_config(**changes)
    oracle = DyingOracle()
    world = make_world(config, oracle, DATA)
    oracle.predictions_served = 0
    ledger = QueryLedger(config.max_queries)
    cache = AnswerCache(folder / "cache", 10 * MB)
    with QueryJournal(folder / f"{name}.db") as journal:
        metered = MeteredOracle(oracle, ledger, journal, cache)
        trainer = make_trainer(metered, world.prepared, config)
        reports = []
        while not trainer.finished:
            reports.append(trainer.run_generation())
        recorded = journal.total()
    cache.close()
    return reports, ledger.spent, oracle, recorded


def test_a_rerun_costs_nothing_and_gives_the_same(tmp_path: Path) -> None:
    first, paid, oracle, _ = run(tmp_path, "first")
    again, spent, asked, recorded = run(tmp_path, "again")
    assert oracle.candidates_served == paid.candidate_queries == 40
    assert asked.candidates_served == asked.predictions_served == 0
    assert spent == recorded == paid.saved
    assert (spent.cached_candidates, spent.image_predictions) == (40, 0)
    assert [r.validation for r in again] == [r.validation for r in first]
    assert [r.fitness_best for r in again] == [r.fitness_best for r in first]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"loss": {"prompt_consistency": 0.5}},
        {"optimizer": {"sigma": 0.4}},
        {"head": {"learning_rate": 0.02}},
    ],
    ids=str,
)
def test_what_is_another_question_is_asked(tmp_path: Path, changes: dict[str, Any]) -> None:
    run(tmp_path, "first")
    _, spent, oracle, _ = run(tmp_path, "other", **changes)
    assert spent.candidate_queries + spent.cached_candidates == 40
    assert oracle.candidates_served == spent.candidate_queries > 0


def test_a_longer_run_pays_for_what_is_new(tmp_path: Path) -> None:
    run(tmp_path, "first")
    _, spent, oracle, _ = run(tmp_path, "longer", max_queries=64)
    assert spent.cached_candidates == 40
    assert spent.candidate_queries == oracle.candidates_served == 24


def test_another_oracle_shares_nothing(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, MB)
    oracle, other = DyingOracle(), DyingOracle()
    other._seed = 5
    answers = []
    for box in (oracle, other):
        metered = MeteredOracle(box, QueryLedger(0), cache=cache)
        world = make_world(oracle=box, data=DATA)
        box.predictions_served = 0
        contexts = world.prepared.task.initial_context[None]
        handle = known(world.prepared.validation).handle
        answers.append(metered.predict(world.prepared.task, handle, contexts, purpose="evaluation"))
    assert other.predictions_served == 1
    assert not np.array_equal(answers[0], answers[1])


def test_another_device_shares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers differ in the last bits, and a result would not be that of either."""
    cache = AnswerCache(tmp_path, MB)
    oracle = DyingOracle()
    world = make_world(oracle=oracle, data=DATA)
    description = oracle.describe()
    contexts = world.prepared.task.initial_context[None]
    served = []
    for device in ("cpu", "cpu", "cuda"):
        there = replace(description, computed_by=device)
        monkeypatch.setattr(oracle, "describe", lambda there=there: there)
        before = oracle.predictions_served
        metered = MeteredOracle(oracle, QueryLedger(0), cache=cache)
        handle = known(world.prepared.validation).handle
        metered.predict(world.prepared.task, handle, contexts, purpose="evaluation")
        served.append(oracle.predictions_served - before)
    assert served == [1, 0, 1]


def test_answers_come_back_from_the_files_as_they_were(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, MB)
    kept = {
        key(0): np.arange(6, dtype=np.float32).reshape(1, 3, 2),
        key(1): np.array([np.nan, np.inf, -0.0]),
        key(2): np.zeros((1, 0), dtype=np.uint8),
    }
    for question, answer in kept.items():
        cache.keep(question, answer)
    cache.close()
    again = AnswerCache(tmp_path, MB)
    for question, answer in kept.items():
        found = again.find(question)
        assert found is not None
        np.testing.assert_array_equal(found, answer, strict=True)
    assert again.find(key(3)) is None


def test_what_is_kept_may_be_changed_by_its_owner(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, MB)
    mine = np.ones(3)
    cache.keep(key(0), mine)
    mine[:] = 9
    assert np.array_equal(cache.find(key(0)), np.ones(3))  # type: ignore[arg-type]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    one, other = AnswerCache(tmp_path, MB), AnswerCache(tmp_path, MB)
    for number in range(10):
        one.keep(key(number), np.full(4, number))
        other.keep(key(100 + number), np.full(4, number))
    one.close()
    other.close()
    both = AnswerCache(tmp_path, MB)
    assert all(both.find(key(n)) is not None for n in (*range(10), *range(100, 110)))


def test_the_limit_is_kept_and_the_oldest_file_goes_first(tmp_path: Path) -> None:
    for number in range(3):
        cache = AnswerCache(tmp_path, MB)
        cache.keep(key(number), np.zeros(40_000))  # 320 kB
        cache.close()
        for path in tmp_path.glob("*.arrow"):
            if not path.stem.isdigit():
                os.utime(path.rename(tmp_path / f"{number}.arrow"), (number, number))
    full = AnswerCache(tmp_path, MB)
    assert all(full.find(key(number)) is not None for number in range(3))
    full.keep(key(9), np.zeros(40_000))
    assert full.find(key(9)) is None, "there is no room for it"
    smaller = AnswerCache(tmp_path, 700_000)
    assert [smaller.find(key(number)) is not None for number in range(3)] == [False, True, True]
    assert not (tmp_path / "0.arrow").exists()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from craft_ray.metering.answer_cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]), 10**8)
for number in range(100_000):
    cache.keep(number.to_bytes(32, "big"), np.full(100, number))
    print(number, flush=True)
"""


SHORT_WRITER = """
import sys
from pathlib import Path
import numpy as np
from craft_ray.metering.answer_cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]), 10**8)
first = 1000 * int(sys.argv[2])
for number in range(first, first + 200):
    cache.keep(number.to_bytes(32, "big"), np.full(100, number))
cache.close()
"""


def test_what_a_killed_process_wrote_is_read_up_to_its_last_answer(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(200):
        last = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    cache = AnswerCache(tmp_path, 10**8)
    for number in range(last):
        found = cache.find(key(number))
        assert found is not None
        assert (found == number).all()


def test_processes_that_write_at_once_read_each_other(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", SHORT_WRITER, str(tmp_path), str(number)])
        for number in range(2)
    ]
    mine = AnswerCache(tmp_path, 10**8)
    while any(writer.poll() is None for writer in writers):
        opened = AnswerCache(tmp_path, 10**8)  # reads what is being written
        for number in (0, 199, 1000, 1199):
            assert (found := opened.find(key(number))) is None or (found == number).all()
        mine.keep(key(5000), np.zeros(3))
    assert [writer.wait() for writer in writers] == [0, 0]
    both = AnswerCache(tmp_path, 10**8)
    for number in (*range(200), *range(1000, 1200)):
        assert (found := both.find(key(number))) is not None
        assert (found == number).all()
    assert both.find(key(5000)) is not None


def test_files_that_another_has_removed_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = AnswerCache(tmp_path, MB)
    full.keep(key(0), np.ones(50_000))
    for number in range(3):
        (tmp_path / f"gone {number}.arrow").write_bytes(b"x" * 400_000)
    stat = Path.stat

    def look(path: Path, **words: Any) -> os.stat_result:
        if path.stem.startswith("gone"):  # between the list and the look
            path.unlink(missing_ok=True)
        return stat(path, **words)

    monkeypatch.setattr(Path, "stat", look)
    full.keep(key(1), np.ones(50_000))
    again = AnswerCache(tmp_path, MB)
    assert again.find(key(0)) is not None
    assert [path for path in tmp_path.iterdir() if path.stem.startswith("gone")] == []


def test_the_limit_is_that_of_all_who_write(tmp_path: Path) -> None:
    writers = [AnswerCache(tmp_path, MB) for _ in range(4)]
    for number in range(400):
        writers[number % 4].keep(key(number), np.zeros(1000))
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 0.9 * MB < written <= MB


def test_an_answer_that_is_not_what_was_written_is_none(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, MB)
    cache.keep(key(0), np.full(1000, 7.0))
    cache.keep(key(1), np.full(1000, 8.0))
    cache.close()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    whole = np.full(1000, 7.0).tobytes()
    path.write_bytes(content.replace(whole, bytes(len(whole))))  # a block that has not arrived
    holed = AnswerCache(tmp_path, MB)
    assert holed.find(key(0)) is None
    assert (holed.find(key(1)) == 8.0).all()  # type: ignore[union-attr]


def test_a_full_disk_ends_the_keeping_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = AnswerCache(tmp_path / "cache", MB)
    (tmp_path / "cache").rmdir()  # nothing can be written there
    cache.keep(key(0), np.ones(3))
    cache.keep(key(1), np.ones(3))
    assert cache.find(key(0)) is None
    assert len(caplog.records) == 1
    cache.close()


def test_a_folder_that_cannot_be_used_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"answer_cache.folder: .*must be a folder"):
        open_answer_cache(AnswerCacheConfig(folder=str(tmp_path / "file" / "cache")))


def test_what_was_written_is_not_held_in_memory(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, 10 * MB)
    tracemalloc.start()
    for number in range(50):
        cache.keep(key(number), np.zeros(20_000))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MB


def test_a_broken_file_costs_only_its_own_answers(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, MB)
    cache.keep(key(0), np.ones(3))
    cache.close()
    (tmp_path / "broken.arrow").write_bytes(b"no arrow" * 100)
    (tmp_path / "empty.arrow").write_bytes(b"")
    assert AnswerCache(tmp_path, MB).find(key(0)) is not None


READ_DAMAGED = """
import sys
from pathlib import Path
import numpy as np
from craft_ray.metering.answer_cache import AnswerCache
folder, question = Path(sys.argv[1]), bytes([1]) * 32
(file,) = folder.glob("*.arrow")
whole = file.read_bytes()
for place in range(0, len(whole), 2):
    damaged = bytearray(whole)
    damaged[place] ^= 0xE5
    file.unlink()
    file = folder / f"{place}.arrow"
    file.write_bytes(damaged)
    answer = AnswerCache(folder, 2**20).find(question)
    assert answer is None or np.array_equal(answer, np.arange(10.0)), place
"""


def test_no_damage_ends_the_process_or_is_taken_for_an_answer(tmp_path: Path) -> None:
    """A length that lies leads beyond the mapped file: SIGBUS, of which a child dies."""
    cache = AnswerCache(tmp_path, MB)
    cache.keep(bytes([1]) * 32, np.arange(10.0))
    cache.close()
    subprocess.run([sys.executable, "-c", READ_DAMAGED, str(tmp_path)], check=True)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    assert open_answer_cache(AnswerCacheConfig()) is None
    cache = open_answer_cache(AnswerCacheConfig(folder=str(tmp_path / "deep" / "er"), max_mb=1))
    assert cache is not None
    assert (tmp_path / "deep" / "er").is_dir()


def test_a_relative_folder_is_that_of_who_starts_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert AnswerCacheConfig(folder="cache").folder == str(tmp_path / "cache")


def test_half_of_a_population_on_record_takes_the_rest_from_the_cache(tmp_path: Path) -> None:
    """Another run has asked the whole of it, while this one was down."""

    def record(name: str) -> QuestionRecord:
        journal = QueryJournal(tmp_path / f"{name}.db")
        cache = AnswerCache(tmp_path / "cache", MB)
        return QuestionRecord(
            QueryLedger(99), journal, cache, FakeOracle().describe, by_content=False
        )

    def cost_at(places: IntArray) -> Spending:
        return cost_of("search", len(places), num_images=5, num_classes=3)

    def ask(places: IntArray, on_part: OnPart) -> LossArray:
        assert "nothing" not in asked
        on_part(0, places[:8].astype(float))
        if "dies" in asked:
            raise DiedError
        on_part(8, places[8:].astype(float))
        return places.astype(float)

    asked = ["dies"]
    with pytest.raises(DiedError):
        losses_in_parts(record("first"), key(1), 40, cost_at, ask)
    asked.clear()
    whole = losses_in_parts(record("other"), key(1), 40, cost_at, ask)
    resumed = record("first")
    asked.append("nothing")
    losses = losses_in_parts(resumed, key(1), 40, cost_at, ask)
    np.testing.assert_array_equal(losses, whole)
    spent = resumed.ledger.spent
    assert (spent.candidate_queries, spent.cached_candidates) == (8, 32)
