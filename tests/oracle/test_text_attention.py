"""Attention in one call a layer, with what a task needs made once: little is launched, and nothing
is computed that does not matter."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from benchmarks.launches import launches_of
from benchmarks.text_work import needed_flops, used_flops
from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.loading import LoadedModel, load_model
from craft_ray.oracle.text import prepared
from craft_ray.oracle.text.buckets import BucketRows
from craft_ray.oracle.text.layers import Arrangement
from craft_ray.oracle.text.layout import Bucket, tile_suffixes
from craft_ray.oracle.text.prepared import Attention
from craft_ray.oracle.text.prompts import PromptTokens, tokenize_task
from craft_ray.oracle.text.shared_prefix import SharedPrefixEncoder
from craft_ray.oracle.text.tiles import TileRows
from tests.support.checkpoints import tiny_clip_dir

ATTENTIONS = get_args(Attention)
NAMES = tuple(f"class {'very ' * (index % 4)}number {index}" for index in range(40))
MOST_LAUNCHES = 14
"""Of a layer, in half precision."""


def loaded_from(folder: Path) -> LoadedModel:
    return load_model(OracleConfig(model=f"local-dir:{folder}"), torch.device("cpu"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("models") / "wide"
    return loaded_from(tiny_clip_dir(folder, text_cfg={"width": 256, "heads": 4}))


def encoder_of(
    loaded: LoadedModel,
    attention: Attention,
    dtype: torch.dtype = torch.float32,
    max_tokens: int = 8192,
) -> SharedPrefixEncoder:
    return SharedPrefixEncoder(loaded.model, dtype, max_tokens, attention)


def tokens_of(loaded: LoadedModel, num_classes: int = len(NAMES)) -> PromptTokens:
    return tokenize_task(ClassificationTask(NAMES[:num_classes]), loaded.tokenizer, 24)


def contexts_of(loaded: LoadedModel, tokens: PromptTokens, *, own: bool) -> torch.Tensor:
    """Of three candidates."""
    width = loaded.model.token_embedding.weight.shape[1]
    shape = (3, len(tokens.suffixes), 4, width) if own else (3, 4, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02


def launches_in(loaded: LoadedModel, num_classes: int, *, own: bool) -> int:
    """Of three candidates in half precision, once the task is prepared."""
    encoder = encoder_of(loaded, "tiles", torch.bfloat16)
    tokens = tokens_of(loaded, num_classes)
    contexts = contexts_of(loaded, tokens, own=own)
    encoder.encode(tokens, contexts)
    return launches_of(lambda: encoder.encode(tokens, contexts)).total()


@pytest.mark.parametrize(
    "changes", [{}, {"quick_gelu": True}, {"text_cfg": {"ls_init_value": 0.1}}]
)
@pytest.mark.parametrize("num_classes", [5, len(NAMES)])
@pytest.mark.parametrize("own", [False, True])
def test_a_layer_of_tiles_is_few_launches_whatever_the_classes(
    tmp_path: Path, changes: dict[str, Any], num_classes: int, own: bool
) -> None:
    totals = []
    for layers in (2, 5):
        text = {**changes.get("text_cfg", {}), "layers": layers}
        folder = tiny_clip_dir(tmp_path / str(layers), **{**changes, "text_cfg": text})
        loaded = loaded_from(folder)
        totals.append(launches_in(loaded, num_classes, own=own))
    lengths = {len(suffix) for suffix in tokens_of(loaded, num_classes).suffixes}
    forwards = len(lengths) if own else 1
    of_a_layer, rest = divmod(totals[1] - totals[0], 3 * forwards)
    assert rest == 0
    assert 8 <= of_a_layer <= MOST_LAUNCHES
    assert totals[0] - 2 * of_a_layer * forwards <= 16 * forwards, "beside the layers"


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_little_is_computed_that_does_not_matter(loaded: LoadedModel, attention: Attention) -> None:
    encoder, tokens = encoder_of(loaded, attention), tokens_of(loaded)
    contexts = contexts_of(loaded, tokens, own=False)
    assert len({len(suffix) for suffix in tokens.suffixes}) > 3
    needed = len(contexts) * needed_flops(loaded, tokens, contexts.shape[1])
    assert needed < used_flops(lambda: encoder.encode(tokens, contexts)) <= 1.1 * needed


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("own", [False, True])
def test_what_a_task_needs_is_made_once_and_changes_no_bit(
    loaded: LoadedModel, attention: Attention, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, tokens = encoder_of(loaded, attention), tokens_of(loaded)
    contexts = contexts_of(loaded, tokens, own=own)
    seen: list[int] = []
    handle = loaded.model.token_embedding.register_forward_hook(
        lambda module, inputs, output: seen.append(len(output))
    )
    try:
        first = encoder.encode(tokens, contexts)
        assert sum(seen) >= sum(len(suffix) for suffix in tokens.suffixes)
        seen.clear()
        assert torch.equal(encoder.encode(tokens, contexts), first)
        assert not seen
        # Nothing is taken for another task, or for contexts of another length.
        other = replace(tokens, suffixes=tokens.suffixes[::-1])
        turned = encoder.encode(other, contexts.flip(1) if own else contexts)
        torch.testing.assert_close(turned, first.flip(1))
        shorter = encoder.encode(tokens, contexts[..., :3, :])
        assert not torch.allclose(shorter, first)
        monkeypatch.setattr(prepared, "MOST_BYTES", 0)
        encoder = encoder_of(loaded, attention)
        another = replace(tokens)
        for _ in range(2):
            seen.clear()
            assert torch.equal(encoder.encode(another, contexts), first)
            assert seen, "what takes too much memory is not kept"
    finally:
        handle.remove()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_where_memory_is_not_enough_for_one_candidate_its_row_is_cut(
    loaded: LoadedModel,
    attention: Attention,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = tokens_of(loaded)
    contexts = contexts_of(loaded, tokens, own=False)
    expected = encoder_of(loaded, attention).encode(tokens, contexts)
    encoder = encoder_of(loaded, attention)
    run, sizes = encoder._replays.run, Counter[str]()
    forgotten: list[str] = []
    monkeypatch.setattr(encoder._replays, "forget", lambda: forgotten.append("graphs"))

    def with_little_memory(x_KSE: torch.Tensor, rows: Arrangement) -> torch.Tensor:
        fits = x_KSE[..., 0].numel() <= 100
        sizes["fits" if fits else "refused"] += 1
        if not fits:
            raise torch.OutOfMemoryError("too much")
        return run(x_KSE, rows)

    monkeypatch.setattr(encoder._replays, "run", with_little_memory)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(encoder.encode(tokens, contexts), expected)
    assert "out of memory with one candidate" in caplog.text
    assert len(forgotten) >= sizes["refused"], "graphs keep memory, which is missing"
    sizes.clear()
    torch.testing.assert_close(encoder.encode(tokens, contexts), expected)
    assert not sizes["refused"], "what was learned is not forgotten"


def test_where_memory_is_not_enough_for_a_class_its_error_is_the_answer(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, tokens = encoder_of(loaded, "tiles"), tokens_of(loaded)

    def without_memory(x_KSE: torch.Tensor, rows: Arrangement) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory at all")

    monkeypatch.setattr(encoder._replays, "run", without_memory)
    for own in (False, True):
        with pytest.raises(torch.OutOfMemoryError, match="no memory at all"):
            encoder.encode(tokens, contexts_of(loaded, tokens, own=own))


def rows_of(attention: Attention) -> Arrangement:
    """A prefix of one token and a suffix of two, in float16."""
    like = torch.empty((), dtype=torch.float16)
    if attention == "buckets":
        return BucketRows(1, [Bucket(start=0, num_classes=1, length=2)], like)
    return TileRows(tile_suffixes([2], 1, 3), like)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_products_of_half_precision_are_scaled_before_they_overflow(attention: Attention) -> None:
    # q.k = 64 * 40 * 40 is beyond float16, and after scaling far below.
    qkv_KSXHD = torch.full((1, 3, 3, 1, 64), 40.0, dtype=torch.float16)
    qkv_KSXHD[:, :, 2] = 1.0
    rows = rows_of(attention)
    attended = rows.attend(qkv_KSXHD, rows.mask_for(1))
    assert torch.equal(attended, torch.ones_like(attended))


@pytest.mark.parametrize("lengths", [[3, 7, 2, 5, 3, 4, 6], [9, 9], [40]])
@pytest.mark.parametrize("prefix_length", [0, 1, 5, 30])
@pytest.mark.parametrize("target", [8, 16, 1000])
def test_tiles_give_what_each_suffix_alone_gives(
    lengths: list[int], prefix_length: int, target: int
) -> None:
    tiling = tile_suffixes(lengths, prefix_length, target)
    rows = TileRows(tiling, torch.empty(()))
    generator = torch.Generator().manual_seed(0)
    qkv_KSXHD = torch.randn((2, rows.num_tokens, 3, 2, 8), generator=generator)
    attended = rows.attend(qkv_KSXHD, rows.mask_for(2))
    ends = rows.attend_ends(qkv_KSXHD, rows.mask_for(2))
    assert attended.isfinite().all()
    starts = dict(zip([owner for owner, _ in tiling.runs], offsets(tiling.runs), strict=True))
    prefix = list(range(prefix_length))
    for place, index in enumerate(tiling.order):
        own = list(range(starts[index], starts[index] + lengths[index]))
        q, k, v = qkv_KSXHD[:, prefix + own].transpose(1, 3).unbind(2)
        alone = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        torch.testing.assert_close(attended[:, prefix + own], alone)
        torch.testing.assert_close(ends[:, place], alone[:, -1])


def offsets(runs: tuple[tuple[int, int], ...]) -> list[int]:
    """Where each run begins."""
    return [sum(count for _, count in runs[:place]) for place in range(len(runs))]
