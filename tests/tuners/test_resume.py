"""A training that was stopped anywhere ends exactly as an undisturbed one."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from craft_ray.errors import ArtifactError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.state import (
    ARRAYS_FILE,
    FORMAT_VERSION,
    VALUES_FILE,
    TrainerState,
    load_newest_state,
    load_state,
    save_state,
    selected_in,
)
from tests.support.classifiers import as_prompt
from tests.support.examples import few
from tests.support.world import World, make_world, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
METHODS = ["both", "prompt", "head"]
FIDELITIES = ["corrected", "reference"]


def new_world(**changes: Any) -> World:
    """Everything anew, as another process would make it."""
    return make_world(run_config(**changes), data=DATA)


def through_files(trainer: Trainer) -> TrainerState:
    with tempfile.TemporaryDirectory() as folder:
        save_state(trainer.state_dict(), Path(folder))
        return load_state(Path(folder))


def run(
    world: World, stops: frozenset[int] = frozenset()
) -> tuple[list[GenerationReport], Trainer, QueryLedger]:
    """Train to the end; before each generation in `stops` the training moves to a new process."""
    trainer, ledger = world.trainer()
    reports: list[GenerationReport] = []
    while not trainer.finished:
        if trainer.generation in stops:
            state = through_files(trainer)
            world = make_world(world.config, data=DATA)
            torch.manual_seed(len(reports))  # another process has other global streams
            trainer, ledger = world.trainer()
            trainer.load_state_dict(state)
        reports.append(trainer.run_generation())
    return reports, trainer, ledger


def assert_same_state(first: TrainerState, second: TrainerState) -> None:
    assert first.values == second.values
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name, strict=True)


@few
@given(
    method=st.sampled_from(METHODS),
    fidelity=st.sampled_from(FIDELITIES),
    stops=st.frozensets(st.integers(0, 5), min_size=1, max_size=4),
    seed=st.integers(0, 3),
    batches=st.integers(1, 3),
)
@example(method="both", fidelity="corrected", stops=frozenset({0, 3}), seed=0, batches=2)
@example(method="both", fidelity="reference", stops=frozenset({1, 2, 5}), seed=1, batches=1)
@example(method="prompt", fidelity="corrected", stops=frozenset({1, 4}), seed=2, batches=3)
@example(method="prompt", fidelity="reference", stops=frozenset({2}), seed=0, batches=2)
@example(method="head", fidelity="corrected", stops=frozenset({2}), seed=1, batches=1)
@example(method="head", fidelity="reference", stops=frozenset({1, 3}), seed=2, batches=1)
def test_a_stopped_training_ends_as_an_undisturbed_one(
    method: str, fidelity: str, stops: frozenset[int], seed: int, batches: int
) -> None:
    changes: dict[str, Any] = {
        "method": method,
        "fidelity": fidelity,
        "seed": seed,
        "max_queries": 48,
        "data": {"shots": 3},
        "optimizer": {"batches": batches},
        "head": {"weight_decay": 0.01},
        "loss": {"head_consistency_share": 0.5},
    }
    whole_reports, whole, whole_ledger = run(new_world(**changes))
    reports, resumed, ledger = run(new_world(**changes), stops)
    assert reports == whole_reports
    assert ledger.spent == whole_ledger.spent
    assert_same_state(resumed.state_dict(), whole.state_dict())


def test_taking_a_state_does_not_disturb_the_training() -> None:
    whole_reports, whole, _ = run(new_world())
    trainer, _ = new_world().trainer()
    reports = []
    while not trainer.finished:
        for array in trainer.state_dict().arrays.values():
            array[...] = 0  # the state is a copy
        reports.append(trainer.run_generation())
    assert reports == whole_reports
    assert_same_state(trainer.state_dict(), whole.state_dict())


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_loaded_training_has_the_state_it_was_loaded_from(fidelity: str) -> None:
    trainer, _ = new_world(fidelity=fidelity).trainer()
    for _ in range(3):
        trainer.run_generation()
    again, _ = new_world(fidelity=fidelity).trainer()
    again.load_state_dict(through_files(trainer))
    assert_same_state(again.state_dict(), trainer.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_training_is_still_finished_after_loading(method: str) -> None:
    world = new_world(method=method)
    _, trainer, _ = run(world)
    again, ledger = new_world(method=method).trainer()
    again.load_state_dict(through_files(trainer))
    assert again.finished
    assert again.selected.validation == trainer.selected.validation
    assert ledger.spent == trainer_spending(trainer)


def trainer_spending(trainer: Trainer) -> object:
    ledger = QueryLedger(1)
    ledger.restore(trainer.state_dict().values["spent"])
    return ledger.spent


def test_a_diverged_training_is_still_diverged_after_loading() -> None:
    world = new_world(max_queries=160, head={"learning_rate": 1e25})
    _, trainer, _ = run(world)
    assert trainer.diverged
    again, _ = world.trainer()
    again.load_state_dict(through_files(trainer))
    assert again.diverged
    assert again.finished


@pytest.mark.parametrize("method", METHODS)
def test_the_result_can_be_read_from_a_state_alone(method: str) -> None:
    _, trainer, _ = run(new_world(method=method))
    selected = selected_in(through_files(trainer))
    assert selected.validation == trainer.selected.validation
    assert selected.generation == trainer.selected.generation
    logits = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    expected = trainer.selected.classifier.refine(logits)
    np.testing.assert_array_equal(selected.classifier.refine(logits), expected)
    context = as_prompt(trainer.selected.classifier).context_LE
    np.testing.assert_array_equal(as_prompt(selected.classifier).context_LE, context)


def test_the_state_of_another_seed_is_refused() -> None:
    trainer, _ = new_world(seed=1).trainer()
    trainer.run_generation()
    other, _ = new_world(seed=2).trainer()
    with pytest.raises(ValueError, match="state: "):
        other.load_state_dict(trainer.state_dict())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trainer, _ = new_world().trainer()
    trainer.run_generation()
    save_state(trainer.state_dict(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [ARRAYS_FILE, VALUES_FILE])
def test_a_state_with_a_missing_or_damaged_file_is_refused(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    for damaged in (content[:-5], content[:20], b""):
        (saved / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
            load_state(saved)
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
        load_state(saved)


def test_a_state_of_another_format_is_refused(saved: Path) -> None:
    document = json.loads((saved / VALUES_FILE).read_text())
    for version in (None, 0, FORMAT_VERSION - 1, str(FORMAT_VERSION)):
        (saved / VALUES_FILE).write_text(json.dumps({**document, "format_version": version}))
        with pytest.raises(ArtifactError, match=f"format_version must be {FORMAT_VERSION}"):
            load_state(saved)


def test_a_saved_state_has_no_unfinished_file_beside_it(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {ARRAYS_FILE, VALUES_FILE}


@pytest.fixture
def two_states(tmp_path: Path) -> tuple[Path, Path]:
    """An older and a newer checkpoint, side by side as Ray Train keeps them."""
    trainer, _ = new_world().trainer()
    folders = tmp_path / "checkpoint_1", tmp_path / "checkpoint_2"
    for folder in folders:
        trainer.run_generation()
        save_state(trainer.state_dict(), folder)
    return folders


def newest(states: Path) -> int:
    state = load_newest_state(states)
    assert state is not None
    return int(state.values["generation"])


@pytest.mark.parametrize("name", [ARRAYS_FILE, VALUES_FILE])
@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "gone"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    two_states: tuple[Path, Path], name: str, damage: str
) -> None:
    older, newer = two_states
    assert newest(newer.parent) == 2
    data = bytearray((newer / name).read_bytes())
    if damage == "gone":
        (newer / name).unlink()
    else:
        if damage == "one bit":
            data[-20] ^= 1
        keep = {"truncated": len(data) - 5, "empty": 0, "one bit": len(data)}[damage]
        (newer / name).write_bytes(data[:keep])
    with pytest.raises(ArtifactError):
        load_state(newer)
    assert newest(newer.parent) == 1
    # Once there were two, answers are forgotten: that none is left is no beginning.
    (older / VALUES_FILE).unlink()
    with pytest.raises(ArtifactError, match="no checkpoint can be read"):
        load_newest_state(newer.parent)


def test_a_first_state_that_was_not_completed_is_none(two_states: tuple[Path, Path]) -> None:
    older, newer = two_states
    shutil.rmtree(newer)
    (older / VALUES_FILE).unlink()
    assert load_newest_state(older.parent) is None


@pytest.fixture(scope="module")
def begun() -> Trainer:
    """After one generation; to look at."""
    trainer, _ = new_world().trainer()
    trainer.run_generation()
    return trainer


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), values=st.booleans())
def test_no_flipped_bit_goes_unnoticed(
    begun: Trainer, place: float, bit: int, values: bool
) -> None:
    trainer = begun
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_state(trainer.state_dict(), folder)
        path = folder / (VALUES_FILE if values else ARRAYS_FILE)
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 1 << bit
        path.write_bytes(data)
        try:
            state = load_state(folder)
        except ArtifactError:
            return
        assert_same_state(state, trainer.state_dict())  # white space between JSON's words
