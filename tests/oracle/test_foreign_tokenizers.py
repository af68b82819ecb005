"""Models that bring a tokenizer or a text tower of `transformers`: SigLIP, CLIPA, MetaCLIP2 and the
Hugging Face towers. Each answers to hard prompts what `encode_text` of its own tokens answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.loading import LoadedModel, load_model
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.prepared import Attention
from craft_ray.oracle.text.prompts import tokenize_task
from craft_ray.oracle.white_box import WhiteBoxClipOracle, load_oracle
from tests.oracle.test_text_encoders import ATTENTIONS, check_both_paths_agree
from tests.support.foreign_models import FAMILIES

NAMES = ("cat", "ankle_boot", "dog", "T-shirt/top", "railway station", "café")
FAST = {"metaclip2", "metaclip2_mt5"}
"""Families whose tower is causal: the fast path is exact, and taken."""
TEMPLATES = ("a photo of a {}.", "{}", "itap of a {}, a picture!")


def loaded_from(folder: Path) -> LoadedModel:
    return load_model(OracleConfig(model=f"local-dir:{folder}"), torch.device("cpu"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_hard_prompts_have_the_features_of_encode_text(
    family: str, template: str, foreign_folders: dict[str, Path]
) -> None:
    loaded = loaded_from(foreign_folders[family])
    tower = TextTower(loaded, OracleConfig())
    assert tower.path == ("shared_prefix" if family in FAST else "plain")
    tokens = tokenize_task(
        ClassificationTask(NAMES, template), loaded.tokenizer, tower.context_length
    )
    texts = [template.format(name.replace("_", " ")) for name in NAMES]
    ids = loaded.tokenizer(texts)
    rows = tokens.full_rows(len(tokens.prefix_L), tower.context_length)
    own = [*range(len(tokens.frame.start) + len(tokens.prefix_L), tower.context_length)]
    assert torch.equal(rows[:, own], ids[:, own]), "the rows are the tokenizer's"
    with torch.inference_mode():
        expected = F.normalize(loaded.model.encode_text(ids), dim=-1)
    features = tower.encode(tokens, tower.embed(tokens.prefix_L)[None])[0]
    np.testing.assert_allclose(F.normalize(features, dim=-1), expected, atol=1e-5)
    assert np.ptp(expected.numpy(), axis=0).max() > 1e-3, "classes must differ"


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("family", sorted(FAST))
def test_a_causal_tower_is_computed_the_fast_way_with_the_same_answers(
    family: str, foreign_folders: dict[str, Path], attention: Attention
) -> None:
    check_both_paths_agree(loaded_from(foreign_folders[family]), attention)


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_contexts_of_any_length_are_heard(
    family: str, foreign_folders: dict[str, Path]
) -> None:
    """Token embeddings of other words, given as a context, have the features of those words."""
    loaded = loaded_from(foreign_folders[family])
    tower = TextTower(loaded, OracleConfig())
    tokens = tokenize_task(ClassificationTask(NAMES), loaded.tokenizer, tower.context_length)
    template = "satellite photo of the black {}."
    words = tokenize_task(
        ClassificationTask(NAMES, template), loaded.tokenizer, tower.context_length
    )
    assert len(words.prefix_L) != len(tokens.prefix_L)
    context_LE = tower.embed(words.prefix_L)
    ids = loaded.tokenizer([template.format(name.replace("_", " ")) for name in NAMES])
    with torch.inference_mode():
        expected = F.normalize(loaded.model.encode_text(ids), dim=-1)
    features = F.normalize(tower.encode(tokens, context_LE[None])[0], dim=-1)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    own = context_LE[None, None].expand(1, len(NAMES), -1, -1)
    features = F.normalize(tower.encode(tokens, own)[0], dim=-1)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    changed = tower.encode(tokens, (context_LE + 0.3 * torch.randn(context_LE.shape))[None])[0]
    assert (F.normalize(changed, dim=-1) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_may_fill_the_context_and_not_a_token_more(
    family: str, foreign_folders: dict[str, Path]
) -> None:
    """Nothing is cut, not even the end token that looks like padding."""
    loaded = loaded_from(foreign_folders[family])
    tower = TextTower(loaded, OracleConfig())
    length = tower.context_length
    fits = [
        name
        for count in range(1, length)
        if _is_whole(loaded, name := " ".join(["cat"] * count), length)
    ]
    with torch.inference_mode():
        ids = loaded.tokenizer([fits[-1]], context_length=length)
        tokens = tokenize_task(ClassificationTask((fits[-1],), "{}"), loaded.tokenizer, length)
    assert torch.equal(tokens.full_rows(0, length), ids)
    too_long = ClassificationTask((f"{fits[-1]} cat",), "{}")
    with pytest.raises(OracleError, match=rf"must have at most {length} tokens"):
        tokenize_task(too_long, loaded.tokenizer, length)
    one = torch.zeros((1, 1, tower.embed_dim))
    with pytest.raises(OracleError, match="tokens must hold, but got L=1"):
        tower.encode(tokens, one)


def _is_whole(loaded: LoadedModel, text: str, length: int) -> bool:
    """Whether the tokenizer cuts nothing of a text: with more room it writes the same and more
    padding."""
    short, long = (
        loaded.tokenizer([text], context_length=size)[0] for size in (length, length + 8)
    )
    if loaded.tokenizer.tokenizer_mode == "clips":
        short, long = short[:-1], long[:-1]
    return torch.equal(short, long[: len(short)]) and bool((long[len(short) :] == long[-1]).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_given_where_the_owner_permits(
    family: str, foreign_folders: dict[str, Path]
) -> None:
    config = OracleConfig(model=f"local-dir:{foreign_folders[family]}", white_box=True)
    oracle = load_oracle(config)
    assert isinstance(oracle, WhiteBoxClipOracle)
    task = oracle.register_task(ClassificationTask(NAMES))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(6)
    images = oracle.register_images(pixels)
    loss, gradient = oracle.context_gradient(task, images, task.initial_context, labels)
    step = 1e-3 * gradient / np.linalg.norm(gradient)
    up, _ = oracle.context_gradient(task, images, task.initial_context + step, labels)
    down, _ = oracle.context_gradient(task, images, task.initial_context - step, labels)
    assert (up - down) / 2e-3 == pytest.approx(float(np.linalg.norm(gradient)), rel=0.05)
    assert np.isfinite(loss)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_rounds_and_no_more(
    family: str, precision: str, foreign_folders: dict[str, Path]
) -> None:
    loaded = loaded_from(foreign_folders[family])
    features = []
    for config in (OracleConfig(), OracleConfig.model_validate({"precision": precision})):
        tower = TextTower(loaded, config)
        tokens = tower.tokenize(ClassificationTask(NAMES))
        encoded = tower.encode(tokens, tower.embed(tokens.prefix_L)[None])[0]
        features.append(F.normalize(encoded.float(), dim=-1))
    assert 0 < (features[0] - features[1]).abs().max() < 0.05
