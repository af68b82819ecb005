"""The fast text path gives the plain path's answers, or is not taken."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, get_args

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.loading import LoadedModel, load_model
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.prepared import Attention
from craft_ray.oracle.text.prompts import tokenize_task
from craft_ray.zoo import EMBEDDED_ORACLE
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import tiny_clip_dir

TASK = ClassificationTask(
    ("cat", "ankle boot", "dog", "a very long railway station name", "T-shirt/top")
)
CAUSAL = {
    "CLIP": {},
    "CustomTextCLIP": {"custom_text": True},
    "a linear projection with bias": {"custom_text": True, "text_cfg": {"proj_bias": True}},
    "no projection": {"embed_dim": 24, "custom_text": True, "text_cfg": {"proj_type": "none"}},
    "QuickGELU": {"quick_gelu": True},
    "layer scale": {"text_cfg": {"ls_init_value": 0.1}},
    "one layer": {"text_cfg": {"layers": 1}},
    "a narrow MLP": {"text_cfg": {"mlp_ratio": 1.5}},
}
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "bidirectional": ({"text_cfg": {"no_causal_mask": True}}, "not causal"),
    "bidirectional CustomTextCLIP": (
        {"custom_text": True, "text_cfg": {"no_causal_mask": True, "pool_type": "last"}},
        "not causal",
    ),
    "read at the last position": ({"text_cfg": {"pool_type": "last"}}, "logits differ"),
    "a class token, as CoCa": (
        {"custom_text": True, "text_cfg": {"embed_cls": True}},
        "class token",
    ),
    "blocks with norms of their own": (
        {"custom_text": True, "text_cfg": {"scale_attn": True}},
        "its blocks are",
    ),
}
ATTENTIONS = get_args(Attention)
FULL_SIZE = ["RN50", "RN101", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16"]


def loaded_from(folder: Path) -> LoadedModel:
    return load_model(OracleConfig(model=f"local-dir:{folder}"), torch.device("cpu"))


def tower_of(loaded: LoadedModel, attention: Attention | None = None, **settings: Any) -> TextTower:
    return TextTower(loaded, OracleConfig.model_validate(settings), attention)


def random_model(name: str) -> LoadedModel:
    """One of open_clip's own architectures with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(name, pretrained=None).eval().requires_grad_(False)
    return LoadedModel(model, open_clip.get_tokenizer(name), 224, (0.5,) * 3, (0.5,) * 3, {})


def logits_of(
    tower: TextTower,
    loaded: LoadedModel,
    noise: float = 0.1,
    length: int | None = None,
    *,
    per_class: bool = False,
) -> FloatArray:
    """[K, C, N] on the scale of 100 * cosine, of images whose features point anywhere."""
    tokens = tokenize_task(TASK, loaded.tokenizer, tower.context_length)
    generator = torch.Generator().manual_seed(1)
    start = tower.embed(tokens.prefix_L)
    if length is not None:
        start = start[:1].expand(length, -1)
    shape = (3, len(tokens.suffixes), *start.shape) if per_class else (3, *start.shape)
    contexts = start + noise * torch.randn(shape, generator=generator)
    features = F.normalize(tower.encode(tokens, contexts).float(), dim=-1)
    generator.manual_seed(2)  # the same images, however many contexts were drawn
    images = F.normalize(torch.randn((50, features.shape[-1]), generator=generator), dim=-1)
    result: FloatArray = (100 * features @ images.T).numpy()
    return result


