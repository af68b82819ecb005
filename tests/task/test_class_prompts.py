"""Texts of each class, by kind of offset; and a user's descriptions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.config.run import RunConfig
from craft_ray.data import descriptions
from craft_ray.data.descriptions import read_descriptions
from craft_ray.errors import ConfigError, OracleError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.contract_laws import prompts_of
from craft_ray.task.class_prompts import ClassPrompts, class_prompts
from craft_ray.task.preparation import prepare
from tests.support.fake_oracle import FakeOracle
from tests.support.world import CLASS_NAMES, metered, run_config, world_data

NAMES = ("cat", "ankle_boot")


def probes(offset: str, **settings: Any) -> RunConfig:
    return run_config(
        method="head", head={"kind": "probes", "names": 3, "offset": offset}, **settings
    )


def asked(offset: str, **settings: Any) -> ClassPrompts:
    prompts = class_prompts(probes(offset, **settings), NAMES, "a photo of a {}.", {})
    assert prompts is not None
    return prompts


def test_the_template_asks_nothing_more() -> None:
    assert class_prompts(probes("template"), NAMES, "a photo of a {}.", {}) is None


def test_an_ensemble_is_clips_seven_templates_beside_the_tasks_own() -> None:
    prompts = asked("ensemble")
    assert prompts.of_classes[1][1] == "a bad photo of the ankle boot."
    assert [len(own) for own in prompts.of_classes] == [7, 7]
    assert prompts.most == 8


def test_waffle_adds_the_same_nonsense_to_all_classes_and_is_drawn_by_the_seed() -> None:
    cats, boots = asked("waffle").of_classes
    assert len(cats) == 15
    assert [text.replace("cat", "ankle boot", 1) for text in cats] == list(boots)
    assert all(text.startswith("a photo of a cat, which has ") for text in cats)
    assert asked("waffle") == asked("waffle")
    assert asked("waffle", seed=2) != asked("waffle")


def test_the_map_takes_the_mean_of_each_class() -> None:
    prompts = ClassPrompts((("a", "b", "c"), ("d",)), with_template=True)
    logits = np.array([[1, 10, 7, 7, 2, 3, 6, 20]], dtype=np.float32)  # two names stand between
    np.testing.assert_allclose(logits @ prompts.mean_map(2), [[(1 + 2 + 3 + 6) / 4, 15]], rtol=1e-6)
    alone = ClassPrompts(prompts.of_classes, with_template=False)
    np.testing.assert_allclose(logits @ alone.mean_map(2), [[11 / 3, 20]], rtol=1e-6)


def test_whole_prompts_change_the_address_of_a_task_and_none_keep_it() -> None:
    task = ClassificationTask(NAMES)
    earlier = json.dumps([list(NAMES), "a photo of a {}."]).encode()
    assert task.digest == hashlib.sha256(earlier).hexdigest()
    assert ClassificationTask(NAMES, prompts=("x",)).digest != task.digest
    assert prompts_of(ClassificationTask(("cat",), "a {}.", ("x", "y"))) == ("a cat.", "x", "y")


def write(path: Path, document: object) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_descriptions_are_read_by_name_whatever_else_the_file_has(tmp_path: Path) -> None:
    document = {"Ankle boot": ["a boot. ", "a boot."], "dog": [], "cat": ["a cat", "b"]}
    document["dog"] = ["woof"]
    place = write(tmp_path / "cupl.json", document)
    assert read_descriptions(place, NAMES) == (("a cat", "b"), ("a boot.",))


GOOD = ["a cat."]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"cat": GOOD}, "sentences of every class, but has none of 'ankle_boot'"),
        ({"cat": GOOD, "ankle boots": GOOD}, "has 'ankle boots', which is no class of the task"),
        ({"cat": GOOD, "ankle_boot": []}, "'ankle_boot' must have at least one sentence"),
        ({"cat": "a cat.", "ankle_boot": GOOD}, "'cat' must have a list of sentences, but has a"),
        ({"cat": [" "], "ankle_boot": GOOD}, "class 'cat' must have no empty sentence"),
        ({"cat": ["a\x07b"], "ankle_boot": GOOD}, "'cat' must have printable characters only"),
        ('{"cat": ["a"], "CAT": ["b"]}', "each class once, but 'CAT' is there twice"),
        ("[1, 2]", "must be .* but is not"),
        ("[]", "must be .* but is not"),
        ("{", "must be JSON, but: "),
        ("[" * 100_000, "must be JSON, but: "),
    ],
)
def test_bad_descriptions_are_refused(document: object, problem: str, tmp_path: Path) -> None:
    place = write(tmp_path / "cupl.json", document)
    with pytest.raises(ConfigError, match=rf"^head.offset: .*cupl.json: .*{problem}"):
        read_descriptions(place, NAMES)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"head.offset: .*none.json: must be a file"):
        read_descriptions(str(tmp_path / "none.json"), NAMES)


def test_a_file_has_one_place_for_all_processes_and_a_short_name_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = probes("cupl.json").probing_head
    assert head is not None
    assert head.descriptions_file == str(tmp_path / "cupl.json")
    assert head.offset_name == "cupl.json"
    remote = probes("s3://bucket/cupl.json").probing_head
    assert remote is not None
    assert remote.descriptions_file == "s3://bucket/cupl.json"


def test_a_file_that_is_something_else_is_not_read_as_descriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "MOST_BYTES", 10)
    (tmp_path / "large.json").write_text('{"cat": ["a cat"]}')
    with pytest.raises(ConfigError, match="it has 18 bytes, and may have 10"):
        read_descriptions(str(tmp_path / "large.json"), ("cat",))


def test_a_sentence_that_is_too_long_is_refused_with_its_class_before_images_are_sent(
    tmp_path: Path,
) -> None:
    document = {name: [f"a {name}."] for name in CLASS_NAMES} | {"dog": ["long " * 20]}
    config = probes(write(tmp_path / "cupl.json", document))
    driver = metered(FakeOracle())
    with pytest.raises(
        OracleError,
        match=r"head.offset: class 'dog': prompt 'long .*at most 16 tokens, but has 22; shorten it",
    ):
        prepare(config, world_data(shots=1), driver)
    assert driver.ledger.spent.images_sent == 0


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"offset": "ensembel"}, "must be template, ensemble, waffle, or a file"),
        ({"offset": "ensemble", "names": 0, "contexts": 2}, "contexts must be 0 when offset is"),
        ({"offset": "waffle", "fit": "similarity"}, "offset must be template when fit is simil"),
    ],
)
def test_offsets_that_cannot_be_are_refused(head: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run_config(method="head", head={"kind": "probes", **head})


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"kind": "linear"}, "fit must not be similarity when kind is linear"),
        ({"kind": "probes", "names": 0}, "names must be at least 1 when fit is similarity"),
        ({"kind": "probes", "names": 0, "contexts": 2}, "names must be at least 1"),
    ],
)
def test_similarity_without_names_would_see_nothing(head: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run_config(method="head", head={**head, "fit": "similarity"})


def test_a_searched_prompt_has_no_whole_texts() -> None:
    with pytest.raises(ValueError, match=r"head.offset must be template when method is both"):
        run_config(method="both", head={"kind": "linear", "offset": "ensemble"})
