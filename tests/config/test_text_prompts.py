"""Frames, words, and which settings go with a search over them."""

from __future__ import annotations

import pytest

from craft_ray.config.effects import missing_for
from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.method_names import method_name
from craft_ray.config.optimizers import TextConfig
from craft_ray.config.prompt_words import FRAMES, WORDS, fill, num_places, with_own_template
from craft_ray.config.shipped import SPACES
from craft_ray.errors import ConfigError

TEXT = ("method=prompt", "optimizer.kind=text")


def problem_of(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run_config(None, words)
    (problem,) = caught.value.problems
    return problem


def test_two_words_are_enough() -> None:
    config = load_run_config(None, TEXT)
    assert config.optimizer == TextConfig()
    assert config.num_generations == config.max_queries // 20
    assert config.num_batches == 1
    assert method_name(config) == "text prompt"
    assert type(config).model_validate(config.model_dump(mode="json")) == config


def test_the_heads_section_is_of_no_use_whatever_it_says() -> None:
    for kind in ("linear", "probes"):
        assert load_run_config(None, [*TEXT, f"head.kind={kind}"]).probing_head is None


@pytest.mark.parametrize(
    ("words", "starts", "has"),
    [
        (["method=both"], "method must be prompt", "but got both"),
        (["method=head"], "method must be prompt", "need no optimizer"),
        (["prompt.per_class=true"], "prompt.per_class must be false", "but got true"),
        (["prompt.start=runs/a/best"], "prompt.start must be null", "data.template"),
        (["fidelity=reference"], "fidelity.deployed_prompt resampled_mean", "but got text"),
        (["optimizer.sigma=0.1"], "optimizer.sigma", ""),
        (["optimizer.batches=2"], "optimizer.batches", ""),
        (["optimizer.population=3"], "optimizer.population", "greater than or equal to 4"),
        (["max_queries=19"], "max_queries >= optimizer.population", "max_queries=19"),
        (['optimizer.words=[""]'], "optimizer.words", "without braces"),
        (['optimizer.words=["{w}"]'], "optimizer.words", "but got"),
        (["optimizer.frames=[a photo]"], "optimizer.frames", "must have {} once"),
        (['optimizer.frames=["a {x} {}"]'], "optimizer.frames", "'a {x} {}'"),
        (['optimizer.frames=["{} in {w}"]'], "optimizer.frames", "word or {w} before {}"),
    ],
)
def test_what_does_not_go_with_words_is_refused(words: list[str], starts: str, has: str) -> None:
    problem = problem_of(*TEXT, *words)
    assert problem.removeprefix("(the whole document): ").startswith(starts)
    assert has in problem


def test_what_is_searched_in_vain_is_refused() -> None:
    settings = load_run_config(None, TEXT).model_dump(mode="json")
    flat = {"method": "prompt", "optimizer.kind": settings["optimizer"]["kind"]}
    for path in ("prompt.intrinsic_dim", "fidelity.deployed_prompt", "optimizer.sigma"):
        assert (
            "text" not in missing_for(path, {**flat, "head.kind": "residual_mlp"})["optimizer.kind"]
        )
    assert missing_for("optimizer.elite", {**flat, "head.kind": "residual_mlp"}) == {}
    space = SPACES / "optimizers" / "text.yaml"
    word = "parameters.prompt.intrinsic_dim={kind: choice, values: [8, 16]}"
    with pytest.raises(ConfigError, match=r"prompt\.intrinsic_dim: must have an effect"):
        load_space_config(space, [word])


@pytest.mark.parametrize(
    ("frame", "words", "template"),
    [
        ("a {w} photo of a {w} {}.", ["old", "red"], "an old photo of a red {}."),
        ("a {w} {}", ["used"], "a used {}"),
        ("a {w} {}", ["unusual"], "an unusual {}"),
        ("a {w} {}", ["black and white", "unused"], "a black and white {}"),
        ("banana {w} {}", ["old"], "banana old {}"),
        ("a photo of a {}.", [], "a photo of a {}."),
    ],
)
def test_words_are_put_into_their_places(frame: str, words: list[str], template: str) -> None:
    assert fill(frame, words) == template


def test_what_ships_is_fit_for_use() -> None:
    assert len(set(WORDS)) == len(WORDS) > 100
    assert TextConfig(words=WORDS, frames=FRAMES).vocabulary == WORDS
    assert all(num_places(frame) for frame in FRAMES)


def test_the_own_template_is_among_the_frames_once() -> None:
    assert with_own_template((), "a view of a {}.")[0] == "a view of a {w} {}."
    assert with_own_template((), "a photo of a {}.").count("a photo of a {w} {}.") == 1
    assert with_own_template(["{w} {}"], "the {}") == ("the {w} {}", "{w} {}")
