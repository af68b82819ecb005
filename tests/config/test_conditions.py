"""Parameters that apply under a choice: nothing is sampled that has no effect."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from craft_ray.config.combinations import STRENGTH, covering_design
from craft_ray.config.documents import flatten
from craft_ray.config.effects import missing_for
from craft_ray.config.heads import LinearHeadConfig, ProbesHeadConfig, ResidualMlpConfig
from craft_ray.config.optimizers import SpsaConfig
from craft_ray.config.problems import describe_problems
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig

RATE = {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}
SIGMA = {"kind": "log_uniform", "low": 0.01, "high": 1.0}
VARIANTS: dict[str, Any] = {
    "probes": {"method": "head", "head": {"kind": "probes", "names": 300}},
    "craft": {"optimizer": {"batches": 4}},
    "descent": {"optimizer": {"kind": "spsa", "learning_rate": 0.1}},
}


def choice(*values: Any, **when: Any) -> dict[str, Any]:
    conditions = {path.replace("__", "."): value for path, value in when.items()}
    return {"kind": "choice", "values": list(values), "when": conditions}


def space_of(parameters: dict[str, Any], **words: Any) -> SpaceConfig:
    return SpaceConfig.model_validate({"name": "s", "parameters": parameters, **words})


def refusal(parameters: dict[str, Any], **words: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        space_of(parameters, **words)
    return "\n".join(describe_problems(caught.value))


def test_a_variant_is_the_base_with_its_settings_and_a_kind_brings_its_own_defaults() -> None:
    base = RunConfig.model_validate(
        {"max_queries": 400, "optimizer": {"sigma": 0.3, "bound": None}, "head": {"hidden": 64}}
    )
    space = space_of({}, base=base, variants=VARIANTS)
    assert space.tree.order == ["variant"]
    assert space.resolve({"variant": "craft"}).optimizer == base.optimizer.model_copy(
        update={"batches": 4}
    )
    probes = space.resolve({"variant": "probes"})
    assert (probes.method, probes.head) == ("head", ProbesHeadConfig(names=300))
    descent = space.resolve({"variant": "descent"})
    assert descent.head == ResidualMlpConfig(hidden=64)
    # What both kinds know and the base has changed is kept; CMA-ES's population is not SPSA's.
    assert descent.optimizer == SpsaConfig(learning_rate=0.1, sigma=0.3, bound=None)


def test_kinds_can_be_searched_over_and_each_has_its_own_parameters() -> None:
    space = space_of(
        {
            "method": choice("both", "head", "prompt"),
            "head.kind": choice("residual_mlp", "linear", method=["both", "head"]),
            "head.learning_rate": {**RATE, "when": {"head.kind": "residual_mlp"}},
            "optimizer.kind": choice("cma_es", "spsa", method=["both", "prompt"]),
            "optimizer.learning_rate": {**RATE, "when": {"optimizer.kind": "spsa"}},
        },
        base={"data": {"views": 4}, "head": {"hidden": 32}},
        first_trials=[
            {"method": "head", "head.kind": "linear"},
            {"method": "prompt", "optimizer.kind": "spsa", "optimizer.learning_rate": 1e-3},
        ],
    )
    linear, descent = (space.resolve(point) for point in space.first_trials)
    assert linear.head == LinearHeadConfig()
    assert descent.optimizer == SpsaConfig(learning_rate=1e-3)
    assert space.problem_of({"method": "head", "head.kind": "linear", "optimizer.kind": "spsa"})
    text = space.problem_of({"method": "both", "head.kind": "residual_mlp"})
    assert text is not None
    assert "misses ['head.learning_rate', 'optimizer.kind']" in text


def test_a_preset_of_a_variant_is_not_undone_by_the_switches_of_the_base() -> None:
    base = {"fidelity": {"fitness_images": "one_augmentation"}}
    variants = {"careful": {}, "authors": {"fidelity": "reference"}}
    space = space_of({}, base=base, variants=variants)
    assert space.resolve({"variant": "authors"}).fidelity.head_init == "default"
    text = refusal({}, variants=variants)
    assert "variants.authors: fidelity.fitness_images must be the base's" in text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"head.learning_rate": RATE, "method": choice("both", "prompt")},
            "parameters.head.learning_rate: must have an effect wherever it is sampled, but has "
            "none with method=prompt: add `when: {method: both}`",
        ),
        (
            {"head.learning_rate": RATE, "method": choice("head", "prompt")},
            "has none with method=prompt: add `when: {method: head}`",
        ),
        (
            {
                "head.kind": choice("residual_mlp", "probes"),
                "head.names": {"kind": "int_uniform", "low": 100, "high": 500},
            },
            "has none with head.kind=residual_mlp: add `when: {head.kind: probes}`",
        ),
        (
            {"optimizer.kind": choice("spsa", "zip", "cma_es"), "optimizer.rank": choice(2, 4)},
            "parameters.optimizer.rank: .*add `when: {optimizer.kind: zip}`",
        ),
        (
            {
                "loss.head_consistency": choice(0, 0.1),
                "loss.head_consistency_share": {"kind": "uniform", "low": 0.1, "high": 1},
            },
            "has none with loss.head_consistency=0.*add `when: {loss.head_consistency: 0.1}`",
        ),
        (
            {"head.names": choice(100, 200)},
            "parameters.head.names: must have an effect, but has none: it needs {head.kind: pr",
        ),
        (
            {"optimizer.momentum": {"kind": "uniform", "low": 0.5, "high": 0.9}},
            "it needs {optimizer.kind: spsa_gc}, which never holds",
        ),
    ],
)
def test_what_would_be_sampled_in_vain_is_refused_with_the_condition_to_add(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        space_of(parameters, base={"data": {"views": 4}})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"optimizer.sigma": {**SIGMA, "when": {"optimizer.knid": "spsa"}}},
            "parameters.optimizer.sigma.when.optimizer.knid: must be variant, a searched parameter",
        ),
        (
            {"optimizer.sigma": {**SIGMA, "when": {"variant": "craft"}}},
            "when.variant: needs `variants`, but the space has none",
        ),
        (
            {"head.hidden": choice(8, 16, head__batch_size=8), "head.batch_size": choice(8, 16)},
            None,
        ),
        (
            {
                "head.hidden": choice(8, 16, head__batch_size=8),
                "head.batch_size": choice(8, 16, head__hidden=8),
            },
            "must not depend on itself, but head.hidden, head.batch_size name each other",
        ),
        (
            {"head.hidden": choice(8, 16, head__batch_size=9), "head.batch_size": choice(8, 16)},
            "when.head.batch_size: must be among the values of head.batch_size, but got 9",
        ),
        (
            {"head.hidden": choice(8, 16, optimizer__sigma=0.1), "optimizer.sigma": SIGMA},
            "must be a choice or an integer, but is a range of floats",
        ),
        (
            {"head.hidden": choice(8, 16, method="prompt")},
            "parameters.head.hidden.when: must be able to hold, but no combination",
        ),
        ({"head.hidden": choice(8, 16, method=[])}, "must name at least one value, but got"),
        ({"variant": choice("a", "b")}, "parameters.variant: must not be given"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused(
    parameters: dict[str, Any], message: str | None
) -> None:
    if message is None:
        space_of(parameters)
        return
    assert message in refusal(parameters)


def test_a_range_that_begins_at_zero_is_not_zero() -> None:
    share = {"kind": "uniform", "low": 0, "high": 1}
    space_of({"loss.head_consistency": share, "loss.head_consistency_share": choice(0.5, 1)})


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"a": {}, "b": {"data": {"shots": 4}}}, "variants.b.data: must belong to one of"),
        ({"a": {}, "b": {"prompt": {"start": "x"}}}, "prompt.start must be the base's"),
        ({"a": {}, "b": {"optimizer": {"sigma": -1}}}, "variants.b: optimizer.sigma: .*-1"),
        (
            {"a": {}, "b": {"optimizer": {"population": 9999}}},
            r"variants.b: max_queries >= optimizer.population .* \(variants.b=null leaves it out\)",
        ),
        ({"a": {}, "b": {"optimiser": {"sigma": 1}}}, "variants.b.optimiser: .*did you mean optim"),
        ({"a": {}, "b": {"min_shots": "x"}}, "variants.b.min_shots: must be a whole number >= 1"),
        ({"a": {}, "b": {"min_shots": 0}}, "variants.b.min_shots: must be a whole number >= 1"),
        ({"a": {}, "b": {"head": {"names": 9}}}, "head.names: is not a known setting"),
        ({"a": {}, "b": {"optimizer": {"kind": "adam"}}}, "variants.b: optimizer.kind: .*'adam'"),
        ({"a": {}, "b": {"head": {"kind": ["probes"]}}}, r"variants.b: head\.kind: "),
        ({"a": {}, "b": {"head": None}}, "variants.b: head: "),
        ({"a": {}, "b": {"loss": 3}}, "variants.b: loss: "),
    ],
)
def test_a_variant_that_is_no_run_is_refused(variants: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        space_of({}, variants=variants)


@pytest.mark.parametrize(
    "name", ["[/red]", "", "a\tb", "\x1b[31m", " a", "a ", "a\n", "x" * 61, "é"]
)
def test_a_name_of_a_variant_that_no_table_could_show_is_refused(name: str) -> None:
    law = f"must be the name of a variant, .* but got {re.escape(ascii(name[:80]))}$"
    with pytest.raises(ValidationError) as caught:
        space_of({}, variants={"a": {}, name: {"method": "prompt"}})
    (problem,) = describe_problems(caught.value)
    assert re.search(law, problem)
    assert "[key]" not in problem


@pytest.mark.parametrize("name", ["searched probes", "a", "CraFT-2.1_b", "5 names + contexts"])
def test_a_variant_may_be_named_by_words(name: str) -> None:
    space_of({}, variants={name: {}, "b": {"method": "prompt"}})


def test_conditions_may_name_settings_that_only_variants_decide() -> None:
    parameters = {"optimizer.sigma": {**SIGMA, "when": {"method": "both"}}}
    space = space_of(parameters, variants=VARIANTS, base={"data": {"views": 4}})
    assert space.is_valid({"variant": "probes"})
    assert space.is_valid({"variant": "craft", "optimizer.sigma": 0.1})
    assert not space.is_valid({"variant": "craft"})
    assert not space.is_valid({"variant": "nothing"})
    text = refusal({"optimizer.sigma": SIGMA}, variants=VARIANTS, base={"data": {"views": 4}})
    assert "has none with variant=probes: add `when: {method: [both, prompt]}`" in text


def test_a_condition_on_a_setting_that_is_not_searched_sees_what_the_chosen_kind_makes_of_it() -> (
    None
):
    sigma = {**SIGMA, "when": {"optimizer.population": 40}}
    space = space_of(
        {"optimizer.sigma": sigma, "optimizer.kind": choice("cma_es", "spsa")},
    )
    assert space.tree.order == ["optimizer.kind", "optimizer.sigma"]
    assert space.problem_of({"optimizer.kind": "spsa"}) is None
    assert space.problem_of({"optimizer.kind": "cma_es", "optimizer.sigma": 0.1}) is None
    assert space.problem_of({"optimizer.kind": "spsa", "optimizer.sigma": 0.1})


@pytest.mark.parametrize(
    ("when", "holds_for"),
    [
        ({"optimizer.rank": 5}, ["zip"]),
        ({"optimizer.momentum": 0.9}, ["spsa_gc"]),
        ({"optimizer.stability": [1, 20]}, ["spsa", "spsa_gc", "zip"]),
        ({"optimizer.bound": 5}, ["cma_es", "zip", "spsa", "spsa_gc"]),
        ({"optimizer.rank": 6}, []),
        ({"optimizer.warm_up_generations": 200}, []),
        ({"optimizer.rank": True}, []),
    ],
)
def test_a_condition_may_name_a_setting_that_only_some_kinds_have(
    when: dict[str, Any], holds_for: list[str]
) -> None:
    kinds = choice("cma_es", "zip", "spsa", "spsa_gc")
    parameters = {"optimizer.sigma": {**SIGMA, "when": when}, "optimizer.kind": kinds}
    if not holds_for:
        assert "parameters.optimizer.sigma.when: must be able to hold" in refusal(parameters)
        return
    tree = space_of(parameters).tree
    kinds_of = [branch["optimizer.kind"] for branch in tree.branches()]
    assert {
        kind for kind in kinds_of if tree.applies("optimizer.sigma", {"optimizer.kind": kind})
    } == {*holds_for}


@pytest.mark.parametrize(
    ("variants", "parameters", "message"),
    [
        ({"a": {}, "b": {}}, {}, "variants.b: must differ from variants.a"),
        ({"a": {}, "b": {"optimizer": {"population": 40}}}, {}, "variants.b: must differ from"),
        ({"a": {}, "b": {"optimizer": {"sigma": 3}}}, {"optimizer.sigma": SIGMA}, "variants.b: mu"),
        (
            {"a": {"method": "head"}, "b": {"method": "head", "optimizer": {"sigma": 3}}},
            {},
            "variants.b: must differ from variants.a",
        ),
        ({"a": {}, "b": {"optimizer": {"sigma": 3}}}, {}, None),
        ({"a": {}, "b": {}}, {"optimizer.sigma": {**SIGMA, "when": {"variant": "b"}}}, None),
    ],
)
def test_variants_that_are_the_same_trials_are_refused(
    variants: dict[str, Any], parameters: dict[str, Any], message: str | None
) -> None:
    if message is None:
        space_of(parameters, variants=variants)
        return
    assert message in refusal(parameters, variants=variants)


def test_laws_between_three_settings_are_found_before_anything_is_paid() -> None:
    text = refusal(
        {
            "optimizer.population": choice(10, 40),
            "head.contexts": choice(0, 12),
            "optimizer.batches": choice(1, 2),
        },
        base={
            "max_queries": 400,
            "data": {"views": 4},
            "head": {"kind": "probes", "names": 0},
            "optimizer": {"population": 10, "batches": 2},
        },
    )
    assert "optimizer.population=40, head.contexts=12, optimizer.batches=1" in text
    assert "max_queries >= optimizer.population * (1 + head.contexts) must hold" in text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=7), st.integers(0, 9))
def test_a_covering_design_has_every_combination_of_three_columns(
    sizes: list[int], seed: int
) -> None:
    rows = list(covering_design(sizes, seed))
    for columns in itertools.combinations(range(len(sizes)), STRENGTH):
        shown = {tuple(row[column] for column in columns) for row in rows}
        assert shown == set(itertools.product(*(range(sizes[column]) for column in columns)))


def test_the_default_settings_search_everything_that_they_say_they_search() -> None:
    flat = flatten(RunConfig().model_dump(mode="json"))
    sections = ("optimizer", "prompt", "head", "loss")
    idle = [p for p in flat if p.startswith(sections) and missing_for(p, flat)]
    assert not idle