def check_both_paths_agree(loaded: LoadedModel, attention: Attention) -> None:
    fast, plain = tower_of(loaded, attention), tower_of(loaded, text_path="plain")
    assert (fast.path, plain.path) == ("shared_prefix", "plain")
    for noise, length in ((0.0, None), (0.1, None), (5.0, None), (0.1, 1), (0.1, 9), (0.0, 0)):
        expected = logits_of(plain, loaded, noise, length)
        np.testing.assert_allclose(logits_of(fast, loaded, noise, length), expected, atol=1e-4)
        assert np.ptp(expected, axis=1).max() > 1e-2, "classes must differ"
        if noise:
            assert np.ptp(expected, axis=0).max() > 1e-2, "contexts must differ"
    for noise in (0.0, 0.1, 5.0):
        expected = logits_of(plain, loaded, noise, per_class=True)
        own = logits_of(fast, loaded, noise, per_class=True)
        np.testing.assert_allclose(own, expected, atol=1e-4)
        if noise == 0.0:
            np.testing.assert_allclose(own, logits_of(fast, loaded, noise), atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("changes", CAUSAL.values(), ids=CAUSAL)
def test_causal_towers_take_the_fast_path_and_answer_the_same(
    tmp_path: Path, changes: dict[str, Any], attention: Attention
) -> None:
    folder = tiny_clip_dir(tmp_path / "model", **changes)
    check_both_paths_agree(loaded_from(folder), attention)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_embedded_oracle_takes_the_fast_path(attention: Attention) -> None:
    check_both_paths_agree(loaded_from(EMBEDDED_ORACLE), attention)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_towers_take_the_fast_path_and_answer_the_same(
    name: str, attention: Attention
) -> None:
    check_both_paths_agree(random_model(name), attention)


def check_fallback(loaded: LoadedModel, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tower = tower_of(loaded)
    assert tower.path == "plain"
    assert reason in caplog.text
    tokens = tokenize_task(TASK, loaded.tokenizer, tower.context_length)
    features = tower.encode(tokens, tower.embed(tokens.prefix_L)[None])[0]
    words = [TASK.template.format(name) for name in TASK.class_names]
    ids = loaded.tokenizer(words, context_length=tower.context_length)
    with torch.inference_mode():
        expected = F.normalize(loaded.model.encode_text(ids), dim=-1)
    np.testing.assert_allclose(F.normalize(features, dim=-1), expected, atol=1e-6)
    with pytest.raises(OracleError, match=r"oracle\.text_path: shared_prefix must be exact"):
        tower_of(loaded, text_path="shared_prefix")


@pytest.mark.parametrize(("changes", "reason"), OTHERS.values(), ids=OTHERS)
def test_other_towers_fall_back_to_encode_text_and_say_why(
    tmp_path: Path, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_clip_dir(tmp_path / "model", **changes)
    loaded = loaded_from(folder)
    check_fallback(loaded, reason, caplog)


@pytest.mark.slow
def test_coca_falls_back_to_encode_text(caplog: pytest.LogCaptureFixture) -> None:
    check_fallback(random_model("coca_ViT-B-32"), "class token", caplog)


def test_the_context_is_heard_by_a_tower_that_falls_back(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model", text_cfg={"no_causal_mask": True})
    loaded = loaded_from(folder)
    logits = logits_of(tower_of(loaded), loaded)
    assert np.ptp(logits, axis=0).max() > 1e-2


def test_a_logit_bias_is_declared_and_added(tmp_path: Path) -> None:
    plain = clip_of(tiny_clip_dir(tmp_path / "clip"))
    biased = clip_of(tiny_clip_dir(tmp_path / "siglip", init_logit_bias=-10.0))
    assert (plain.describe().logit_bias, biased.describe().logit_bias) == (0.0, -10.0)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    answers = []
    for oracle in (plain, biased):
        task = oracle.register_task(TASK)
        images = oracle.register_images(pixels)
        answers.append(oracle.predict(task, images, task.initial_context[None]))
    np.testing.assert_allclose(answers[1], answers[0] - 10, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("text_path", ["shared_prefix", "plain"])
def test_half_precision_rounds_and_does_not_change_the_answer(
    tmp_path: Path, precision: str, text_path: str
) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    loaded = loaded_from(folder)
    exact = logits_of(tower_of(loaded, text_path=text_path), loaded)
    rounded = logits_of(tower_of(loaded, text_path=text_path, precision=precision), loaded)
    assert 0 < np.abs(exact - rounded).max() < 2.0


class CountingLinear(torch.nn.Module):
    """Notes how many tokens a forward has."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.num_tokens: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.num_tokens.append(x[..., 0].numel())
        result: torch.Tensor = self.inner(x)
        return result


def test_no_forward_exceeds_its_tokens_and_none_is_padding(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    loaded = loaded_from(folder)
    counter = CountingLinear(loaded.model.transformer.resblocks[0].ln_1)
    loaded.model.transformer.resblocks[0].ln_1 = counter
    names = tuple(f"class {'very ' * (index % 5)}number {index}" for index in range(60))
    tokens = tokenize_task(ClassificationTask(names), loaded.tokenizer, 24)
    suffix_tokens = sum(len(suffix) for suffix in tokens.suffixes)
    for limit in (10_000, 700, 100):
        tower = tower_of(loaded, max_tokens_per_forward=limit)
        counter.num_tokens.clear()
        contexts = tower.embed(tokens.prefix_L).repeat(40, 1, 1)
        assert tower.encode(tokens, contexts).shape == (40, 60, 32)
        assert max(counter.num_tokens) <= limit
        shared = sum(counter.num_tokens) - 40 * suffix_tokens
        assert shared >= 40 * 5
        if limit == 10_000:
            assert shared == 40 * 5, "the context is computed once a candidate"
        counter.num_tokens.clear()
        own = contexts[:, None].expand(-1, 60, -1, -1)
        assert tower.encode(tokens, own).shape == (40, 60, 32)
        assert max(counter.num_tokens) <= limit
        assert sum(counter.num_tokens) == 40 * (60 * 5 + suffix_tokens)
        if limit == 10_000:
            assert len(counter.num_tokens) < 10, "not one for each class"
