"""From a data set on disk to the handles that a training works with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.config.data import FolderSource
from craft_ray.config.run import RunConfig
from craft_ray.data.convert import convert
from craft_ray.data.dataset import Item
from craft_ray.data.pixels import plain_pixels
from craft_ray.data.recipe import Sources
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError, OracleError
from craft_ray.oracle.contract import ClassificationTask, TaskHandle
from craft_ray.task import sending
from craft_ray.task.preparation import FewShotData, first_copies, load_data, prepare
from craft_ray.task.prepared import PreparedTask
from craft_ray.task.provenance import data_summary
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.images import write_parquet, write_tree
from tests.support.known import known
from tests.support.probing import probing
from tests.support.recording import RecordingOracle
from tests.support.replicated_oracle import ReplicatedOracle
from tests.support.world import (
    BOTH_ANSWERS,
    CLASS_NAMES,
    handles_of,
    make_world,
    metered,
    run_config,
    world_data,
)

DATA = world_data(shots=3, num_validation=4, num_test=5)


def prepared_with(**changes: Any) -> tuple[PreparedTask, RecordingOracle]:
    oracle = RecordingOracle(FakeOracle(answers=BOTH_ANSWERS))
    return prepare(run_config(**changes), DATA, metered(oracle)), oracle


def test_a_prepared_task_names_its_classes_template_and_oracle() -> None:
    prepared, oracle = prepared_with(data={"template": "a blurry photo of a {}."})
    assert prepared.class_names == CLASS_NAMES
    assert prepared.template == "a blurry photo of a {}."
    assert prepared.oracle_id == oracle.describe().oracle_id
    assert prepared.task.num_classes == 4
    assert len(prepared.task.initial_context) == 5


def test_image_sets_keep_the_order_of_their_labels() -> None:
    prepared, oracle = prepared_with()
    assert prepared.fitness.labels_N.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert known(prepared.validation).labels_N.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert prepared.fitness.handle.num_images == 12
    plain = oracle.register_images(plain_pixels(DATA.train, IMAGE_SIZE))
    assert prepared.fitness.handle == plain
    validation = oracle.register_images(plain_pixels(DATA.validation, IMAGE_SIZE))
    assert known(prepared.validation).handle == validation


def test_views_differ_from_each_other_and_are_decided_by_the_seed() -> None:
    first, _ = prepared_with(data={"views": 3})
    again, _ = prepared_with(data={"views": 3})
    other, _ = prepared_with(data={"views": 3}, seed=2)
    assert len({view.digest for view in handles_of(first)}) == 3
    assert first.views == again.views
    assert not set(handles_of(first)) & set(handles_of(other))


def test_more_views_begin_with_the_same_views() -> None:
    few, _ = prepared_with(data={"views": 2})
    many, _ = prepared_with(data={"views": 4})
    assert handles_of(many)[:2] == handles_of(few)


def test_views_are_there_for_any_method_and_asked_for_only_by_a_head() -> None:
    # The trials of a search share one prepared task, and one of them may have a head.
    alone, _ = prepared_with(method="prompt")
    shared, _ = prepared_with(method="both")
    assert handles_of(alone) == handles_of(shared) != ()
    for method, asks in (("prompt", False), ("both", True)):
        recording = RecordingOracle(FakeOracle())
        trainer, _ = make_world(run_config(method=method), recording, DATA).trainer()
        trainer.run_generation()
        asked = {question.images for question in recording.questions}
        assert bool(asked & {view.digest for view in handles_of(alone)}) == asks


def test_fresh_views_are_those_of_a_bank_and_sent_when_they_are_needed() -> None:
    bank, _ = prepared_with(data={"views": 3})
    recording = RecordingOracle(FakeOracle())
    config = run_config(method="head", max_queries=24, data={"views": "fresh"})
    world = make_world(config, recording, DATA)
    sent_before = len(recording.registered)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    views = [view.digest for view in handles_of(bank)]
    assert recording.registered[sent_before:] == views
    assert recording.passing == views, "nobody asks for a fresh view again"
    assert ledger.spent.images_sent == 3 * len(DATA.train)


def test_answers_that_the_oracle_does_not_serve_are_refused() -> None:
    with pytest.raises(OracleError, match=r"fidelity\.head_inputs: .*'unnormalized_logits'"):
        prepare(run_config(fidelity="reference"), DATA, metered(FakeOracle()))


def test_a_class_name_that_does_not_fit_is_refused_by_name() -> None:
    config = run_config(data={"template": "one " * 20 + "{}."})
    with pytest.raises(OracleError, match="class 'cat': its prompt must have at most"):
        prepare(config, DATA, metered(FakeOracle()))


def folder_config(root: Path, **data: Any) -> RunConfig:
    return run_config(data={"source": {"kind": "folder", "root": str(root)}, **data})


class AlikeOracle(FakeOracle):
    """Its tokenizer drops everything but letters, as SigLIP's drops punctuation."""

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        first: dict[str, int] = {}
        letters = ("".join(filter(str.isalpha, name)) for name in task.class_names)
        pairs = [(first.setdefault(name, place), place) for place, name in enumerate(letters)]
        alike = tuple(pair for pair in pairs if pair[0] != pair[1])
        return replace(super().register_task(task), alike=alike)


