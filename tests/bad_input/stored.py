"""What a run has stored: states of a training, tuned classifiers and journals of queries."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from craft_ray.files import Arrays
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.training import artifact, state
from craft_ray.training.artifact import Artifact
from craft_ray.training.journal import QueryId, QueryJournal
from craft_ray.training.ledger import Spending
from craft_ray.training.state import TrainerState, load_newest_state, load_state, save_state
from tests.bad_input.case import Attempt, Case
from tests.support.artifacts import edit_arrays, edit_description
from tests.support.fake_oracle import FakeOracle
from tests.support.world import make_world, register_test_images, run_config, world_data

DATA = world_data(shots=3, num_validation=4, num_test=5)


@cache
def trained_state() -> TrainerState:
    """After one generation."""
    trainer, _ = make_world(data=DATA).trainer()
    trainer.run_generation()
    return trainer.state_dict()


def flip(path: Path) -> None:
    """Change one bit near the end."""
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def damaged_state(name: str, damage: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """A state of which one file is damaged, and no other beside it."""

    def prepare(folder: Path) -> Attempt:
        save_state(trained_state(), folder / "checkpoint")
        damage(folder / "checkpoint" / name)
        return lambda: load_newest_state(folder / "checkpoint")

    return prepare


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


S_ARRAYS, S_VALUES = state.ARRAYS_FILE, state.VALUES_FILE
CHANGED = r": must be as it was written, but its checksum differs"
OTHER = r"state: must be that of a run with these settings and this data, but: "

STATES = [
    Case("truncated arrays", damaged_state(S_ARRAYS, cut), r"state\.safetensors: cannot be read"),
    Case("truncated values", damaged_state(S_VALUES, cut), r"state\.json: cannot be read"),
    Case("a flipped bit", damaged_state(S_ARRAYS, flip), r"state\.safetensors" + CHANGED),
    Case(
        "a flipped value", damaged_state(S_VALUES, flip), r"state\.json(: cannot|" + CHANGED + ")"
    ),
    Case("no arrays", damaged_state(S_ARRAYS, Path.unlink), r"state\.safetensors: cannot be read"),
    Case(
        "deep nesting",
        damaged_state(S_VALUES, lambda path: path.write_text("[" * 100_000)),
        r"state\.json: cannot be read: .*recursion",
    ),
    Case(
        "another version",
        damaged_state(S_VALUES, lambda path: path.write_text('{"format_version": 99}')),
        r"state\.json: format_version must be 1, but got 99",
    ),
    Case("another seed", other_state(nothing, seed=2), OTHER + r".*replaying the losses"),
    Case(
        "another population",
        other_state(nothing, optimizer={"population": 4}),
        OTHER + r"state: losses must be \[generations, 4\], got \[1, 8\]",
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


@cache
def tuned() -> Artifact:
    """A classifier of the fake oracle, with a head."""
    world = make_world(data=DATA)
    trainer, _ = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    task = ClassificationTask(world.prepared.class_names, world.prepared.template)
    return Artifact(trainer.selected.classifier, task, world.prepared.oracle_id)


def classifier(spoil: Callable[[Path], object], *, seed: int = 0) -> Callable[[Path], Attempt]:
    """A stored classifier to which something is done before it predicts."""

    def prepare(folder: Path) -> Attempt:
        tuned().save(folder / "best")
        spoil(folder / "best")
        oracle = FakeOracle(seed=seed)
        images = register_test_images(DATA, oracle).handle
        return lambda: Artifact.load(folder / "best").predict(oracle, images)

    return prepare


def description(**changes: Any) -> Callable[[Path], Attempt]:
    """Other values, with the checksum that belongs to them."""
    return classifier(lambda folder: edit_description(folder, lambda d: d.update(changes)))


def arrays(change: Callable[[Arrays], object]) -> Callable[[Path], Attempt]:
    """Other arrays, with the checksum that belongs to them."""
    return classifier(lambda folder: edit_arrays(folder, change))


def put(name: str, value: Any) -> Callable[[Path], Attempt]:
    return arrays(lambda a: a.update({name: np.asarray(value)}))


def fill(name: str, value: float) -> Callable[[Path], Attempt]:
    return arrays(lambda a: a[name].fill(value))


def cast(name: str, kind: Any) -> Callable[[Path], Attempt]:
    return arrays(lambda a: a.update({name: a[name].astype(kind)}))


def without_checksums(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Attempt]:
    """A description that was edited by hand."""

    def spoil(folder: Path) -> None:
        path = folder / artifact.DESCRIPTION_FILE
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return classifier(spoil)


def write(name: str, content: bytes) -> Callable[[Path], Attempt]:
    return classifier(lambda folder: (folder / name).write_bytes(content))


def safetensors_of(header: dict[str, Any], data: bytes = b"") -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def bfloat16(folder: Path) -> None:
    header = {"context": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    (folder / artifact.ARRAYS_FILE).write_bytes(safetensors_of(header, b"\0\0"))


HUGE = {"context": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
CLASSES = ["cat", "dog", "ankle boot", "tin whistle"]
C_ARRAYS, C_VALUES = artifact.ARRAYS_FILE, artifact.DESCRIPTION_FILE
WRONG_VALUE = r"classifier\.json: "
WRONG_ARRAY = r"classifier\.safetensors: "
HEAD_KEYS = ("head.enter.weight", "head.enter.bias", "head.leave.weight", "head.leave.bias")

CLASSIFIERS = [
    Case(
        "no arrays", classifier(lambda f: (f / C_ARRAYS).unlink()), WRONG_ARRAY + "cannot be read"
    ),
    Case("truncated", classifier(lambda f: cut(f / C_ARRAYS)), WRONG_ARRAY + "cannot be read"),
    Case("a flipped bit", classifier(lambda f: flip(f / C_ARRAYS)), WRONG_ARRAY + CHANGED[2:]),
    Case("a header without end", write(C_ARRAYS, b"\xff" * 64), WRONG_ARRAY + "cannot be read"),
    Case("a huge array", write(C_ARRAYS, safetensors_of(HUGE)), WRONG_ARRAY + "cannot be read"),
    Case("a pickle", write(C_ARRAYS, b"cos\nsystem\n(S'touch executed'\ntR."), WRONG_ARRAY),
    Case("bfloat16", classifier(bfloat16), WRONG_ARRAY + "cannot be read: .*(BF16|bfloat16)"),
    Case("NaN in the context", fill("context", np.nan), WRONG_ARRAY + "context must be finite"),
    Case("NaN in the head", fill("head.leave.bias", np.nan), "head.leave.bias must be finite"),
    Case("infinity", fill("head.enter.weight", np.inf), "head.enter.weight must be finite"),
    Case("a huge number", put("head.leave.bias", [1e300] * 4), "head.leave.bias must be float32"),
    Case("half precision", cast("context", np.float16), "context must be float32 .*but is float16"),
    Case("no context", arrays(lambda a: a.pop("context")), WRONG_ARRAY + "must have context"),
    Case("a flat context", arrays(lambda a: a.update(context=a["context"][0])), r"context must be"),
    Case("an empty context", arrays(lambda a: a.update(context=a["context"][:0])), r"context must"),
    Case(
        "a narrow context",
        arrays(lambda a: a.update(context=a["context"][:, :-1])),
        r"contexts: must be float32 \[K >= 1, L >= 1, 6\], but got float32 \[1, 4, 5\]",
    ),
    Case(
        "a context that is too long",
        arrays(lambda a: a.update(context=np.repeat(a["context"], 9, axis=0))),
        r"contexts: must be shorter than the oracle's context",
    ),
    Case("no head", arrays(lambda a: [a.pop(n) for n in HEAD_KEYS]), r"has_head must tell whether"),
    Case("half a head", arrays(lambda a: a.pop("head.leave.bias")), r"must have head\.leave\.bias"),
    Case(
        "an array too many",
        put("head.extra", np.zeros(3, np.float32)),
        r"'head\.extra' is no part of",
    ),
    Case(
        "a head of other classes",
        arrays(lambda a: a.update({"head.enter.weight": a["head.enter.weight"][:, :-1]})),
        r"head\.enter\.weight must be float32 \[8, 4\], but is float32 \[8, 3\]",
    ),
    Case("another version", description(format_version=1), r"format_version must be 2, but got 1"),
    Case("a version that is true", description(format_version=True), r"format_version must be 2"),
    Case("no JSON", write(C_VALUES, b"{"), WRONG_VALUE + "cannot be read"),
    Case("a list", write(C_VALUES, b"[]"), WRONG_VALUE + "must be a JSON object, but is list"),
    Case("deep nesting", write(C_VALUES, b"[" * 100_000), WRONG_VALUE + "cannot be read: .*recur"),
    Case(
        "a number of too many digits",
        write(C_VALUES, b'{"format_version": ' + b"9" * 5000 + b"}"),
        WRONG_VALUE + "cannot be read: .*digits",
    ),
    Case(
        "an infinite version", write(C_VALUES, b'{"format_version": 1e999}'), r"must be 2, but go"
    ),
    Case(
        "another class order, by hand",
        without_checksums(lambda d: d["class_names"].reverse()),
        WRONG_VALUE + CHANGED[2:],
    ),
    Case(
        "no checksum",
        without_checksums(lambda d: d.pop("values_sha256")),
        WRONG_VALUE + CHANGED[2:],
    ),
    Case(
        "names in one word",
        description(class_names="abcd"),
        r"class_names: .*valid tuple, but got 'abcd'",
    ),
    Case("names are numbers", description(class_names=[1, 2, 3, 4]), r"class_names\.0: .*string"),
    Case("no names", description(class_names=[]), r"class_names: .*at least 2"),
    Case(
        "fewer names",
        description(class_names=CLASSES[:3]),
        r"head\.enter\.weight must be .*\[8, 3\]",
    ),
    Case(
        "a name with a line break",
        description(class_names=["cat\nx", *CLASSES[1:]]),
        r"class_names\.0: class name .* must have printable characters only, .*U\+000A",
    ),
    Case(
        "no template", description(template="a photo"), r"template: must contain \{\} exactly once"
    ),
    Case(
        "two places in the template",
        description(template="a {} {}"),
        r"template: must contain \{\} exactly once, but got 'a \{\} \{\}'",
    ),
    Case("an oracle that is a list", description(oracle_id=["x"]), r"oracle_id: .*valid string"),
    Case(
        "a path as oracle",
        description(oracle_id="../../etc/passwd"),
        r"oracle_id: must be \.\./\.\./etc/pa as tuned, but the oracle is [0-9a-f]{12}",
    ),
    Case(
        "a path to other arrays",
        description(arrays_file="../../secret.safetensors"),
        r"arrays_file: is not a known setting",
    ),
    Case("a head by a word", description(has_head="yes"), r"has_head: .*boolean.*got 'yes'"),
    Case(
        "another oracle",
        classifier(lambda folder: None, seed=1),
        r"oracle_id: must be [0-9a-f]{12} as tuned, but the oracle is [0-9a-f]{12}",
    ),
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
