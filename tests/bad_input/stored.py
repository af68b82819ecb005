"""What a run keeps to be continued: states of a training, and journals of queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from craft_ray.files.whole_files import Arrays
from craft_ray.metering.journal_sqlite import QueryId, QueryJournal
from craft_ray.metering.ledger import Spending
from craft_ray.tuners.state import (
    ARRAYS_FILE,
    FORMAT_VERSION,
    VALUES_FILE,
    TrainerState,
    keep_state,
    load_newest_state,
    load_state,
    save_state,
)
from tests.bad_input.case import CHANGED, Attempt, Case, cut, flip
from tests.support.world import make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4, num_test=5)


@cache
def trained_state() -> TrainerState:
    """After one generation."""
    trainer, _ = make_world(data=DATA).trainer()
    trainer.run_generation()
    return trainer.state_dict()


def damaged_state(name: str, damage: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """A state of which one file is damaged, and no other beside it."""

    def prepare(folder: Path) -> Attempt:
        keep_state(trained_state(), folder)
        (state,) = folder.iterdir()
        damage(state / name)
        return lambda: load_newest_state(folder)

    return prepare


def lost_values(folder: Path) -> Attempt:
    """Two states without their values: that the writer of both died is no explanation."""
    for generation in (1, 2):
        values = {**trained_state().values, "generation": generation}
        keep_state(TrainerState(trained_state().arrays, values), folder)
    for state in folder.iterdir():
        (state / VALUES_FILE).unlink()
    return lambda: load_newest_state(folder)


def other_state(
    change: Callable[[Arrays, dict[str, Any]], object], **settings: Any
) -> Callable[[Path], Attempt]:
    """A whole state that was changed before it was stored, or is taken up with other settings."""

    def prepare(folder: Path) -> Attempt:
        arrays, values = dict(trained_state().arrays), dict(trained_state().values)
        change(arrays, values)
        save_state(TrainerState(arrays, values), folder / "checkpoint")
        trainer, _ = make_world(run_config(**settings), data=DATA).trainer()
        return lambda: trainer.load_state_dict(load_state(folder / "checkpoint"))

    return prepare


def nothing(arrays: Arrays, values: dict[str, Any]) -> None:
    """Change nothing."""


def shrink(name: str) -> Callable[[Arrays, dict[str, Any]], object]:
    return lambda arrays, values: arrays.update({name: arrays[name][:-1]})


OTHER = r"state: must be that of a run with these settings and this data, but: "

NO_ARRAYS = r"state\.safetensors: cannot be read"

STATES = [
    Case("truncated arrays", damaged_state(ARRAYS_FILE, cut), NO_ARRAYS),
    Case("truncated values", damaged_state(VALUES_FILE, cut), r"state\.json: cannot be read"),
    Case("a flipped bit", damaged_state(ARRAYS_FILE, flip), r"state\.safetensors: " + CHANGED),
    Case(
        "a flipped value",
        damaged_state(VALUES_FILE, flip),
        rf"state\.json: (cannot|{CHANGED})",
    ),
    Case("no arrays", damaged_state(ARRAYS_FILE, Path.unlink), NO_ARRAYS),
    Case("no values", lost_values, r"00000002/state\.json: is missing; .*00000001/state\.json: "),
    Case(
        "deep nesting",
        damaged_state(VALUES_FILE, lambda path: path.write_text("[" * 100_000)),
        r"state\.json: cannot be read: .*recursion",
    ),
    Case(
        "another version",
        damaged_state(VALUES_FILE, lambda path: path.write_text('{"format_version": 99}')),
        rf"state\.json: format_version must be {FORMAT_VERSION}, but got 99",
    ),
    Case("another seed", other_state(nothing, seed=2), OTHER + "state: seed must be "),
    Case(
        "another population",
        other_state(nothing, optimizer={"population": 4}),
        OTHER + "state: population must be 4 .*with 8",
    ),
    Case("another head", other_state(nothing, head={"hidden": 4}), OTHER + r".*size mismatch"),
    Case("no generation", other_state(lambda a, v: v.pop("generation")), OTHER + "it has no 'gen"),
    Case(
        "no stream", other_state(lambda a, v: a.pop("generator")), OTHER + "it has no 'generator'"
    ),
    Case("a stream cut", other_state(shrink("generator")), OTHER),
    Case("a head cut", other_state(shrink("head.leave.bias")), OTHER + r".*size mismatch"),
    Case("a generation in words", other_state(lambda a, v: v.update(generation="x")), OTHER),
    Case("a null", other_state(lambda a, v: v.update(spent=None)), OTHER),
]


QUERY, QUESTION = QueryId(0, "search", 0), b"question"


def journal_file(spoil: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """A journal with one answer to which something is done before it is read."""

    def prepare(folder: Path) -> Attempt:
        path = folder / "queries.db"
        with QueryJournal(path) as journal:
            journal.record(QUERY, QUESTION, 0, Spending(candidate_queries=2), np.array([1.0, 2.0]))
        spoil(path)

        def attempt() -> None:
            with QueryJournal(path) as journal:
                journal.parts(QUERY, QUESTION)
                journal.total()

        return attempt

    return prepare


def set_to(column: str, value: Any) -> Callable[[Path], Attempt]:
    """Another value in the only row."""

    def spoil(path: Path) -> None:
        database = sqlite3.connect(path)
        with database:
            database.execute(f"UPDATE queries SET {column} = ?", (value,))
        database.close()

    return journal_file(spoil)


def other_table(path: Path) -> None:
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE queries (a INTEGER)")
    database.close()


def overwrite_pages(path: Path) -> None:
    """Keep the header of the file and nothing behind its first page."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def folder_as_journal(path: Path) -> None:
    path.unlink()
    path.mkdir()


NO_JOURNAL = r"queries\.db: must be a journal of queries, but: "

JOURNALS = [
    Case("text", journal_file(lambda path: path.write_text("x" * 5000)), NO_JOURNAL),
    Case("a folder", journal_file(folder_as_journal), NO_JOURNAL + ".*unable to open"),
    Case("another table", journal_file(other_table), NO_JOURNAL + ".*no such column"),
    Case("broken pages", journal_file(overwrite_pages), NO_JOURNAL),
    Case("truncated", journal_file(lambda p: p.write_bytes(p.read_bytes()[:5000])), NO_JOURNAL),
    Case("another question", set_to("question", b"x"), r"generation 0 must ask what is on record"),
    Case("an answer cut", set_to("answer", b"12345"), NO_JOURNAL),
    Case("an answer of objects", set_to("dtype", "O"), NO_JOURNAL),
    Case("no type", set_to("dtype", "zzz"), NO_JOURNAL),
    Case("a huge shape", set_to("shape", "[99999999999999]"), NO_JOURNAL),
    Case("a shape in words", set_to("shape", "two"), NO_JOURNAL),
    Case("more rows than an answer", set_to("stop", 9), NO_JOURNAL + r".*9 - 0 answers, .*2"),
    Case("no spending", set_to("spending", "{}"), NO_JOURNAL + ".*candidate_queries"),
    Case("spending that is a list", set_to("spending", "[]"), NO_JOURNAL),
]
