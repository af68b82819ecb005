"""A question that another trial of the search has asked is not asked again, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.kinds import ProbesClassifier
from craft_ray.config.sections import AnswerCacheConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import locate
from craft_ray.jobs.run_folder import is_finished
from craft_ray.jobs.tuned import read_selected, read_tuned
from craft_ray.metering.journal import spent_on_record
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_run
from craft_ray.search.plan import shared_size
from craft_ray.search.sharing import (
    ANSWERS_FOLDER,
    forget_answers,
    shared_probes,
    with_answers,
)
from craft_ray.search.trials_on_disk import trial_folder, write_trial
from craft_ray.task.preparation import prepare
from craft_ray.task.prepared import SharedProbes
from craft_ray.tuners.registry import make_trainer
from tests.support.asked_endpoint import endpoint, speaking, text_oracle
from tests.support.known import known
from tests.support.model_server import model_server
from tests.support.one_process_search import OneProcessSearch
from tests.support.world import CLASS_NAMES, run_config, world_data

DATA = world_data(shots=3, num_validation=4)
NUM_TRAIN, NUM_VALIDATION, NUM_VIEWS = 12, 16, 2
A_CONTEXT = (1 + NUM_VIEWS) * NUM_TRAIN + NUM_VALIDATION
"""Image predictions of a context."""
NAMES, CONTEXTS, SCALE = "head.names", "head.contexts", "head.context_std"

PARAMETERS: dict[str, Any] = {
    NAMES: {"kind": "choice", "values": [3, 5, 9]},
    CONTEXTS: {"kind": "choice", "values": [0, 1, 2]},
}
SCALED: dict[str, Any] = {
    **PARAMETERS,
    SCALE: {"kind": "log_uniform", "low": 0.3, "high": 3.0, "when": {CONTEXTS: [1, 2]}},
}


def space_of(parameters: dict[str, Any], head: dict[str, Any], **changes: Any) -> SpaceConfig:
    base = run_config(method="head", head={"kind": "probes", **head}, **changes)
    document = {"name": "sharing", "base": base.model_dump(mode="json"), "parameters": parameters}
    return SpaceConfig.model_validate(document)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def begin(
    folder: Path,
    patch: pytest.MonkeyPatch,
    parameters: dict[str, Any],
    head: dict[str, Any] | None = None,
    **changes: Any,
) -> OneProcessSearch:
    space = space_of(parameters, head or {}, **changes)
    return OneProcessSearch(space, folder, DATA, patch)


def run_trials(search: OneProcessSearch, *points: dict[str, Any]) -> list[Spending]:
    """What each has spent, by its record and by its result."""
    spent = []
    for number, point in enumerate(points, 1):
        write_trial(search.folder, number, point)
        search.run_trial(number, point)
        folder = trial_folder(search.folder, number)
        assert read_tuned(folder).spent == spent_on_record(folder)
        spent.append(spent_on_record(folder))
    return spent


def point(names: int, contexts: int, scale: float | None = None) -> dict[str, Any]:
    return {NAMES: names, CONTEXTS: contexts, **({} if scale is None else {SCALE: scale})}


def test_fewer_and_more_names_under_a_known_context_are_not_asked_about(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, SCALED)
    first, *others = run_trials(search, point(5, 0), point(9, 0), point(3, 0))
    assert (first.candidate_queries, first.image_predictions) == (1, A_CONTEXT)
    assert first.text_encodes == (2 + NUM_VIEWS) * (len(CLASS_NAMES) + 9), "about the most names"
    for other in others:
        assert other == Spending(cached_candidates=1, cached_predictions=A_CONTEXT)
    asked = [question.logits_KNC.shape for question in search.pool.questions[1:]]
    assert len(asked) == 2 + NUM_VIEWS, "after zero-shot"
    assert {shape[2] for shape in asked} == {len(CLASS_NAMES) + 9}


def test_contexts_at_a_scale_of_their_own_are_asked_with_their_own_names(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, SCALED)
    _, second = run_trials(search, point(5, 0), point(3, 2, 0.7))
    assert (second.cached_candidates, second.candidate_queries) == (1, 2)
    assert second.cached_predictions == A_CONTEXT
    assert second.image_predictions == 2 * A_CONTEXT
    last = search.pool.questions[-1].logits_KNC
    assert last.shape == (2, NUM_VALIDATION, len(CLASS_NAMES) + 3)


def test_contexts_at_one_scale_are_shared_as_well(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, PARAMETERS)
    spent = run_trials(search, point(3, 1), point(9, 2), point(5, 2), point(5, 0))
    paid = [each.candidate_queries for each in spent]
    assert paid == [2, 1, 0, 0]
    assert [each.cached_candidates for each in spent] == [0, 2, 3, 1]
    assert sum(each.image_predictions for each in spent) == 3 * A_CONTEXT


def test_what_is_validated_again_is_not_asked_again(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    head = {"contexts_per_generation": 1}
    search = begin(tmp_path, patch, PARAMETERS, head, evaluate_every_generations=1)
    (spent,) = run_trials(search, point(3, 2))
    assert spent.candidate_queries == 3
    assert spent.image_predictions == 3 * A_CONTEXT
    assert spent.cached_predictions == 3 * NUM_VALIDATION


@pytest.mark.parametrize("parameters", [PARAMETERS, SCALED], ids=["one scale", "scaled"])
def test_no_result_depends_on_who_has_asked(
    tmp_path: Path, patch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    scale = 0.7 if parameters is SCALED else None
    points = [point(5, 0), point(9, 2, scale), point(3, 1, scale)]
    together = begin(tmp_path / "together", patch, parameters)
    run_trials(together, *points)
    for number, each in enumerate(points, 1):
        alone = begin(tmp_path / f"alone {number}", patch, parameters)
        (spent,) = run_trials(alone, each)
        assert spent.cached_candidates == 0
        assert spent == plan_run(alone.space.resolve(each), DATA.size, shared_size(alone.space)), (
            "who comes first pays what is planned, to the last prompt"
        )
        first, second = trial_folder(together.folder, number), trial_folder(alone.folder, 1)
        one, other = read_selected(first), read_selected(second)
        assert one.evidence == other.evidence
        for name, array in one.classifier.arrays().items():
            assert np.array_equal(array, other.classifier.arrays()[name]), name
        timeless = {"train_seconds": 0.0}
        reports = [{**report, **timeless} for report in read_tuned(first).reports]
        assert reports == [{**report, **timeless} for report in read_tuned(second).reports]
        assert read_tuned(first).curve == read_tuned(second).curve


def test_what_is_deployed_asks_about_its_own_names(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, PARAMETERS)
    run_trials(search, point(3, 1))
    classifier = read_selected(trial_folder(tmp_path, 1)).classifier
    assert isinstance(classifier, ProbesClassifier)
    assert len(classifier.extra_names) == 3
    asked = classifier.asked_task(search.experiment.prepared.classes)
    assert asked.class_names == (*CLASS_NAMES, *classifier.extra_names)
    search.experiment.test(classifier)
    last = search.pool.questions[-1].logits_KNC
    assert last.shape[::2] == (2, len(CLASS_NAMES) + 3)


def test_the_answers_are_gone_after_the_summary_of_a_finished_search(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, PARAMETERS)
    run_trials(search, point(3, 1), point(5, 1))
    answers = tmp_path / ANSWERS_FOLDER
    search.conclude({1: "finished", 2: "failed"})
    assert list(answers.iterdir()), "the failed trial may be tried again"
    kept = [path.read_bytes() for path in answers.iterdir()]
    search.conclude({1: "finished", 2: "finished"})
    assert is_finished(tmp_path)
    assert not answers.exists()
    # One that is extended keeps them anew.
    search.run_trial(3, point(9, 0))
    assert [path.read_bytes() for path in answers.iterdir()] != kept
    forget_answers(tmp_path)


def test_the_drivers_own_questions_are_nobodys_to_find(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path, patch, PARAMETERS)
    (spent,) = run_trials(search, point(3, 0))
    search.conclude({1: "failed"})  # zero-shot is tested
    (again,) = run_trials(begin(tmp_path / "other", patch, PARAMETERS), point(3, 0))
    assert again == spent
    assert search.experiment.config.answer_cache.folder is None


def test_a_folder_that_the_user_names_is_the_one_that_is_used(tmp_path: Path) -> None:
    own = run_config()
    assert with_answers(own, tmp_path).answer_cache.folder == str(tmp_path / ANSWERS_FOLDER)
    assert own.answer_cache.folder is None
    named = own.model_copy(update={"answer_cache": AnswerCacheConfig(folder="/elsewhere")})
    assert with_answers(named, tmp_path) is named
    forget_answers(tmp_path)  # nothing is there


def test_on_an_object_store_each_asks_for_itself(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    store = locate("s3://bucket/runs")
    own = run_config()
    assert with_answers(own, store) is own
    search = begin(tmp_path, patch, PARAMETERS)
    prepared = search.experiment.prepared
    assert shared_probes(search.space, prepared, store) is None
    assert shared_probes(search.space, prepared, tmp_path) is not None


def test_only_names_that_begin_alike_are_asked_about_together() -> None:
    shared = SharedProbes(1, (("a", "b", "c"), ("a", "x")))
    assert shared.names_around(("a",)) == ("a", "b", "c")
    assert shared.names_around(("a", "x")) == ("a", "x")
    assert shared.names_around(("b",)) == ("b",)
    assert shared.names_around(()) == ("a", "b", "c")


def test_nothing_is_shared_where_no_trial_has_fixed_contexts(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    sigma = {"kind": "log_uniform", "low": 0.1, "high": 0.5}
    space = SpaceConfig.model_validate(
        {
            "name": "craft",
            "base": run_config().model_dump(mode="json"),
            "parameters": {"optimizer.sigma": sigma},
        }
    )
    search = OneProcessSearch(space, tmp_path, DATA, patch)
    assert search.job.prepared.shared_probes is None


def test_candidates_are_shared_by_trials_that_differ_in_something_else(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    rate = "head.learning_rate"
    space = SpaceConfig.model_validate(
        {
            "name": "craft",
            "base": run_config(loss={"prompt_consistency": 0.0}).model_dump(mode="json"),
            "parameters": {rate: {"kind": "choice", "values": [1e-3, 1e-2]}},
        }
    )
    search = OneProcessSearch(space, tmp_path, DATA, patch)
    first, second = run_trials(search, {rate: 1e-3}, {rate: 1e-2})
    assert first.candidate_queries == second.cached_candidates == 40
    assert second.image_predictions == 0
    assert read_tuned(trial_folder(tmp_path, 2)).reports[-1]["candidate_queries"] == 40


@pytest.mark.parametrize("dialect", ["hf_zero_shot", "kserve_v2"], ids=["softmax", "logits"])
def test_a_head_is_fitted_to_what_it_sees_when_it_is_deployed(dialect: str, tmp_path: Path) -> None:
    """A softmax over more names gives each of them other numbers."""
    with model_server(speaking(dialect)) as server:
        options = {"scores": "out"} if dialect == "kserve_v2" else {}
        target = endpoint(server.url, dialect, options=options, image_size=8)
        base = run_config(method="head", head={"kind": "linear"}, data={"views": 0})
        document = base.model_dump(mode="json")
        document["oracle"] = target.model_dump(mode="json")
        variants = {"linear": {}, "probes": {"head": {"kind": "probes", "names": 9}}}
        space = SpaceConfig.model_validate(
            {"name": "sharing", "base": document, "parameters": {}, "variants": variants}
        )
        config = space.resolve({"variant": "linear"})
        with text_oracle(target, tmp_path / "run") as oracle:
            driver = MeteredOracle(oracle, QueryLedger(0))
            prepared = prepare(config, DATA, driver)
            shared = shared_probes(space, prepared, tmp_path)
            assert (shared is None) == (dialect == "hf_zero_shot")
            prepared = replace(prepared, shared_probes=shared)
            metered = MeteredOracle(oracle, QueryLedger(config.max_queries))
            trainer = make_trainer(metered, prepared, config)
            trainer.run_generation()
            working = trainer._working_classifier()
            answers_KNC = trainer._validation_answers(working)
            assert answers_KNC is not None
            deployed_KNC = working.ask(driver, prepared.classes, known(prepared.validation).handle)
            np.testing.assert_allclose(answers_KNC, deployed_KNC, rtol=1e-4, atol=1e-5)
