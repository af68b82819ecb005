"""Where a head starts from: the template's logits, or the mean of more texts of each class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import ProbesClassifier
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_bill import plan_run_bill
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.method.heads import LinearHead, choose_offset, fit_head
from craft_ray.oracle.usable import check_method_of
from craft_ray.search.plan import dearest_runs, plan_search
from craft_ray.task.class_prompts import ClassPrompts
from craft_ray.task.preparation import classification_task, prepare
from craft_ray.task.prepared import SharedProbes
from craft_ray.tuners.columns import Columns
from craft_ray.tuners.features import FeaturesTrainer
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.untouched import UntouchedTrainer
from tests.support.asked_endpoint import endpoint, opened, speaking
from tests.support.craft_ray_server import CraftRayServer
from tests.support.fake_oracle import FakeOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.model_server import model_server
from tests.support.probing import finish
from tests.support.recording import RecordingOracle
from tests.support.world import (
    CLASS_NAMES,
    World,
    make_world,
    metered,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(shots=4, num_validation=5, num_test=20)
STRANGE = "purple purple purple {}."
"""A template under which zero-shot is bad."""


def right(name: str) -> list[str]:
    return [name.replace(" ", "_")]


def wrong(name: str) -> list[str]:
    return right(CLASS_NAMES[CLASS_NAMES.index(name) - 1])


def described(folder: Path, sentences: Any = right) -> str:
    place = folder / "cupl.json"
    place.write_text(json.dumps({name: sentences(name) for name in CLASS_NAMES}))
    return str(place)


def probing(offset: str, *, template: str = STRANGE, **head: Any) -> RunConfig:
    kind = {"kind": "probes", "names": 5, "folds": 3, "offset": offset, **head}
    return run_config(method="head", head=kind, data={"template": template})


def test_the_likeliest_offset_is_chosen_and_the_first_of_equal_ones() -> None:
    labels_N = np.array([0, 1, 2, 0])
    good_NC = 3 * np.eye(3, dtype=np.float32)[labels_N]
    bad_NC = good_NC[:, [1, 2, 0]]
    chosen = choose_offset({"template": bad_NC, "other": good_NC}, labels_N, "other")
    assert chosen.name == "other"
    assert chosen.losses["other"] < chosen.losses["template"]
    assert choose_offset({"template": good_NC, "other": bad_NC}, labels_N, "other").name != "other"
    assert choose_offset({"template": good_NC, "x": good_NC}, labels_N, "x").name == "template"


def test_classes_without_a_label_do_not_choose() -> None:
    """An offset that is good at the labelled classes is not refused for what it says of others."""
    labels_N = np.array([0, 1, 0, 1])
    template_NC = np.eye(3, dtype=np.float32)[labels_N]
    other_NC = 2 * template_NC
    other_NC[:, 2] = 9
    chosen = choose_offset({"template": template_NC, "other": other_NC}, labels_N, "other")
    assert chosen.name == "other"


def test_without_labelled_images_what_was_asked_for_is_taken() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    chosen = choose_offset({"template": nothing, "x": nothing}, np.zeros(0, np.int64), "x")
    assert (chosen.name, chosen.losses) == ("x", {})


def test_a_mean_of_columns_is_corrected_as_the_first_columns_are() -> None:
    """The head does not see which columns it starts from: only what they are."""
    random = np.random.default_rng(0)
    labels_N = np.repeat(np.arange(3), 8)
    logits_VNF = random.normal(size=(2, 24, 12)).astype(np.float32)
    logits_VNF[:, np.arange(24), labels_N] += 1
    order = [9, 10, 11, *range(9)]
    offset_FC = np.zeros((12, 3), np.float32)
    offset_FC[[0, 1, 2], [0, 1, 2]] = 1
    first = fit_head("anchored", logits_VNF, labels_N, 3, 4, 0)
    given = fit_head("anchored", logits_VNF, labels_N, 3, 4, 0, offset_FC=offset_FC)
    moved = fit_head(
        "anchored", logits_VNF[:, :, order], labels_N, 3, 4, 0, offset_FC=offset_FC[order]
    )
    expected = first.head(logits_VNF[0])
    np.testing.assert_allclose(given.head(logits_VNF[0]), expected, atol=1e-4)
    np.testing.assert_allclose(moved.head(logits_VNF[0][:, order]), expected, atol=1e-2)


def trained(config: RunConfig, oracle: FakeOracle | None = None) -> tuple[World, Any, Any]:
    world = make_world(config, oracle, DATA)
    trainer, ledger = world.trainer()
    finish(trainer)
    return world, trainer, ledger


@pytest.mark.parametrize(("sentences", "offset"), [(right, "cupl.json"), (wrong, "template")])
@pytest.mark.parametrize("kind", ["probes", "linear"])
def test_training_images_choose_and_the_choice_is_told(
    kind: str, sentences: Any, offset: str, tmp_path: Path
) -> None:
    names = {} if kind == "linear" else {"names": 5}
    head = {"kind": kind, "folds": 3, "offset": described(tmp_path, sentences), **names}
    config = run_config(method="head", head=head, data={"template": STRANGE})
    _, trainer, _ = trained(config)
    findings = trainer.findings
    assert findings.offset == offset
    assert list(findings.offset_losses) == ["template", "cupl.json"]
    assert findings.offset_losses[findings.offset] == min(findings.offset_losses.values())
    told = findings.sentences(CLASS_NAMES)[0]
    assert told.startswith("Offset: ")
    assert "by the loss on the training images" in told
    assert findings.restore(json.loads(json.dumps(findings.as_dict()))) == findings


def test_findings_of_earlier_versions_are_read() -> None:
    _, trainer, _ = trained(probing("template"))
    values = trainer.findings.as_dict()
    earlier = {name: value for name, value in values.items() if not name.startswith("offset")}
    assert trainer.findings.restore(earlier) == trainer.findings


def test_it_is_one_question_an_image_and_the_plan_is_exact(tmp_path: Path) -> None:
    recording = RecordingOracle(FakeOracle())
    config = probing(described(tmp_path, lambda name: [*right(name), "a wet " + right(name)[0]]))
    world = make_world(config, recording, DATA)
    trainer, ledger = world.trainer()
    recording.questions.clear()
    finish(trainer)
    size = world.data.described_for(config).size
    assert size.num_sentences == 8
    assert ledger.spent == plan_run(config, size)
    assert ledger.spent.candidate_queries == 1
    # Plain images, two views and validation: 4 classes, 5 names, 8 sentences each.
    assert ledger.spent.text_encodes == 4 * (4 + 5 + 8)
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(config, DATA, driver), DATA)
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot, trainer.selected.classifier])
    assert examiner.spent == plan_driver(config, size)


def test_a_stored_classifier_asks_the_same_texts(tmp_path: Path) -> None:
    world, trainer, _ = trained(probing(described(tmp_path)))
    classifier = trainer.selected.classifier
    assert isinstance(classifier, ProbesClassifier)
    assert classifier.prompts == tuple(right(name)[0] for name in CLASS_NAMES)
    task = classification_task(world.config, DATA)
    artifact = Artifact(classifier, task, world.prepared.oracle_id)
    artifact.save(tmp_path / "best")
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    loaded = Artifact.load(tmp_path / "best")
    assert loaded.content_id == artifact.content_id
    assert "- asked beside: 4 texts, such as: cat\n" in loaded.card("best")
    assert loaded.classifier.prompts == classifier.prompts
    expected = classifier.predict(metered(oracle), task, images)
    np.testing.assert_array_equal(loaded.predict(oracle, images), expected)


def test_a_classifier_without_texts_is_stored_as_ever() -> None:
    world, trainer, _ = trained(probing("template"))
    task = classification_task(world.config, DATA)
    artifact = Artifact(trainer.selected.classifier, task, world.prepared.oracle_id)
    assert "prompts" not in artifact.description()


def test_a_trial_finds_its_own_columns_among_those_of_a_search(tmp_path: Path) -> None:
    """Other trials ask about more names: the texts come behind all of them."""
    config = probing(described(tmp_path))
    world, alone, _ = trained(config)
    more = (*alone.selected.classifier.extra_names, "a further name", "another one")
    shared = SharedProbes(1, (more,))
    prepared = {**vars(world.prepared), "shared_probes": shared}
    together = World(config, world.oracle, DATA, type(world.prepared)(**prepared))
    trainer, _ = together.trainer()
    finish(trainer)
    found, expected = (t.selected.classifier.arrays() for t in (trainer, alone))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)


@pytest.mark.parametrize(("sentences", "offset"), [(right, "cupl.json"), (wrong, "template")])
def test_features_start_from_the_mean_of_the_texts(
    sentences: Any, offset: str, tmp_path: Path
) -> None:
    head = {"kind": "features", "folds": 3, "offset": described(tmp_path, sentences)}
    settings = {"oracle": {"features": True}, "data": {"template": STRANGE}}
    config = run_config(method="head", head=head, **settings)
    oracle = FakeFeatureOracle()
    world, trainer, ledger = trained(config, oracle)
    assert isinstance(trainer, FeaturesTrainer)
    assert trainer.findings is not None
    assert trainer.findings.offset == offset
    assert ledger.spent == plan_run(config, world.data.described_for(config).size)
    assert ledger.spent.text_encodes == oracle.texts_embedded == 2 * len(CLASS_NAMES)
    assert trainer.selected.classifier.prompts == ()


def test_an_endpoint_with_classes_of_its_own_is_not_asked_about_texts() -> None:
    oracle = endpoint("http://host.test", "kserve_v2", options={"scores": "out", "texts": None})
    head = {"kind": "linear", "folds": 3, "offset": "ensemble"}
    config = run_config(method="head", head=head).model_copy(update={"oracle": oracle})
    with pytest.raises(OracleError, match=r"head.offset: must be template .* got ensemble"):
        check_method_of(config)


def test_a_search_plans_each_variant_with_its_own_texts_and_searches_no_offset() -> None:
    base = run_config(method="head", head={"kind": "probes", "names": 5, "offset": "template"})
    variants = {"a": {}, "b": {"head": {"offset": "waffle"}}}
    document = {"name": "x", "trials": 2, "base": base.model_dump(mode="json")}
    space = SpaceConfig.model_validate({**document, "variants": variants, "parameters": {}})
    plans = [plan_run(run, DATA.size).text_encodes for run in dearest_runs(space)]
    assert sorted(plans) == [4 * (4 + 5), 4 * (4 + 5 + 4 * 15)]
    assert plan_search(space, DATA.size).text_encodes >= sum(plans)
    searched = {"head.offset": {"kind": "choice", "values": ["template", "ensemble"]}}
    with pytest.raises(ValueError, match=r"head.offset: cannot be searched: training images"):
        SpaceConfig.model_validate({**document, "parameters": searched})


@pytest.mark.parametrize("has_validation", [False, True])
@pytest.mark.parametrize("kind", ["probes", "linear", "features"])
def test_without_images_the_mean_of_the_texts_is_returned_at_the_planned_price(
    kind: str, has_validation: bool, tmp_path: Path
) -> None:
    head = {"kind": kind, "offset": described(tmp_path)}
    images = {"shots": 0, "validation": "full" if has_validation else "none"}
    config = run_config(
        method="head",
        head=head,
        data={"template": STRANGE, **images},
        oracle={"features": kind == "features"},
    )
    data = replace(DATA, train=(), validation=DATA.validation if has_validation else ())
    oracle = FakeFeatureOracle()
    world = make_world(config, oracle, data)
    trainer, ledger = world.trainer()
    finish(trainer)
    size = data.described_for(config).size
    assert ledger.spent == plan_run(config, size)
    classifier = trainer.selected.classifier
    assert classifier.kind == "probes"
    assert classifier.extra_names == ()
    driver = MeteredOracle(oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(config, data, driver), data)
    examiner.validate_zero_shot()
    template, mean = examiner.test([examiner.zero_shot, classifier])
    assert mean.accuracy > template.accuracy
    assert examiner.spent == plan_driver(config, size)
    texts = ledger.spent.text_encodes + examiner.spent.text_encodes
    # Four names and four sentences; the template's four again for zero-shot.
    assert texts == (4 + 8) * (2 if has_validation else 1)


@pytest.mark.parametrize("has_validation", [False, True])
@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot", "craft_ray"])
def test_without_images_an_endpoint_is_asked_what_was_planned(
    dialect: str, has_validation: bool, tmp_path: Path
) -> None:
    oracle = endpoint("http://host.test", dialect, image_size=8)
    head = {"kind": "probes", "offset": "ensemble"}
    images = {"shots": 0, "validation": "full" if has_validation else "none"}
    config = run_config(method="head", head=head, data=images)
    config = config.model_copy(update={"oracle": oracle})
    data = replace(DATA, train=(), validation=DATA.validation if has_validation else ())
    served = CraftRayServer(FakeOracle()).serve if dialect == "craft_ray" else speaking(dialect)
    with model_server(served) as server:
        target = oracle.model_copy(update={"url": server.url})
        with opened(target, tmp_path / "run") as asked:
            driver = MeteredOracle(asked, QueryLedger(0))
            prepared = prepare(config, data, driver)
            examiner = Examiner(driver, prepared, data)
            prepared, _ = examiner.validate_zero_shot()
            worker = MeteredOracle(asked, QueryLedger(1), logit_scale=prepared.logit_scale)
            trainer = make_trainer(worker, prepared, config)
            finish(trainer)
            working = UntouchedTrainer(worker, prepared, config)._working_classifier()
            examiner.test([examiner.zero_shot, working])
            real = asked.bill.answered
    plan = plan_run_bill(config, data.size)
    if dialect == "infinity":
        assert real.requests <= plan.requests
        assert (real.images, real.texts) == (plan.images, plan.texts - 4)
    else:
        assert real.pairs == plan.pairs


def test_of_many_texts_the_head_sees_the_mean_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored takes all answers, as if every text had been a column of its own."""
    file = described(tmp_path, lambda name: [*right(name), f"a wet {right(name)[0]}"])
    monkeypatch.setattr("craft_ray.tuners.columns.MOST_TEXTS", 7)
    world, trainer, _ = trained(probing(file))
    classifier = trainer.selected.classifier
    assert isinstance(classifier, ProbesClassifier)
    assert trainer.findings.num_answers == 4 + 5 + 4
    assert trainer.findings.offset == "cupl.json"
    assert len(classifier.prompts) == 8
    assert classifier.head.weight_FC.shape == (4 + 5 + 8, 4)
    np.testing.assert_array_equal(
        classifier.head.weight_FC[9:16:2], classifier.head.weight_FC[10::2]
    )
    examiner = Examiner(metered(world.oracle), world.prepared, DATA)
    before, after = examiner.test([examiner.zero_shot, classifier])
    assert after.accuracy > before.accuracy + 0.1


def test_columns_of_a_mean_and_of_all_texts_give_the_same() -> None:
    random = np.random.default_rng(0)
    prompts = ClassPrompts((("a", "b", "c"), ("d", "e", "f")), with_template=True)
    columns = Columns(num_classes=2, num_names=5, prompts=prompts)
    answers_KNA = random.normal(size=(1, 6, 5 + 3 + 6)).astype(np.float32)  # others have 3 names
    own_KNA = columns.own(answers_KNA)
    np.testing.assert_array_equal(own_KNA, np.delete(answers_KNA, [5, 6, 7], axis=2))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("craft_ray.tuners.columns.MOST_TEXTS", 5)
        seen_NF = columns.seen(own_KNA)[0]
        head = LinearHead(random.normal(size=(7, 2)).astype(np.float32), np.ones(2, np.float32))
        np.testing.assert_allclose(columns.of_answers(head)(own_KNA[0]), head(seen_NF), atol=1e-5)
        mean_NC = seen_NF @ columns.offset_map()
    np.testing.assert_allclose(mean_NC, own_KNA[0] @ columns.offset_map(), atol=1e-6)