def test_classes_that_the_tokenizer_makes_the_same_are_refused_before_an_image_is_sent() -> None:
    names = ("C", "cat", "C++", "dog")
    data = replace(DATA, dataset=replace(DATA.dataset, class_names=names))
    oracle = RecordingOracle(AlikeOracle(answers=BOTH_ANSWERS))
    with pytest.raises(DataError, match=r"its tokenizer makes the same of 'C' and 'C\+\+': rename"):
        prepare(run_config(), data, metered(oracle))
    assert not oracle.registered
    # ImageNet's names are its owner's decision: ids tell its classes apart.
    with_ids = replace(data.dataset, class_ids=("n1", "n2", "n3", "n4"))
    prepare(run_config(), replace(data, dataset=with_ids), metered(oracle))


def test_data_is_read_sampled_and_described(tmp_path: Path) -> None:
    data = load_data(folder_config(write_tree(tmp_path / "pets", images=3), shots=2))
    assert len(data.train) == 4
    assert [item.label for item in data.train] == [0, 0, 1, 1]
    assert data.describe() == "pets: 2 classes, 4 training, 6 validation and 6 test images"
    assert (data.size.num_train, data.size.num_test, data.size.num_classes) == (4, 6, 2)


def test_a_class_smaller_than_shots_is_refused_by_name(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", images=2)
    with pytest.raises(DataError, match=r"data\.shots: .* class 'cat' has 2"):
        load_data(folder_config(root, shots=3))
    repeated = load_data(folder_config(root, shots=3, repeat_small_classes=True))
    assert len(repeated.train) == 6


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_broken_image_of_any_split_is_named_before_anything_starts(
    tmp_path: Path, split: str
) -> None:
    root = write_tree(tmp_path / "pets", images=2)
    (root / split / "dog" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=rf"{split}/dog/1\.png: must be a readable image"):
        load_data(folder_config(root, shots=2))


def test_a_broken_training_image_that_is_not_drawn_is_no_trouble(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", images=2)
    config = folder_config(root, shots=1)
    data = load_data(config)
    drawn = {item.name for item in data.train}
    for path in (root / "train").rglob("*.png"):
        if str(path) not in drawn:
            path.write_bytes(b"broken")
    assert load_data(config).train == data.train


def test_the_embedded_data_set_is_loaded_without_any_settings() -> None:
    data = load_data(RunConfig())
    assert isinstance(data, FewShotData)
    assert np.bincount([item.label for item in data.train]).tolist() == [16] * 10


def test_a_data_set_without_validation_validates_on_training_images_that_are_left(
    tmp_path: Path,
) -> None:
    root = write_tree(tmp_path / "pets", images=6)
    shutil.rmtree(root / "val")
    data = load_data(folder_config(root, shots=5))
    assert [item.label for item in data.validation] == [0, 1]
    assert not {item.name for item in data.validation} & {item.name for item in data.train}
    assert all("/train/" in item.name for item in data.validation)
    assert data.size.num_validation == 2
    assert "10 training, 2 validation and 12 test images" in data.describe()
    with pytest.raises(DataError, match=r"pets: without a validation split, .*takes all 12"):
        load_data(folder_config(root, shots=6))


def test_a_few_shot_validation_is_what_a_task_validates_on(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", images=6)
    config = folder_config(root, shots=5, validation="few_shot")
    data = load_data(config)
    assert len(data.validation) == 2 * 4
    prepared = prepare(config, data, metered(FakeOracle()))
    assert known(prepared.validation).labels_N.tolist() == [0] * 4 + [1] * 4
    assert known(prepared.validation).handle.num_images == data.size.num_validation == 8
    assert data.train == load_data(folder_config(root, shots=5)).train


def test_images_drawn_from_parquet_need_no_file_later(tmp_path: Path) -> None:
    # A worker with fresh views decodes them in every generation, perhaps on another node.
    root = write_parquet(tmp_path / "pets", (0, 1) * 4)
    source = {"kind": "parquet", "root": str(root)}
    data = load_data(run_config(data={"source": source, "shots": 2, "validation": "few_shot"}))
    for path in root.glob("*.parquet"):
        path.unlink()
    for item in (*data.train, *data.validation):
        assert isinstance(item.encoded, bytes), "no reference, which a cache may still serve"
        assert item.decode().size == (10, 12)


def test_data_for_testing_only_is_refused_by_name(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "pets", splits=["test"])
    config = run_config(data={"source": {"kind": "parquet", "root": str(root)}})
    with pytest.raises(DataError, match="pets: split train must have at least one image for a fi"):
        load_data(config)


def test_a_summary_names_the_chosen_images_wherever_they_lie(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", images=4)
    dataset = load_dataset(FolderSource(root=str(root)))
    convert(dataset, tmp_path / "new", shard_bytes=2**20)
    source = {"kind": "parquet", "root": str(tmp_path / "new")}
    changes = {"shots": 2, "validation": "few_shot"}
    folder = data_summary(load_data(folder_config(root, **changes)))
    parquet = data_summary(load_data(run_config(data={"source": source, **changes})))
    for key in ("few_shot_manifest", "validation_manifest"):
        assert folder[key] == parquet[key]
        assert len(folder[key]) == 64
    assert folder["few_shot_manifest"] != folder["validation_manifest"]
    other = data_summary(load_data(folder_config(root, shots=2)))
    assert other["few_shot_manifest"] == folder["few_shot_manifest"]
    assert other["validation_manifest"] != folder["validation_manifest"]


def test_copies_of_training_images_are_found_by_their_bytes(tmp_path: Path) -> None:
    for name, content in (("a.png", b"one"), ("b.png", b"two"), ("c.png", b"one")):
        (tmp_path / name).write_bytes(content)
    items = [Item(tmp_path / name, 0, name) for name in ("a.png", "b.png", "c.png")]
    assert first_copies(Sources.of(items[:2])) is None
    first_N = first_copies(Sources.of([*items, items[1], Item(b"two", 1, "in memory")]))
    assert first_N is not None
    assert first_N.tolist() == [0, 1, 0, 1, 1]


def test_what_is_held_out_has_no_copy_among_what_is_fitted() -> None:
    """A sample with repetition, as the reference's loaders draw it."""
    config = probing("names", data={"shots": 6, "repeat_small_classes": True})
    data = world_data(shots=3)
    repeated = replace(data, train=(*data.train, *data.train[:4]))
    world = make_world(config, data=repeated)
    first_N = world.prepared.first_copy_N
    assert first_N is not None
    assert first_N.tolist() == [*range(len(data.train)), 0, 1, 2, 3]


def test_an_oracle_that_makes_pixels_answers_alike_in_any_number_of_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All but content addresses: one that is sent pixels, and one that makes them in blocks."""
    monkeypatch.setattr(sending, "IMAGES_PER_BLOCK", 5)
    config = run_config(data={"views": 2})
    plain = make_world(config, FakeOracle(), DATA)
    made = make_world(config, ReplicatedOracle(), DATA)
    contexts = plain.prepared.task.initial_context[None]
    sets = [
        (known(plain.prepared.validation).handle, known(made.prepared.validation).handle),
        (plain.prepared.fitness.handle, made.prepared.fitness.handle),
        *zip(handles_of(plain.prepared), handles_of(made.prepared), strict=True),
    ]
    assert len(made.prepared.fitness.handle.blocks) == 3
    for sent, named in sets:
        assert sent.num_images == named.num_images
        np.testing.assert_array_equal(
            made.oracle.predict(made.prepared.task, named, contexts),
            plain.oracle.predict(plain.prepared.task, sent, contexts),
        )
