"""Tuned classifiers: what is in the files of one, whether or not its checksums fit."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from craft_ray.classifiers.artifact import ARRAYS_FILE, DESCRIPTION_FILE, Artifact
from craft_ray.files.whole_files import Arrays
from craft_ray.oracle.contract import ClassificationTask
from tests.bad_input.case import CHANGED, Attempt, Case, cut, flip
from tests.support.artifacts import edit_arrays, edit_description
from tests.support.fake_oracle import FakeOracle
from tests.support.world import make_world, register_test_images, world_data

DATA = world_data(shots=3, num_validation=4, num_test=5)


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
        path = folder / DESCRIPTION_FILE
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return classifier(spoil)


def write(name: str, content: bytes) -> Callable[[Path], Attempt]:
    return classifier(lambda folder: (folder / name).write_bytes(content))


def describe(content: bytes) -> Callable[[Path], Attempt]:
    """Other bytes in place of the description."""
    return write(DESCRIPTION_FILE, content)


def safetensors_of(header: dict[str, Any], data: bytes = b"") -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def bfloat16(folder: Path) -> None:
    header = {"context": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    (folder / ARRAYS_FILE).write_bytes(safetensors_of(header, b"\0\0"))


HUGE = {"context": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
CLASSES = ["cat", "dog", "ankle boot", "tin whistle"]
WRONG_VALUE = r"classifier\.json: "
WRONG_ARRAY = r"classifier\.safetensors: "
NO_ARRAYS, NO_VALUES = WRONG_ARRAY + "cannot be read", WRONG_VALUE + "cannot be read"
HEAD_KEYS = ("head.enter.weight", "head.enter.bias", "head.leave.weight", "head.leave.bias")

CLASSIFIERS = [
    Case(
        "no arrays",
        classifier(lambda f: (f / ARRAYS_FILE).unlink()),
        NO_ARRAYS,
    ),
    Case("truncated", classifier(lambda f: cut(f / ARRAYS_FILE)), NO_ARRAYS),
    Case("a flipped bit", classifier(lambda f: flip(f / ARRAYS_FILE)), WRONG_ARRAY + CHANGED),
    Case("a header without end", write(ARRAYS_FILE, b"\xff" * 64), NO_ARRAYS),
    Case("a huge array", write(ARRAYS_FILE, safetensors_of(HUGE)), NO_ARRAYS),
    Case("a pickle", write(ARRAYS_FILE, b"cos\nsystem\n(S'touch executed'\ntR."), WRONG_ARRAY),
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
        r"contexts: must be float32 \[K >= 1, L, 6\] or .*, but got float32 \[1, 4, 5\]",
    ),
    Case(
        "contexts of other classes",
        arrays(lambda a: a.update(context=np.repeat(a["context"][None], 3, axis=0))),
        r"context must be float32 \[4, >= 1, >= 1\], but is float32 \[3, 4, 6\]",
    ),
    Case(
        "a context that is too long",
        arrays(lambda a: a.update(context=np.repeat(a["context"], 9, axis=0))),
        r"contexts: must be shorter than the oracle's context",
    ),
    Case(
        "no head", arrays(lambda a: [a.pop(n) for n in HEAD_KEYS]), r"must have head\.enter\.bias"
    ),
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
    Case("another version", description(format_version=1), r"format_version must be 3, but got 1"),
    Case("a version that is true", description(format_version=True), r"format_version must be 3"),
    Case("no JSON", describe(b"{"), NO_VALUES),
    Case("a list", describe(b"[]"), WRONG_VALUE + "must be a JSON object, but is l"),
    Case(
        "deep nesting",
        describe(b"[" * 100_000),
        NO_VALUES + ": .*recur",
    ),
    Case(
        "a number of too many digits",
        describe(b'{"format_version": ' + b"9" * 5000 + b"}"),
        NO_VALUES + ": .*digits",
    ),
    Case(
        "an infinite version",
        describe(b'{"format_version": 1e999}'),
        r"must be 3, but go",
    ),
    Case(
        "another class order, by hand",
        without_checksums(lambda d: d["class_names"].reverse()),
        WRONG_VALUE + CHANGED,
    ),
    Case(
        "no checksum",
        without_checksums(lambda d: d.pop("values_sha256")),
        WRONG_VALUE + CHANGED,
    ),
    Case(
        "names in one word",
        description(class_names="abcd"),
        r"class_names: .*must be a list, but got 'abcd'",
    ),
    Case(
        "names are numbers",
        description(class_names=[1, 2, 3, 4]),
        r"class_names\.0: must be text, but got 1",
    ),
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
    Case("an oracle that is a list", description(oracle_id=["x"]), r"oracle_id: must be text"),
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
    Case("a head denied", description(kind="prompt"), r"'head\.enter\.bias' is no part of"),
    Case("a strange kind", description(kind="tree"), r"kind: .*probes.*got 'tree'"),
    Case(
        "names for one prompt",
        description(extra_names=["cow"]),
        r"extra_names must be empty when kind is refined_prompt, but got 1",
    ),
    Case(
        "another oracle",
        classifier(lambda folder: None, seed=1),
        r"oracle_id: must be [0-9a-f]{12} as tuned, but the oracle is [0-9a-f]{12}",
    ),
]
