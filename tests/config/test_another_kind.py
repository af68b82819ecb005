"""Another optimizer by a word on a shipped search: it runs, or the message says words that do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.errors import ConfigError

SEARCHES = [
    *sorted((SPACES / "optimizers").glob("*.yaml")),
    *(SPACES / f"{name}.yaml" for name in ("around_paper", "collaborative", "fixed_classes")),
]
KINDS = ("cma_es", "spsa", "zip", "sharp_zo")
WORD = re.compile(r"(?:parameters|fidelity|first_trials|optimizer\.warm_up)[\w.]*=[\w\[\]]+")


def told(path: Path, *words: str) -> str | None:
    """What is wrong with a search after these words; None: nothing."""
    try:
        load_space_config(path, words)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", KINDS)
def test_the_words_that_a_message_says_mend_it(path: Path, kind: str) -> None:
    words = [f"optimizer.kind={kind}"]
    for _ in range(6):
        if (message := told(path, *words)) is None:
            return
        assert "say optimizer.kind" not in message
        if "`craft-ray train` runs it without a search" in message:
            return
        more = WORD.findall(message)
        assert more, message
        words += more
    pytest.fail(f"{words}: {message}")


def test_settings_of_another_optimizer_are_named_with_what_takes_them_out() -> None:
    message = told(SPACES / "optimizers" / "cma_es.yaml", "optimizer.kind=spsa")
    assert message is not None
    assert "parameters.optimizer.step_size_rule=null as well does not search" in message
    assert "first_trials=[]" not in message


def test_where_nothing_is_left_to_search_the_command_without_a_search_is_named() -> None:
    message = told(SPACES / "optimizers" / "sharp_zo.yaml", "optimizer.kind=cma_es")
    assert message is not None
    assert "nothing that is searched has an effect with this optimizer.kind" in message


def test_a_warm_up_that_leaves_no_descent_is_answered_with_one_that_does() -> None:
    words = ["max_queries=400", "optimizer={kind: sharp_zo, population: 20}"]
    with pytest.raises(ConfigError, match=r"and optimizer\.warm_up_generations=10 leaves half"):
        load_run_config(None, words)
    load_run_config(None, [*words, "optimizer.warm_up_generations=10"])
    with pytest.raises(ConfigError, match="and max_queries must be larger"):
        load_run_config(None, [*words, "max_queries=20"])


def test_the_authors_prompt_is_answered_with_the_one_that_any_optimizer_has() -> None:
    words = ["fidelity=reference", "optimizer.kind=spsa"]
    with pytest.raises(ConfigError, match=r"fidelity\.deployed_prompt=mean takes any"):
        load_run_config(None, words)
    load_run_config(None, [*words, "fidelity.deployed_prompt=mean"])
