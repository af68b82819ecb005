"""Presets of fidelity, and switches set beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.fidelity import PRESETS, FidelityConfig
from craft_ray.config.loading import load_run_config
from craft_ray.errors import ConfigError

SWITCHES = {
    "deployed_prompt": ("mean", "resampled_mean"),
    "head_inputs": ("logits", "unnormalized_logits"),
    "fitness_images": ("plain", "one_augmentation"),
    "head_init": ("identity", "default"),
    "selection": ("best_validation", "last"),
}


def fidelity(*words: str) -> FidelityConfig:
    return load_run_config(None, words).fidelity


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_presets_differ_in_every_switch(switch: str) -> None:
    corrected, reference = SWITCHES[switch]
    assert getattr(fidelity(), switch) == corrected
    assert getattr(fidelity("fidelity=corrected"), switch) == corrected
    assert getattr(fidelity("fidelity=reference"), switch) == reference
    assert getattr(fidelity("fidelity={preset: reference}"), switch) == reference


def test_a_preset_is_made_of_known_switches_only() -> None:
    for values in PRESETS.values():
        assert values.keys() == SWITCHES.keys() == FidelityConfig.model_fields.keys() - {"preset"}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_single_switch_leaves_the_others_with_the_preset(switch: str) -> None:
    corrected, _ = SWITCHES[switch]
    words = [f"fidelity.{switch}={corrected}"]
    mixed = fidelity("fidelity=reference", *words).model_dump()
    pure = fidelity("fidelity=reference").model_dump()
    assert mixed == {**pure, switch: corrected}
    assert fidelity("fidelity.preset=reference", *words).model_dump() == mixed
    assert fidelity(f"fidelity={{preset: reference, {switch}: {corrected}}}").model_dump() == mixed


def test_an_override_keeps_the_short_form_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("fidelity: reference\n")
    config = load_run_config(path, ["fidelity.deployed_prompt=best"]).fidelity
    assert config.deployed_prompt == "best"
    assert config.head_init == "default"


def test_a_stored_mixture_keeps_its_switches() -> None:
    mixed = fidelity("fidelity=reference", "fidelity.selection=best_validation")
    assert FidelityConfig.model_validate(mixed.model_dump(mode="json")) == mixed


@pytest.mark.parametrize(
    "word", ["fidelity=exact", "fidelity.preset=exact", "fidelity=[reference]"]
)
def test_an_unknown_preset_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="fidelity"):
        load_run_config(None, [word])


def test_resampling_with_two_point_adaptation_is_refused() -> None:
    words = ["fidelity.deployed_prompt=resampled_mean", "optimizer.step_size_rule=tpa"]
    with pytest.raises(ConfigError, match=r"needs optimizer\.step_size_rule csa, but got tpa"):
        load_run_config(None, words)
    load_run_config(None, ["fidelity=reference"])
    load_run_config(None, ["fidelity=reference", "optimizer.kind=sep_cma_es"])
    load_run_config(None, ["optimizer.step_size_rule=tpa"])


@pytest.mark.parametrize("kind", ["vkd_cma_es", "spsa", "zo_adam", "random_search"])
def test_resampling_needs_an_optimizer_that_can_draw_in_vain(kind: str) -> None:
    words = ["fidelity.deployed_prompt=resampled_mean", f"optimizer.kind={kind}"]
    with pytest.raises(ConfigError, match=f"needs optimizer.kind cma_es or sep_cma_es, .*{kind}"):
        load_run_config(None, words)
