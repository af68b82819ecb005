"""The laws of the heads' settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.heads import MAX_EXTRA_NAMES, LinearHeadConfig, ResidualMlpConfig
from craft_ray.config.loading import load_run_config
from craft_ray.errors import ConfigError
from craft_ray.task.vocabulary import draw_names

PROBES = ("method=head", "head.kind=probes")
SEARCHED = ("method=both", "head.kind=probes")


def test_the_head_is_the_papers_unless_its_kind_is_given() -> None:
    assert load_run_config(None, ["head.hidden=9"]).head == ResidualMlpConfig(hidden=9)
    assert load_run_config(None, ["method=head", "head.kind=linear"]).head == LinearHeadConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("head.kind=linear", "method=prompt"),
            "method must be head or both when head.kind is linear, but got prompt",
        ),
        (
            (*SEARCHED, "data.shots=1"),
            "data.shots >= 2 must hold when method is both and head.kind is probes, but got 1",
        ),
        (
            (*SEARCHED, "head.contexts=3", "max_queries=159"),
            r"max_queries >= optimizer.population \* \(1 \+ head.contexts\) must hold when method "
            "is both, but got max_queries=159, population=40 and contexts=3",
        ),
        (
            (*SEARCHED, "head.contexts=3", "optimizer.kind=sharp_zo", "max_queries=800"),
            "optimizer.warm_up_generations < .* and batches=1 and 4 searches",
        ),
        ((*PROBES, "data.views=fresh"), "data.views must be a number when head.kind is probes"),
        (
            (*PROBES, "fidelity.head_inputs=unnormalized_logits"),
            "fidelity.head_inputs must be logits when head.kind is probes",
        ),
        (
            (*PROBES, "head.contexts=40", "max_queries=40"),
            r"1 \+ head.contexts <= max_queries must hold, but got contexts=40 and max_queries=40",
        ),
        ((*PROBES, f"head.names={MAX_EXTRA_NAMES + 1}"), "head.*names.*less than or equal to 900"),
        ((*PROBES, "head.vocabulary=[a, b, b]", "head.names=3"), "vocabulary must have at least"),
        ((*PROBES, "head.vocabulary=['']"), "vocabulary.*must not be empty"),
        ((*PROBES, 'head.vocabulary=["a\\u202eb"]'), "vocabulary.*printable characters only"),
        ((*PROBES, "head.hidden=3"), "hidden: is not a known setting"),
        ((*PROBES, "head.folds=1"), "folds.*greater than or equal to 2"),
        (("head.kind=tree",), "head.*'tree'"),
    ],
)
def test_a_head_that_cannot_be_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run_config(None, words)


def test_the_generations_are_what_the_contexts_need() -> None:
    def generations(contexts: int) -> int:
        words = (*PROBES, f"head.contexts={contexts}", "head.contexts_per_generation=5")
        return load_run_config(None, words).num_generations

    assert [generations(contexts) for contexts in (0, 4, 5, 9, 10)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (("method=both",), (25,)),
        (("method=both", "head.kind=linear"), (25,)),
        ((*SEARCHED, "head.contexts=3"), (6, 12, 18, 25)),
        ((*SEARCHED, "head.contexts=24"), tuple(range(1, 26))),
    ],
)
def test_searches_share_the_generations(words: tuple[str, ...], ends: tuple[int, ...]) -> None:
    assert load_run_config(None, [*words, "max_queries=1000"]).search_ends == ends


def test_the_vocabulary_suffices_for_the_most_names(tmp_path: Path) -> None:
    # Whatever the classes of the task are: here as many of ImageNet's own as a task may have.
    own = draw_names((), 90, (), seed=0)
    assert len(draw_names((), MAX_EXTRA_NAMES, own, seed=1)) == MAX_EXTRA_NAMES
